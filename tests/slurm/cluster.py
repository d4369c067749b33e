"""A real SLURM cluster on one machine, for as long as a test session: Debian's packages, nodes and GPUs made up.

`Cluster(folder)` starts it, `python tests/slurm/cluster.py FOLDER` is its first process. That process and all daemons
live in namespaces of their own. Its network is a loopback without a way out, so ports clash with nothing and no node
has internet. Its processes end, all of them, when the first one does, and that one ends when its standard input does:
when the tests end, however they end. /etc/slurm and /run are folders of the cluster there; the machine's own stay as
they are.

Commands of a login node (sbatch, snakemake) enter these namespaces by nsenter. A node is a slurmd with a host name
and processes of its own, so a node that is killed takes its jobs with it. GPUs are files that SLURM counts.
"""

import fcntl
import os
import shlex
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = {
    "munge": ["munged", "munge"],
    "slurmctld": ["slurmctld"],
    "slurmd": ["slurmd"],
    "slurmdbd": ["slurmdbd"],
    "slurm-client": ["sbatch", "squeue", "scontrol", "sacct", "sacctmgr", "sinfo"],
    "mariadb-server": ["mariadbd", "mariadb-install-db", "mariadb"],
}
PATH = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
NAMESPACES = ("--net", "--mount", "--uts", "--pid")
ACCOUNT = "p12345"
GPUS = 2
CPU_NODES, GPU_NODES = ("c1", "c2"), ("g1", "g2")
PORTS = {"slurmctld": 6817, "slurmdbd": 6819, "mariadbd": 3306} | {
    node: 6820 + i for i, node in enumerate((*CPU_NODES, *GPU_NODES))
}
FOLDERS = ("etc", "log", "state", "db", "dev", "disk")
# Sizes need not exist: slurmd is told to believe them.
NODES = "\n".join(
    f"NodeName={node} NodeHostname={node} NodeAddr=127.0.0.1 Port={PORTS[node]} CPUs=8 RealMemory=64000"
    + (f" Gres=gpu:fake:{GPUS} Feature={'pcie' if node == 'g1' else 'nvlink'}" if node in GPU_NODES else "")
    for node in (*CPU_NODES, *GPU_NODES)
)
# short, normal and gengpu as on Northwestern's Quest; jobs of spare give way to those of gengpu.
PARTITIONS = """
PartitionName=short Nodes=c1,c2 MaxTime=04:00:00 DefaultTime=10 Default=YES PriorityTier=10
PartitionName=normal Nodes=c1,c2 MaxTime=2-00:00:00 PriorityTier=10
PartitionName=gengpu Nodes=g1,g2 MaxTime=2-00:00:00 PriorityTier=10
PartitionName=spare Nodes=g1,g2 MaxTime=2-00:00:00 PriorityTier=1
PartitionName=closed Nodes=c1,c2 State=DOWN
PartitionName=members Nodes=c1,c2 AllowAccounts=others
PartitionName=unlisted Nodes=c1,c2 Hidden=YES
PartitionName=inactive Nodes=c1,c2 State=INACTIVE
"""
CONFIG = f"""
ClusterName=tests
SlurmctldHost=login(127.0.0.1)
SlurmctldPort={PORTS["slurmctld"]}
SlurmUser=root
AuthInfo=socket=/run/munge.socket,cred_expire=5
StateSaveLocation={{folder}}/state/slurmctld
SlurmdSpoolDir={{folder}}/state/%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd-%n.pid
SlurmdParameters=config_overrides
MailProg={{folder}}/etc/mail
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# Without cgroups, which a container may not have: memory is looked at each second.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={PORTS["slurmdbd"]}
AccountingStoragePass=/run/munge.socket
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# Reactions within seconds instead of minutes.
SchedulerParameters=sched_interval=2,bf_interval=2
SlurmdTimeout=10
KillWait=10
MinJobAge=900
ReturnToService=2
"""
DATABASE_CONFIG = f"""
AuthInfo=socket=/run/munge.socket
DbdHost=login
DbdAddr=127.0.0.1
DbdPort={PORTS["slurmdbd"]}
SlurmUser=root
PidFile=/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={PORTS["mariadbd"]}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""
DATABASE_USER = """
CREATE DATABASE IF NOT EXISTS slurm;
CREATE USER IF NOT EXISTS slurm@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm.* TO slurm@'127.0.0.1';
"""


def lacking():
    """Why no cluster can be started here, or None."""
    missing = [
        package for package, programs in PROGRAMS.items() if not all(shutil.which(each, path=PATH) for each in programs)
    ]
    if missing:
        return f"SLURM is not installed: apt-get install {' '.join(missing)} (.ci/run does)"
    allowed = subprocess.run(["unshare", *NAMESPACES, "--fork", "mount", "-t", "tmpfs", "none", "/run"])
    return "namespaces and mounts are not allowed here: be root" if allowed.returncode else None


class Cluster:
    """A running cluster, its files in `folder`. Use it as a context manager."""

    def __init__(self, folder, accounting=True):
        self.folder = Path(folder).resolve()
        self.disk = self.folder / "disk"  # a small one, there in the cluster only
        self.login_processes = []
        command = [sys.executable, __file__, str(self.folder), *([] if accounting else ["--no-accounting"])]
        self.process = subprocess.Popen(
            ["unshare", *NAMESPACES, "--fork", "--kill-child", "--", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        if self.process.stdout.readline() != "ready\n":
            self.process.wait()
            logs = [
                f"{path.name}: {path.read_text(encoding='utf-8')[-500:]}"
                for path in sorted((self.folder / "log").glob("*"))
            ]
            raise RuntimeError("\n".join(["the cluster did not start", *logs]))
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.first = int(children.read_text(encoding="utf-8").split()[0])

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """End every process of the cluster, and the commands that were started on its login node."""
        for process in self.login_processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        # Not by closing the pipe alone: a process that another test forked meanwhile holds it open, too.
        print("end", file=self.process.stdin, flush=True)
        self.process.stdin.close()
        self.process.wait()

    def _order(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        if (answer := self.process.stdout.readline()) != "done\n":
            raise RuntimeError(f"{words}: {answer}")

    def kill_node(self, name):
        """Cut a node off the power, its jobs with it."""
        self._order("kill", name)

    def start_node(self, name):
        """Switch a node on again."""
        self._order("start", name)

    def popen(self, command, **options):
        """Start a command on the login node; its process id is the command's own."""
        inside = ["setpriv", "--pdeathsig=KILL", "nsenter", f"--target={self.first}", "--net", "--mount", "--uts"]
        options["env"] = options.get("env", os.environ) | {"PATH": PATH}
        process = subprocess.Popen(
            [*inside, f"--wd={options.pop('cwd', '/')}", "--", *map(str, command)], encoding="utf-8", **options
        )
        self.login_processes.append(process)
        return process

    def run(self, *command, seconds=60, **options):
        """Run a command on the login node to its end; returns what it printed."""
        process = self.popen(command, stdout=subprocess.PIPE, **options)
        output, _ = process.communicate(timeout=seconds)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command, output)
        return output

    def rows(self, *command):
        """What a command prints with `|` between fields, as a list of rows."""
        return [line.split("|") for line in self.run(*command).splitlines()]


