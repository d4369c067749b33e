"""What the machine and the environment give: Python, packages, GPU, memory, disks, the file system of the results.

Each check yields Lines and may raise; `doctor` makes a line of that, too. The environment may be broken, so only
Python's own library is imported; what could crash or hang (torch, a driver) is a process of its own.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from stratamil.core.errors import few

State = Literal["ok", "note", "wrong"]

GB = 1e9
LITTLE, TOO_LITTLE = 10 * GB, 1 * GB  # of free disk
MARKS = {"ok": "ok", "note": "--", "wrong": "!!"}
INSTALL = "python -m pip install -r requirements.txt -c constraints.txt"

# What torch says of itself and of the GPUs, as JSON.
TORCH = """
import json, torch
cuda, gpus = torch.cuda.is_available(), []
if cuda:
    gpus = [list(torch.cuda.get_device_capability(i)) for i in range(torch.cuda.device_count())]
built = torch.cuda.get_arch_list() if cuda else []
version = {"version": torch.__version__, "cuda": torch.version.cuda}
print(json.dumps({**version, "sees": cuda, "gpus": gpus, "built": built}))
"""


@dataclass(frozen=True)
class Line:
    """The outcome of one check. state: ok, note (something optional is missing) or wrong (something needed is)."""

    state: State
    name: str
    what: str

    def __str__(self) -> str:
        return f"{MARKS[self.state]}  {self.name}: {self.what}"


def python(root: Path) -> Iterator[Line]:
    """Check this Python against requires-python of pyproject.toml."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    first, end = map(int, re.search(r'^requires-python = ">=3\.(\d+),<3\.(\d+)"', text, re.MULTILINE).groups())
    if sys.version_info[0] == 3 and first <= sys.version_info[1] < end:
        yield Line("ok", "Python", platform.python_version())
    else:
        remedy = f"delete .venv and run make PYTHON=python3.{end - 1} .venv/.run"
        yield Line("wrong", "Python", f"{platform.python_version()}, 3.{first} to 3.{end - 1} are supported: {remedy}")


