"""What a SLURM cluster gives: partitions, nodes and their states, and whether jobs would start there."""

import getpass
import math
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from stratamil.core.errors import UserError, few
from stratamil.workflow.slurm import lines

# The words of a node's state as scontrol and sinfo write them, and what its signs stand for. No job starts on a node
# that is DOWN; jobs wait for one that is set aside; one that sleeps wakes up for a job. All other words are of nodes at
# work (ALLOCATED, MIXED, COMPLETING, PLANNED) or say where a node comes from (CLOUD, DYNAMIC_FUTURE).
DOWN = re.compile("DOWN|DRAIN(ED|ING)?|DRNG|FAIL(ED|ING|G)?|ERROR|FUTU?RE?|INVAL(ID_REG)?|NOT_RESPONDING")
SET_ASIDE = re.compile("MAINT(ENANCE)?|RESV|RESERVED|UNK(NOWN)?")
ASLEEP = re.compile("POWER(_(UP|DOWN)|(ED|ING)_(UP|DOWN))?|POW_(UP|DN)|REBOOT(_ISSUED)?|BOOT")
SIGNS = {
    "*": "NOT_RESPONDING",
    "~": "POWERED_DOWN",
    "#": "POWERING_UP",
    "!": "POWER_DOWN",
    "%": "POWERING_DOWN",
    "$": "MAINTENANCE",
    "@": "REBOOT_REQUESTED",
    "^": "REBOOT_ISSUED",
    "-": "PLANNED",
}


@dataclass(frozen=True)
class Ask:
    """What jobs of a rule ask for: memory in MB, minutes of run time, model and constraint as in the site file."""

    rule: str
    attempt: int
    partition: str
    minutes: int
    memory: int
    cpus: int = 1
    gpus: int = 0
    account: str | None = None
    model: str | None = None
    constraint: str | None = None
    qos: str | None = None


@dataclass(frozen=True)
class Node:
    """What a node gives. up: takes jobs or wakes up for them. gpus: model -> number. later: takes jobs again later."""

    name: str
    up: bool
    cpus: int
    memory: int
    gpus: dict[str, int]
    features: frozenset[str]
    later: bool = False

    def has_features(self, constraint: str | None) -> bool:
        """Tell whether the node meets a constraint of features with & and |; brackets are ignored."""
        return any(_features(both) <= self.features for both in (constraint or "").split("|"))

    def has_gpus(self, number: int, model: str | None) -> bool:
        """Tell whether the node has that many GPUs, of a model if one is named."""
        return number <= (self.gpus.get(model, 0) if model else sum(self.gpus.values()))

    def fits(self, ask: Ask) -> bool:
        """Tell whether the node has all that a job asks of one node."""
        enough = ask.memory <= self.memory and ask.cpus <= self.cpus
        return enough and self.has_gpus(ask.gpus, ask.model) and self.has_features(ask.constraint)


@dataclass(frozen=True)
class Partition:
    """What a partition gives. minutes, memory, cpus: the most of a job on a node, or inf. allowed: None is all.

    state: as SLURM says it of a partition that is not up.
    """

    name: str
    up: bool
    minutes: float
    memory: float
    cpus: float
    allowed: frozenset[str] | None
    denied: frozenset[str]
    nodes: tuple[Node, ...]
    state: str = "DOWN"


@dataclass(frozen=True)
class Offer:
    """What a cluster gives: partitions by name, and the user's accounts in lower case, None where it keeps none."""

    partitions: dict[str, Partition]
    accounts: frozenset[str] | None


def offer() -> Offer:
    """Ask SLURM what it gives. Raises UserError if it does not answer."""
    try:
        # --all, for a partition may be hidden
        nodes = [_pairs(line) for line in lines("scontrol", "--all", "--oneliner", "show", "node")]
        partitions = [_pairs(line) for line in lines("scontrol", "--all", "--oneliner", "show", "partition")]
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        raise UserError(f"SLURM does not answer: run this on a login node ({reason})") from None
    named = [_partition(pairs, nodes) for pairs in partitions if "PartitionName" in pairs]
    return Offer({partition.name: partition for partition in named}, _accounts())


