"""The site file, limits as SLURM writes them, and which jobs in the queue are left from an earlier run."""

import base64
import contextlib
import math
import subprocess

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from repository import REPOSITORY

from stratamil.core.errors import UserError
from stratamil.workflow import slurm, slurm_offer

SITE = yaml.safe_load((REPOSITORY / "profiles/slurm/site.yaml").read_text())
RUN = "stratamil_189c089e-1aa8-4005-925b-2066a5a28155"


def read(tmp_path, content):
    path = tmp_path / "site.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return slurm.read_site(path)


def test_the_site_file_as_it_comes(tmp_path):
    site = read(tmp_path, SITE)
    assert (site.account, site.cpu.partition, site.gpu.partition) == ("my_account", "short", "gengpu")
    assert site.on_gpu == slurm.GPU_RULES and site.off_gpu == [] and site.mail is None
    assert read(tmp_path, SITE | {"account": 12345, "on_gpu": []}).account == "12345"
    assert read(tmp_path, SITE | {"on_gpu": None}).off_gpu == list(slurm.GPU_RULES)
    for several in ("short,long", "short, long", ["short", "long"]):
        assert read(tmp_path, SITE | {"cpu": {"partition": several}}).cpu.partition == "short,long"


@pytest.mark.parametrize(
    "content, problems",
    [
        (SITE | {"acount": "a"}, ["acount: no such key: account, cpu, gpu, on_gpu, mail are"]),
        (
            SITE | {"cpu": {"partition": "short", "model": "a100"}, "gpu": {"model": None}, "on_gpu": "train"},
            [
                "cpu.model: no such key: partition, constraint, qos are",
                "gpu: name its partition, as in `gpu: {partition: short}`",
                "on_gpu: a list of rules is wanted, such as [embed, train, retrain]",
            ],
        ),
        (
            SITE | {"gpu": {"partition": "gengpu", "model": "a100-80"}, "mail": "a@b.org, c@d.org"},
            [
                "gpu.model: a100-80: the executor takes no hyphens: use gpu.constraint, or null",
                "mail: a@b.org, c@d.org: one address is wanted",
            ],
        ),
        ("short", ["keys and values are wanted, such as `account: my_account`"]),
    ],
)
def test_a_wrong_site_file_is_told_at_once(tmp_path, content, problems):
    with pytest.raises(UserError) as error:
        read(tmp_path, content)
    assert error.value.problems == tuple(f"{tmp_path / 'site.yaml'}: {problem}" for problem in problems)


def test_no_job_starts_where_snakemake_would_let_a_shell_read_the_name(tmp_path, monkeypatch):
    names = {"my lab": True, "a;(b) &c": True, "ä": True, "o'neill": False, "a$(b)": False, "a`b`": False}
    for name, fine in names.items():
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        if fine:
            assert read(tmp_path, SITE).account
        else:
            with pytest.raises(UserError, match="move the checkout"):
                read(tmp_path, SITE)


def test_no_site_file_or_no_yaml(tmp_path):
    with pytest.raises(UserError, match="not found: run snakemake in the folder of the workflow"):
        slurm.read_site(tmp_path / "site.yaml")
    with pytest.raises(UserError, match=r"site\.yaml: not YAML: .*line 1"):
        read(tmp_path, "account: [")


@given(st.integers(0, 60), st.integers(0, 23), st.integers(0, 59))
def test_minutes_of_a_limit(days, hours, minutes):
    text = f"{days}-{hours:02d}:{minutes:02d}:00" if days else f"{hours:02d}:{minutes:02d}:00"
    assert slurm_offer.minutes(text) == (days * 24 + hours) * 60 + minutes
    assert slurm_offer.minutes("UNLIMITED") == math.inf