def pins(path: Path) -> dict[str, str]:
    """Return package -> version of a file of pins, names as they are written there."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE))


def packages(root: Path) -> Iterator[Line]:
    """Check the installed packages: those of requirements.txt must be there, all others only as they are pinned."""
    needed, pinned = pins(root / "requirements.txt"), pins(root / "constraints.txt")
    wrong, drifted = [], []
    for name, wanted in {**pinned, **needed}.items():
        try:
            there = version(name).partition("+")[0]  # 2.14.1+cpu
        except PackageNotFoundError:
            there = "missing"
        if there != wanted and name in needed:
            wrong.append(f"{name} {there} (pinned: {wanted})")
        elif there not in (wanted, "missing"):
            drifted.append(f"{name} {there} (pinned: {wanted})")
    if wrong:
        other = (root / ".venv/bin").is_dir() and Path(sys.prefix).resolve() != (root / ".venv").resolve()
        remedy = "this Python is not that of .venv: source .venv/bin/activate" if other else INSTALL
        yield Line("wrong", "packages", f"{few(wrong)}: {remedy}")
    elif drifted:
        yield Line("note", "packages", f"{few(drifted)}: numbers may differ in the last digits: {INSTALL}")
    else:
        yield Line("ok", "packages", f"all {len(needed)} of requirements.txt as pinned, and what these need")


def snakemake() -> Iterator[Line]:
    """Check that Snakemake starts."""
    try:
        yield Line("ok", "Snakemake", asked(sys.executable, "-m", "snakemake", "--version").strip())
    except subprocess.SubprocessError as error:
        yield Line("wrong", "Snakemake", f"does not start ({reason(error)}): {INSTALL}")


def torch_build(facts: dict[str, Any]) -> Iterator[Line]:
    """Check that torch can be imported; put what it says of itself into `facts`."""
    try:
        facts.update(json.loads(asked(sys.executable, "-c", TORCH, timeout=180).splitlines()[-1]))
    except subprocess.SubprocessError as error:
        yield Line("wrong", "torch", f"cannot be imported ({reason(error)}): {INSTALL}")
        return
    built = f"CUDA {facts['cuda']}" if facts["cuda"] else "the CPU"
    yield Line("ok", "torch", f"{facts['version']}, built for {built}")


def gpu(torch: dict[str, Any]) -> Iterator[Line]:
    """Check the GPUs, their driver, and whether this torch runs on them. torch: its facts, empty if it is broken."""
    if not shutil.which("nvidia-smi"):
        yield Line(
            "note", "GPU", "no nvidia-smi here: the CPU does everything, and training takes several times as long"
        )
        return
    try:
        fields = "name,driver_version,compute_cap,memory.total"
        rows = asked("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader").strip().splitlines()
        said = re.search(r"CUDA (?:\w+ )?Version *: *(\d+)\.(\d+)", asked("nvidia-smi"))
    except (OSError, subprocess.SubprocessError) as error:
        yield Line("note", "GPU", f"nvidia-smi fails ({reason(error)}): ask who runs the machine for a driver")
        return
    for row in dict.fromkeys(rows):
        name, driver, capability, size = (part.strip() for part in row.split(","))
        times = f"{rows.count(row)} x " if rows.count(row) > 1 else ""
        yield Line("ok", "GPU", f"{times}{name}, {size}, driver {driver}, compute capability {capability}")
    if torch:
        yield _gpu_and_torch(torch, tuple(map(int, said.groups())) if said else None)


def _gpu_and_torch(torch: dict[str, Any], driver: tuple[int, int] | None) -> Line:
    name = "GPU and torch"
    if not torch["cuda"]:
        return Line("note", name, "this torch is built for the CPU: install the one of requirements.txt to use the GPU")
    if driver and driver[0] < int(torch["cuda"].partition(".")[0]):
        has = f"the driver supports CUDA {driver[0]}.{driver[1]}, torch is built for {torch['cuda']}"
        return Line("wrong", name, f"{has}: update the driver, or install a torch that is built for CUDA {driver[0]}")
    if not torch["sees"]:
        return Line("wrong", name, "torch sees no GPU: unset CUDA_VISIBLE_DEVICES, or ask SLURM for one (--gres=gpu:1)")
    for major, minor in map(tuple, torch["gpus"]):
        if not runs_on(torch["built"], major, minor):
            has = f"torch is built for {', '.join(torch['built'])}, not for compute capability {major}.{minor}"
            return Line("wrong", name, f"{has}: choose another GPU, or a torch that is built for it")
    return Line("ok", name, f"torch runs on {len(torch['gpus'])} GPU{'s' * (len(torch['gpus']) != 1)}")


def runs_on(built: list[str], major: int, minor: int) -> bool:
    """Tell whether code that is built for `sm_80` or `compute_90` runs on a GPU of a compute capability.

    Machine code (sm) runs on the same major and an equal or higher minor version, PTX (compute) on all that are later;
    both as in NVIDIA's CUDA C++ programming guide. A letter after the digits (sm_90a) binds it to one capability.
    """
    for kind, digits, letter in re.findall(r"(sm|compute)_(\d+)([a-z]?)", " ".join(built)):
        made = int(digits[:-1]), int(digits[-1])
        if made == (major, minor) or (not letter and made < (major, minor) and (kind == "compute" or made[0] == major)):
            return True
    return False


def memory() -> Iterator[Line]:
    """Check the memory and the CPUs that this process may use."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # "max" where a container or job has no limit
        size = min(size, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8")))
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    what = f"{size / GB:.0f} GB, {cpus} CPU{'s' * (cpus != 1)}"
    if size < 7.5 * GB:  # a machine of 8 GB shows somewhat less
        yield Line("note", "memory", f"{what}: a job takes up to 8 GB: run one at a time, with --cores 1")
    else:
        yield Line("ok", "memory", what)


def disk(results: Path) -> Iterator[Line]:
    """Check the free space of the home folder, the working folder and the results folder, a line for each disk."""
    disks: dict[int, list[str]] = {}
    free: dict[int, int] = {}
    for name, path in [("home folder", Path.home()), ("working folder", Path.cwd()), ("results folder", results)]:
        there = existing(path)
        device = there.stat().st_dev
        disks.setdefault(device, []).append(name)
        free[device] = shutil.disk_usage(there).free
    for device, names in disks.items():
        needed = names != ["home folder"]  # there are caches only
        what = f"{free[device] / GB:,.1f} GB free ({', '.join(names)})"
        if needed and free[device] < TOO_LITTLE:
            yield Line("wrong", "disk", f"{what}: make room, or work on another disk")
        elif free[device] < (LITTLE if needed else TOO_LITTLE):
            yield Line("note", "disk", f"{what}: make room before a large study")
        else:
            yield Line("ok", "disk", what)


def results_folder(results: Path) -> Iterator[Line]:
    """Check what a study needs of its results folder: writing, renaming, locks, times; nothing stays behind."""
    name, there = "results folder", existing(results)
    try:
        folder = tempfile.TemporaryDirectory(prefix=".stratamil.doctor_", dir=there)
    except OSError as error:
        yield Line("wrong", name, f"cannot be written ({error.strerror}): set results to a folder of your own")
        return
    with suppress(OSError, subprocess.SubprocessError):
        name += f" ({asked('stat', '-f', '-c', '%T', str(there)).strip()})"  # ext2/ext3, nfs, lustre
    with folder:
        yield _latency(name, Path(folder.name))
        yield _file_locks(name, Path(folder.name, "lock"))
        yield _times(name, Path(folder.name, "times"))


def _latency(name: str, folder: Path, rounds: int = 20) -> Line:
    took = []
    for number in range(rounds):
        start, content = time.perf_counter(), str(number)
        (folder / "new").write_text(content, encoding="utf-8")
        (folder / "new").replace(folder / "file")
        if (folder / "file").read_text(encoding="utf-8") != content:
            return Line("wrong", name, "a renamed file shows old content: choose a folder on another file system")
        took.append(time.perf_counter() - start)
    middle = 1000 * sorted(took)[rounds // 2]
    what = f"a small file is written, renamed and read in {middle:.1f} ms"
    if middle > 100:
        return Line("note", name, f"{what}, which is slow: choose a folder on another disk")
    return Line("ok", name, what)


def _file_locks(name: str, path: Path) -> Line:
    """The workflow's own locks are hard links; flock is for programs that read the results."""
    path.write_text("", encoding="utf-8")
    lacking = []
    try:
        os.link(path, path.with_suffix(".link"))
    except OSError:
        lacking.append("hard links")
    try:
        import fcntl

        with path.open("r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, ImportError):
        lacking.append("file locks (flock)")
    if lacking:
        return Line("note", name, f"no {' and no '.join(lacking)}: the workflow does without, other programs may not")
    return Line("ok", name, "hard links and file locks")


def _times(name: str, path: Path) -> Line:
    """How finely times are kept, and whether the file server's clock is this machine's."""
    path.write_text("", encoding="utf-8")
    apart = abs(path.stat().st_mtime - time.time())
    wanted = 1_600_000_001_123_456_789
    os.utime(path, ns=(wanted, wanted))
    off = abs(path.stat().st_mtime_ns - wanted)
    steps = {1: "1 ns", 100: "100 ns", 1000: "1 us", 10**6: "1 ms", 10**9: "1 s"}
    kept = next((step for step in steps if off < step), None)
    if apart > 5:
        remedy = "set both by a time server: new files look old, and Snakemake may run jobs again"
        return Line("note", name, f"its clock and this machine's are {apart:.0f} s apart: {remedy}")
    if kept in (10**9, None):
        finest = steps.get(kept, "2 s or more")
        return Line("note", name, f"keeps times to {finest}: wait as long before you change an input again")
    return Line("ok", name, f"keeps times to {steps[kept]}, by this machine's clock")


def asked(*command: str, timeout: float = 60, cwd: Path | None = None) -> str:
    """Return what a command prints; raises OSError or SubprocessError if it fails or does not answer."""
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", timeout=timeout, check=True, cwd=cwd
    ).stdout


def reason(error: Exception, first: bool = False) -> str:
    """Return an error in one line: of a command, its last line, or the first that begins with `error: `."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer in {error.timeout:.0f} s"
    said = str(error)
    if isinstance(error, subprocess.CalledProcessError):
        said = (error.stderr or "").strip() or (error.stdout or "").strip() or f"exit status {error.returncode}"
    lines = said.strip().splitlines() or [type(error).__name__]
    named = [line[len("error: ") :] for line in lines if line.startswith("error: ")]
    return named[0] if first and named else lines[-1].strip()


def existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    path = Path(os.path.abspath(path))
    return next(each for each in (path, *path.parents) if each.exists())