def minutes(text: str) -> float:
    """Return the minutes of a time limit as SLURM writes it: `2-00:00:00`, `04:00:00`, `UNLIMITED`."""
    if not (parts := re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)):
        return math.inf
    days, hours, mins, seconds = (int(part or 0) for part in parts.groups())
    return days * 1440 + hours * 60 + mins + seconds / 60


def problems(ask: Ask, offer: Offer) -> list[str]:
    """Return why such jobs would be refused or pend forever, as clauses; an empty list if they would start."""
    if unknown := [name for name in ask.partition.split(",") if name not in offer.partitions]:
        return [f"there is no partition {' or '.join(unknown)}: there are {', '.join(sorted(offer.partitions))}"]
    nodes = [node for each in offer.partitions.values() for node in each.nodes]
    unknown = _features(ask.constraint).difference(*(node.features for node in nodes))
    of_features = [f"no node of the cluster has the feature {feature}" for feature in sorted(unknown)]
    of_each = [_problems(ask, offer, partition) for partition in _partitions(ask, offer)]
    of_all = of_each if all(of_each) else []  # one that starts them is enough
    return [*of_features, *dict.fromkeys(clause for clauses in of_all for clause in clauses)]


def waits(ask: Ask, offer: Offer) -> str | None:
    """Return why such jobs, which have no problems, would start only later: a clause, or None if they may start now."""
    partitions = [each for each in _partitions(ask, offer) if not _problems(ask, offer, each)]
    nodes = [node for partition in partitions for node in partition.nodes if node.fits(ask)]
    if any(node.up for node in nodes) or not nodes:
        return None
    names = few(dict.fromkeys(node.name for node in nodes if node.later))
    return f"the nodes of partition {ask.partition} that fit are in maintenance, reserved or to be rebooted: {names}"


def refused(ask: Ask) -> str | None:
    """Return what SLURM itself says against such a job, or None; it knows limits that `problems` does not."""
    options = {
        "--partition": ask.partition, "--time": ask.minutes, "--mem": ask.memory, "--cpus-per-task": ask.cpus,
        "--nodes": 1, "--account": ask.account, "--constraint": ask.constraint, "--qos": ask.qos,
        "--gpus": ":".join(filter(None, [ask.model, str(ask.gpus)])) if ask.gpus else None,
    }  # fmt: skip
    given = [f"{option}={value}" for option, value in options.items() if value is not None]
    done = subprocess.run(
        ["sbatch", "--test-only", *given, "--wrap=true"],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=60,
    )
    return " ".join(done.stderr.split()) if done.returncode else None


def _features(constraint: str | None) -> set[str]:
    return set(re.findall(r"[\w.:-]+", constraint or ""))


def _pairs(line: str) -> dict[str, str]:
    """Return the words `key=value` of a line; of equal keys the first: a node's reason, at the end, is free text."""
    return dict(reversed(re.findall(r"(\w+)=(\S*)", line)))


def _partition(pairs: dict[str, str], nodes: list[dict[str, str]]) -> Partition:
    name = pairs["PartitionName"]
    return Partition(
        name=name,
        up=pairs["State"].upper() == "UP",
        state=pairs["State"].upper(),
        minutes=minutes(pairs["MaxTime"]),
        memory=_limit(pairs.get("MaxMemPerNode")),
        cpus=_limit(pairs.get("MaxCPUsPerNode")),
        allowed=None if pairs.get("AllowAccounts", "ALL") == "ALL" else _names(pairs["AllowAccounts"]),
        denied=_names(pairs.get("DenyAccounts", "")),
        nodes=tuple(_node(each) for each in nodes if name in each.get("Partitions", "").split(",")),
    )


def _limit(text: str | None) -> float:
    return float(text) if text and text.isdigit() else math.inf


def _names(text: str, lower: bool = True) -> frozenset[str]:
    return frozenset((text.lower() if lower else text).split(",")) - {"", "(null)"}


def _node(pairs: dict[str, str]) -> Node:
    up, later = _takes_jobs(pairs["State"])
    return Node(
        name=pairs["NodeName"],
        up=up,
        later=later,
        cpus=int(pairs["CPUTot"]),
        memory=int(pairs["RealMemory"]),
        gpus={model: int(number) for model, number in re.findall(r"\bgpu:(?:([\w.-]+):)?(\d+)", pairs.get("Gres", ""))},
        features=_names(pairs.get("AvailableFeatures", ""), lower=False),
    )


