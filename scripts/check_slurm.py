"""Compare what the jobs of a study ask for with what the partitions of this cluster give: which would pend forever?

Run it on a login node before the first submission, and when the site file or the cluster has changed. Nothing is
submitted.
"""

import argparse
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

import cli
from stratamil.core.errors import UserError
from stratamil.workflow import slurm, slurm_offer

JOB = re.compile(r"^rule (\w+):\n((?: {4}.*\n)+)", re.MULTILINE)


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--profile", type=Path, default=Path("profiles/slurm"))
    parser.add_argument("--configfile", nargs="*", type=Path, default=[], help="as for snakemake")
    return parser.parse_args()


def planned(args: argparse.Namespace, attempt: int) -> Counter[slurm_offer.Ask]:
    """Return what each job would ask for at an attempt, by a dry run of everything: Ask -> number of jobs."""
    command = [
        sys.executable, "-m", "snakemake", "--profile", args.profile, "--dry-run", "--forceall", "--nocolor",
        "--printshellcmds",  # each job with its resources
        "--attempt", str(attempt), "--cores", "1000",  # not those of this machine, to which it would cut the threads
        *(["--configfile", *args.configfile] if args.configfile else []),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise UserError(f"the dry run fails: {' '.join(last)}")
    return Counter(asked(rule, text, attempt) for rule, text in JOB.findall(done.stdout) if rule not in local_rules())


def local_rules() -> set[str]:
    """Return the rules that run where Snakemake does; a dry run does not mark them."""
    text = Path("rules/targets.smk").read_text(encoding="utf-8")
    block = re.search(r"^localrules:\n((?: +\w+,\n)+)", text, re.MULTILINE)
    return set(re.findall(r"\w+", block[1]))


def asked(rule: str, text: str, attempt: int) -> slurm_offer.Ask:
    """Return a job of the dry run as an Ask."""
    said = dict(re.findall(r"^ +(\w+): (.*)$", text, re.MULTILINE))
    given = dict(item.split("=", 1) for item in said["resources"].split(", ") if "=" in item)
    return slurm_offer.Ask(
        rule=rule,
        attempt=attempt,
        partition=given["slurm_partition"],
        minutes=int(given["runtime"]),
        memory=int(given["mem_mb"]),
        cpus=int(said.get("threads", 1)),
        gpus=int(given.get("gpu", 0)),
        account=given.get("slurm_account"),
        model=given.get("gpu_model"),
        constraint=given.get("constraint") or None,
        qos=given.get("qos"),
    )


def problems(asks: Iterable[slurm_offer.Ask], offer: slurm_offer.Offer) -> dict[str, list[str]]:
    """Return what is wrong with asks, each problem once: clause -> rules that it concerns."""
    rules_of = {}
    for ask in asks:
        # of nodes that are reserved SLURM says that there are none
        judged = slurm_offer.problems(ask, offer) or (
            [] if slurm_offer.waits(ask, offer) else [slurm_offer.refused(ask)]
        )
        for problem in filter(None, judged):
            rules_of.setdefault(problem, []).append(ask.rule)
    return {problem: sorted(rules) for problem, rules in rules_of.items()}


def table(first: Mapping[slurm_offer.Ask, int], last: Iterable[slurm_offer.Ask]) -> str:
    """Return what the rules ask for at the first and the last attempt, as text."""
    rows = [("rule", "jobs", "partition", "GPU", "CPUs", "MB", "minutes")]
    at_last = {ask.rule: ask for ask in last}
    for ask, jobs in sorted(first.items(), key=lambda item: item[0].rule):
        more = at_last[ask.rule]
        memory, minutes = (f"{now} to {then}" for now, then in [(ask.memory, more.memory), (ask.minutes, more.minutes)])
        rows.append((ask.rule, jobs, ask.partition, ask.gpus, ask.cpus, memory, minutes))
    return "\n".join(
        f"{rule:<12}{jobs:>5}  {partition:<12}{gpus:>4}{cpus:>6}  {memory:<16}{minutes}"
        for rule, jobs, partition, gpus, cpus, memory, minutes in rows
    )


def main(args: argparse.Namespace) -> None:
    site = args.profile / "site.yaml"
    texts = [path.read_text(encoding="utf-8") for path in Path("rules").glob("*.smk")]
    rules = {name for text in texts for name in re.findall(r"^ *rule (\w+):", text, re.MULTILINE)}
    unknown = [rule for rule in slurm.read_site(site).on_gpu if rule not in rules]
    if unknown:
        raise UserError(*(f"{site}: on_gpu: {rule}: no such rule: rules/ has them" for rule in unknown))
    offer = slurm_offer.offer()
    retries = yaml.safe_load((args.profile / "config.yaml").read_text(encoding="utf-8")).get("retries", 0)
    first, last = (planned(args, attempt) for attempt in (1, 1 + retries))
    print(table(first, last))
    if offer.accounts is None:
        print("SLURM tells of no accounts, so the account is not checked.")
    at_once = problems(first, offer)
    later = {problem: rules for problem, rules in problems(last, offer).items() if problem not in at_once}
    remedy = f"change {site}, or what the rules ask for by set-resources in {site.with_name('config.yaml')}"
    lines = [f"{', '.join(rules)}: would never start: {problem}: {remedy}" for problem, rules in at_once.items()]
    for problem, rules in later.items():
        lines.append(f"{', '.join(rules)}: attempt {1 + retries} would never start: {problem}: {remedy}")
    if lines:
        raise UserError(*lines)
    for ask in first:
        if clause := slurm_offer.waits(ask, offer):
            print(f"{ask.rule}: would wait: {clause}")
    print(f"None would be refused or pend forever: {sum(first.values())} jobs, {1 + retries} attempts each.")


if __name__ == "__main__":
    cli.run(main, arguments())