@pytest.mark.parametrize(
    "gres, gpus",
    [
        ("(null)", {}),
        ("gpu:2", {"": 2}),
        ("gpu:a100:4(S:0-1)", {"a100": 4}),
        ("gpu:nvidia_a100_1g.5gb:7,gpu:h100:1,nvme:3", {"nvidia_a100_1g.5gb": 7, "h100": 1}),
    ],
)
def test_gpus_of_a_node(gres, gpus):
    line = f"NodeName=n1 CPUTot=8 RealMemory=64000 AvailableFeatures=a,b State=IDLE+DRAIN Gres={gres} OS=Linux 6 #1"
    node = slurm_offer._node(slurm_offer._pairs(line))
    assert node.gpus == gpus and node.features == {"a", "b"} and not node.up
    assert node.has_gpus(sum(gpus.values()), None) and not node.has_gpus(1 + sum(gpus.values()), None)


# States as `scontrol show node` of SLURM 18 to 25 and sinfo write them.
TAKES_JOBS = """
    IDLE ALLOCATED MIXED COMPLETING ALLOCATED+COMPLETING MIXED+PLANNED IDLE+PLANNED PLANNED BLOCKED IDLE+BLOCKED
    PERFCTRS IDLE+CLOUD IDLE+CLOUD+POWER IDLE+POWERED_DOWN IDLE+CLOUD+POWERED_DOWN IDLE+POWERING_DOWN IDLE+POWER_DOWN
    IDLE+CLOUD+POWERING_UP IDLE+POWER_UP MIXED+CLOUD+NOT_RESPONDING+POWERING_UP IDLE+NOT_RESPONDING+POWERED_DOWN
    ALLOCATED+CLOUD+NOT_RESPONDING+POWERING_UP IDLE+DYNAMIC_FUTURE IDLE+DYNAMIC_NORM IDLE+REBOOT_REQUESTED
    IDLE+REBOOT_ISSUED IDLE+NOT_RESPONDING+REBOOT_ISSUED IDLE+REBOOT_CANCELED REBOOT IDLE~ IDLE# IDLE% IDLE! IDLE@ IDLE^
    idle~ idle#+cloud mix- mixed alloc# alloc comp npc plnd pow_dn pow_up boot idle%+cloud ALLOCATED~
    IDLE+POWER MIXED+A_WORD_TO_COME
"""
TAKES_JOBS_LATER = """
    MAINT MAINTENANCE IDLE+MAINTENANCE IDLE+RESERVED RESERVED resv maint IDLE$ ALLOCATED+MAINTENANCE+RESERVED
    MIXED+RESERVED IDLE+RESERVED+POWERED_DOWN IDLE+POWERED_DOWN+MAINTENANCE UNKNOWN unk IDLE+DRAIN+REBOOT_ISSUED
    IDLE+DRAIN+REBOOT_REQUESTED MIXED+CLOUD+DRAIN+POWER_DRAIN+POWER_DOWN
"""
TAKES_NO_JOBS = """
    DOWN down* DOWN+DRAIN IDLE+DRAIN ALLOCATED+DRAIN DRAINED DRAINING drng drain FAIL FAILING failg IDLE+FAIL ERROR
    IDLE+NOT_RESPONDING IDLE* idle*+cloud FUTURE futr IDLE+INVALID_REG INVAL DOWN+CLOUD+POWERED_DOWN DOWN+POWERING_UP
    IDLE+DRAIN+POWERED_DOWN DOWN+MAINTENANCE MAINTENANCE+DRAIN IDLE+DRAIN+RESERVED DOWN~ drain~
    IDLE+NOT_RESPONDING+PLANNED MAINT* DOWN+REBOOT_ISSUED+NOT_RESPONDING DOWN+RESERVED
"""


@pytest.mark.parametrize("state", " ".join([TAKES_JOBS, TAKES_JOBS_LATER, TAKES_NO_JOBS]).split())
def test_states_of_a_node(state):
    line = (
        f"NodeName=n1 CPUTot=8 RealMemory=64000 AvailableFeatures=(null) Gres=(null) State={state} Reason=x State=IDLE"
    )
    node = slurm_offer._node(slurm_offer._pairs(line))
    assert (node.up, node.later) == (state in TAKES_JOBS.split(), state in TAKES_JOBS_LATER.split())