class Room:
    """The first process of the cluster: starts the daemons and does what it is told."""

    def __init__(self, folder, accounting):
        self.folder, self.accounting, self.daemons = folder, accounting, {}

    def prepare(self):
        for name in FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        network_up()
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", self.folder / "disk"], check=True)
        subprocess.run(["mount", "--bind", self.folder / "etc", "/etc/slurm"], check=True)
        subprocess.run(["hostname", "login"], check=True)
        self.configure()

    def configure(self):
        config = CONFIG + NODES + PARTITIONS
        if not self.accounting:
            kept = [line for line in config.splitlines() if not line.startswith("Accounting")]
            config = "\n".join([*kept, "AccountingStorageType=accounting_storage/none", ""])
        files = {
            "slurm.conf": config.format(folder=self.folder),
            "slurmdbd.conf": DATABASE_CONFIG,
            "gres.conf": f"NodeName=g[1-2] Name=gpu Type=fake File={self.folder}/dev/gpu[0-{GPUS - 1}]\n",
            "mail": f'#!/bin/sh\necho "$@" >>{self.folder}/mail\n',
        }
        for name, text in files.items():
            path = self.folder / "etc" / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o700 if name == "mail" else 0o600)
        for i in range(GPUS):
            # a second /dev/null: SLURM counts and names devices, not files
            os.mknod(self.folder / f"dev/gpu{i}", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        (self.folder / "etc/munge.key").write_bytes(os.urandom(128))
        (self.folder / "etc/munge.key").chmod(0o600)

    def start_all(self):
        files = {"key": f"{self.folder}/etc/munge.key", "pid": "/run/munged.pid", "seed": "/run/munge.seed"}
        options = [f"--{kind}-file={path}" for kind, path in files.items()]
        self.start("munged", "munged", "--foreground", "--force", "--socket=/run/munge.socket", *options)
        until("munge", "--no-input", "--socket=/run/munge.socket")
        if self.accounting:
            self.start_accounting()
        self.start("slurmctld", "slurmctld", "-D")
        until("scontrol", "show", "config")
        for node in (*CPU_NODES, *GPU_NODES):
            self.start_node(node)
        until("sh", "-c", 'test "$(sinfo --noheader --format=%T --partition=short,gengpu | sort -u)" = idle')
        if self.accounting:
            until("sacct", "--noheader")

    def start_accounting(self):
        database = self.folder / "db"
        own = ["--no-defaults", "--user=root"]
        with self.log("mariadb-install-db") as log:
            install = ["mariadb-install-db", *own, f"--datadir={database}", "--skip-test-db"]
            subprocess.run(install, check=True, stdout=log, stderr=log)
        at = [f"--datadir={database}", "--socket=/run/mariadb.socket", f"--port={PORTS['mariadbd']}"]
        self.start("mariadbd", "mariadbd", *own, *at, "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0")
        until("mariadb", *own, "--socket=/run/mariadb.socket", f"--execute={DATABASE_USER}")
        self.start("slurmdbd", "slurmdbd", "-D")
        until("sacctmgr", "--noheader", "list", "cluster")
        for entry in (
            "add cluster tests",
            f"add account {ACCOUNT},others",
            f"add user root account={ACCOUNT} defaultaccount={ACCOUNT}",
        ):
            subprocess.run(
                ["sacctmgr", "--immediate", "--quiet", *entry.split()], check=True, stdout=subprocess.DEVNULL
            )

    def start(self, name, *command):
        with self.log(name) as log:
            self.daemons[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def log(self, name):
        return (self.folder / f"log/{name}").open("a", encoding="utf-8")

    def start_node(self, name):
        inside = f"hostname {name} && slurmd -D -N {name} & wait $!"
        self.start(name, "unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", inside)

    def kill_node(self, name):
        daemon = self.daemons[name]
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()

    def obey(self):
        """Orders from standard input, until `end`, or until it ends with the tests."""
        for line in sys.stdin:
            if line == "end\n":
                return
            order, node = shlex.split(line)
            {"kill": self.kill_node, "start": self.start_node}[order](node)
            print("done", flush=True)


def network_up():
    """Switch on the loopback of a new network namespace; with a second address, or SLURM's daemons resolve no name."""
    up = struct.pack("16sh", b"lo", 0x1)  # IFF_UP
    address = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton("192.0.2.1"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for call, request in ((0x8914, up), (0x8916, address)):  # SIOCSIFFLAGS, SIOCSIFADDR
            fcntl.ioctl(any_socket, call, request)


def until(*command, seconds=60):
    """Wait until a command succeeds."""
    end = time.monotonic() + seconds
    while subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        if time.monotonic() > end:
            raise TimeoutError(shlex.join(command))
        time.sleep(0.1)


if __name__ == "__main__":
    os.environ["PATH"] = PATH
    room = Room(Path(sys.argv[1]), accounting="--no-accounting" not in sys.argv)
    room.prepare()
    room.start_all()
    print("ready", flush=True)
    room.obey()