def _takes_jobs(state: str) -> tuple[bool, bool]:
    """Tell whether a node in a state such as `IDLE+CLOUD+POWERED_DOWN` or `mix~` takes jobs, and whether only later."""
    words = {SIGNS.get(word, word) for word in re.findall(r"\w+|[^\w+]", state.upper())}
    down, later, asleep = (set(filter(kind.fullmatch, words)) for kind in (DOWN, SET_ASIDE, ASLEEP))
    if asleep:
        down.discard("NOT_RESPONDING")  # nor does it have to
    if words & {"POWER_DRAIN", "REBOOT_REQUESTED", "REBOOT_ISSUED"}:  # drained until it is off, or has started again
        later |= down & {"DRAIN"}
        down.discard("DRAIN")
    return not down and not later, not down and bool(later)


def _accounts() -> frozenset[str] | None:
    columns = ["where", f"user={getpass.getuser()}", "format=account"]
    try:
        rows = lines("sacctmgr", "--noheader", "--parsable2", "show", "associations", *columns)
    except (OSError, subprocess.SubprocessError):
        return None
    return frozenset(row.lower() for row in rows if row) or None


def _problems(ask: Ask, offer: Offer, partition: Partition) -> list[str]:
    return [*_account_problems(ask, offer, partition), *_partition_problems(ask, partition)]


def _account_problems(ask: Ask, offer: Offer, partition: Partition) -> Iterator[str]:
    account = (ask.account or "").lower()
    if account and offer.accounts is not None and account not in offer.accounts:
        yield f"the account {ask.account} is not yours: {', '.join(sorted(offer.accounts))} would be"
    elif account and partition.allowed is not None and account not in partition.allowed:
        allowed = ", ".join(sorted(partition.allowed))
        yield f"partition {partition.name} is for the accounts {allowed}, not {ask.account}"
    elif account in partition.denied:
        yield f"partition {partition.name} is not for the account {ask.account}"


def _partition_problems(ask: Ask, partition: Partition) -> Iterator[str]:
    name = partition.name
    if not partition.up:
        yield f"partition {name} starts no jobs: it is {partition.state}"
    if ask.minutes > partition.minutes:
        yield f"it asks for {ask.minutes} minutes, partition {name} gives {partition.minutes:g}"
    memory = min(partition.memory, max((node.memory for node in partition.nodes), default=0))
    if ask.memory > memory:
        yield f"it asks for {ask.memory} MB, partition {name} gives {memory:g} on a node"
    cpus = min(partition.cpus, max((node.cpus for node in partition.nodes), default=0))
    if ask.cpus > cpus:
        yield f"it asks for {ask.cpus} CPUs, partition {name} gives {cpus:g} on a node"
    fit = [node for node in partition.nodes if node.has_gpus(ask.gpus, ask.model)]
    if not fit:
        model = f" of model {ask.model}" if ask.model else ""
        yield f"it asks for {ask.gpus} GPU{model} on a node, partition {name} has {_gpus(partition)}"
    if ask.constraint and not any(node.has_features(ask.constraint) for node in partition.nodes):
        features = sorted(set().union(*(node.features for node in partition.nodes)))
        yield f"no node of partition {name} meets {ask.constraint}: features are {', '.join(features) or 'none'}"
    if ask.memory <= memory and ask.cpus <= cpus:
        fit = [node for node in fit if node.has_features(ask.constraint)]
        enough = [node for node in fit if node.fits(ask)]
        if fit and not enough:
            yield f"no node of partition {name} has all of it: {ask.memory} MB, {ask.cpus} CPUs, {ask.gpus} GPU"
        elif enough and not any(node.up or node.later for node in enough):
            yield f"the nodes of partition {name} that fit are down: {few(node.name for node in enough)}"


def _gpus(partition: Partition) -> str:
    each = {f"{number} {model or 'GPU'}" for node in partition.nodes for model, number in node.gpus.items()}
    return " or ".join(sorted(each)) or "none"


def _partitions(ask: Ask, offer: Offer) -> list[Partition]:
    return [offer.partitions[name] for name in ask.partition.split(",") if name in offer.partitions]