def cluster_of(**states):
    """An Offer of partitions with a node each in a state; a state in brackets is that of the partition."""
    lines = []
    for name, state in states.items():
        of_partition = state.strip("()") if state.startswith("(") else "UP"
        of_node = "IDLE" if state.startswith("(") else state
        has = "CPUTot=8 RealMemory=64000 AvailableFeatures=a Gres=gpu:2"
        node = f"NodeName={name}-1 {has} State={of_node} Partitions={name}"
        lines.append((f"PartitionName={name} MaxTime=04:00:00 State={of_partition}", node))
    nodes = [slurm_offer._pairs(node) for _, node in lines]
    return slurm_offer.Offer(
        {p.name: p for p in (slurm_offer._partition(slurm_offer._pairs(line), nodes) for line, _ in lines)}, None
    )


def judged(partition, offer, **changes):
    fine = {"rule": "train", "attempt": 1, "partition": partition, "minutes": 60, "memory": 8000, "gpus": 1}
    ask = slurm_offer.Ask(**fine | changes)
    return slurm_offer.problems(ask, offer), slurm_offer.waits(ask, offer)


def test_any_partition_of_a_list_may_start_a_job():
    offer = cluster_of(short="IDLE", long="IDLE+POWERED_DOWN", off="DOWN", kept="IDLE+MAINTENANCE", shut="(INACTIVE)")
    for fine in ("short", "long", "short,long", "off,short", "shut,long", "kept,short"):
        assert judged(fine, offer) == ([], None)
    later = "the nodes of partition {} that fit are in maintenance, reserved or to be rebooted: kept-1"
    for waiting in ("kept", "off,kept", "kept,shut"):
        assert judged(waiting, offer) == ([], later.format(waiting))
    assert judged("off,shut", offer)[0] == [
        "the nodes of partition off that fit are down: off-1",
        "partition shut starts no jobs: it is INACTIVE",
    ]
    assert judged("short,nope,no", offer)[0] == [
        "there is no partition nope or no: there are kept, long, off, short, shut",
    ]
    assert judged("short,long", offer, minutes=300)[0] == [
        "it asks for 300 minutes, partition short gives 240",
        "it asks for 300 minutes, partition long gives 240",
    ]
    assert judged("short,long", offer, constraint="b")[0] == [
        "no node of the cluster has the feature b",
        "no node of partition short meets b: features are a",
        "no node of partition long meets b: features are a",
    ]


@pytest.mark.parametrize("state", ["DOWN", "DRAIN", "INACTIVE", "down"])
def test_states_of_a_partition(state):
    assert judged("p", cluster_of(p=f"({state})"))[0] == [f"partition p starts no jobs: it is {state.upper()}"]
    assert judged("p", cluster_of(p="(up)")) == ([], None)


def test_many_nodes_that_are_down_are_counted():
    nodes = tuple(slurm_offer.Node(f"n{i}", False, 8, 64000, {"": 2}, frozenset()) for i in range(500))
    offer = slurm_offer.Offer(
        {"gpu": slurm_offer.Partition("gpu", True, 60, math.inf, math.inf, None, frozenset(), nodes)}, None
    )
    assert judged("gpu", offer)[0] == ["the nodes of partition gpu that fit are down: n0, n1, n2 and 497 more"]


def test_nodes_that_fit_only_one_by_one_or_are_down():
    small = slurm_offer.Node("n1", True, 4, 64000, {"a100": 1}, frozenset())
    large = slurm_offer.Node("n2", True, 64, 8000, {"a100": 1}, frozenset())
    down = slurm_offer.Node("n3", False, 64, 64000, {"a100": 1}, frozenset())
    ask = slurm_offer.Ask("train", 1, "gpu", 60, 32000, cpus=8, gpus=1)

    def problems(*nodes):
        partition = slurm_offer.Partition("gpu", True, 60, math.inf, math.inf, None, frozenset(), nodes)
        return slurm_offer.problems(ask, slurm_offer.Offer({"gpu": partition}, None))

    assert problems(small, large) == ["no node of partition gpu has all of it: 32000 MB, 8 CPUs, 1 GPU"]
    assert problems(small, down) == ["the nodes of partition gpu that fit are down: n3"]
    assert problems() == [
        "it asks for 32000 MB, partition gpu gives 0 on a node",
        "it asks for 8 CPUs, partition gpu gives 0 on a node",
        "it asks for 1 GPU on a node, partition gpu has none",
    ]


class Queue:
    """Stands for SLURM: jobs in the queue, and their batch scripts."""

    def __init__(self, monkeypatch, *jobs):
        self.rows, self.scripts = [], {}
        for number, (run, folder, script) in enumerate(jobs):
            self.rows.append(f"{number}|{run}|RUNNING|rule_train_wildcards_01_1|{folder}")
            self.scripts[str(number)] = script
        monkeypatch.setattr(slurm.shutil, "which", lambda name: name)
        monkeypatch.setattr(slurm, "lines", self.lines)

    def lines(self, program, *arguments):
        if program == "squeue":
            return self.rows
        if (script := self.scripts[arguments[-2]]) is None:
            raise subprocess.CalledProcessError(1, program)
        return ["#!/bin/sh", "# made by 'sbatch", f"python -m snakemake --cores 'all' {script} --jobs 1"]


def test_orphans_are_jobs_of_this_folder_and_these_results(tmp_path, monkeypatch):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text("results: results")
    (tmp_path / "mine.yaml").write_text("results: results/mine\nseeds: [1]")
    (tmp_path / "seeds.yaml").write_text("seeds: [1]")
    coded = "base64//" + base64.b64encode(b"results=results/other").decode()
    files = f"--configfiles {tmp_path / 'mine.yaml'} {tmp_path / 'seeds.yaml'}"
    (tmp_path / "link").symlink_to(tmp_path)
    Queue(
        monkeypatch,
        (RUN, tmp_path, files),
        (RUN, tmp_path / "link", f"{files} --config results=./results/mine/"),
        (RUN, tmp_path, None),  # no script to look at
        (RUN, tmp_path, ""),  # the results of config/config.yaml
        (RUN, tmp_path, f"{files} --config {coded}"),
        (RUN, tmp_path.parent, files),
        ("jupyter", tmp_path, files),
    )
    left = slurm.orphans(tmp_path, "results/mine")
    assert [job.id for job in left] == ["0", "1", "2"]
    line = slurm.ending(left[:1])
    assert f"0 (rule_train_wildcards_01_1, RUNNING): end them with `scancel --name={RUN}`" in line
    assert [job.id for job in slurm.orphans(tmp_path, "results")] == ["2", "3"]


def test_no_slurm_no_orphans(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.orphans(tmp_path, "results") == []


@pytest.mark.parametrize(
    "said, told",
    [
        ("fetch_config: DNS SRV lookup failed\nsqueue: fatal: Could not establish a configuration source", False),
        ("_fetch_child: failed to fetch remote configs: Unable to contact slurm controller (connect failure)", True),
        ("Unable to contact slurm controller (connect failure)", True),
        ("s_p_parse_file: cannot stat file /etc/slurm/slurm.conf: No such file or directory", True),
    ],
)
def test_commands_without_a_cluster_are_no_reason_to_warn(tmp_path, monkeypatch, said, told):
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\necho 'squeue: error: {said}' >&2\nexit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(subprocess.CalledProcessError) if told else contextlib.nullcontext():
        assert slurm.orphans(tmp_path, "results") == []


def test_names_of_the_site_file_are_the_text_that_stands_there(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("account: 0123\ncpu: {partition: 1e3}\ngpu: {partition: on, qos: null, model: 4090}\n")
    site = slurm.read_site(path)
    assert (site.account, site.cpu.partition, site.gpu) == ("0123", "1e3", slurm.Place("on", model="4090"))
    path.write_text("account: a\ncpu: {partition: a}\ngpu: {partition: b}\naccount: c\n")
    with pytest.raises(UserError, match="lines 1 and 4: 'account' is written more than once"):
        slurm.read_site(path)
