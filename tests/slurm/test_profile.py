"""What the SLURM profile asks for each rule, as the site file says; no cluster is needed to plan."""

import re

import pytest
import yaml
import yte
from checkout import Checkout
from repository import REPOSITORY

PROFILE = REPOSITORY / "profiles/slurm/config.yaml"
ON_LOGIN_NODE = {"all", "inventory", "splits", "index"}
NETWORK = {"embed": {"encoder": "efficientnet_lite0", "weights": "none"}}


def plan(folder, *args, changes=NETWORK, **site):
    """A dry run with changes of config and site file: rule -> resource -> what is asked, as text."""
    checkout = Checkout(folder)
    path = folder / "profiles/slurm/site.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | site))
    done = checkout.snakemake("-n", "-p", "--profile", "profiles/slurm", *args, changes=changes)
    assert done.returncode == 0, done.stderr
    asked = re.findall(r"^rule (\w+):.*?^ +resources: (.*?)$", done.stdout, re.MULTILINE | re.DOTALL)
    return {
        rule: dict(item.split("=", 1) for item in text.split(", ")) for rule, text in asked if rule not in ON_LOGIN_NODE
    }


def test_resources_of_each_rule(tmp_path):
    asked = plan(tmp_path)
    assert {"embed", "train", "evaluate", "attention", "report", "cohort", "baselines"} <= asked.keys()
    for rule, found in asked.items():
        on_gpu = rule in ("embed", "train", "retrain")
        assert found["slurm_partition"] == ("gengpu" if on_gpu else "short"), rule
        assert found.get("gpu") == ("1" if on_gpu else None), rule
        assert (found["slurm_account"], found["nodes"]) == ("my_account", "1")
        assert {"constraint", "qos", "gpu_model", "slurm_extra"}.isdisjoint(found)
        assert int(found["mem_mb"]) >= 2000
        assert int(found["runtime"]) >= 10


def test_memory_and_time_grow_with_each_attempt(tmp_path):
    first, third = plan(tmp_path), plan(tmp_path, "--attempt", "3")
    for rule in first:
        for resource in ("mem_mb", "runtime"):
            assert int(third[rule][resource]) == 3 * int(first[rule][resource]), rule


def test_one_line_moves_rules_to_the_gpus_and_the_site_says_which(tmp_path):
    gpu = {"partition": "gpus", "model": "a100", "constraint": "sxm", "qos": "high"}
    cpu = {"partition": "cpus", "constraint": "new|newer", "qos": "low"}
    asked = plan(tmp_path, account="a-1", on_gpu=["train", "evaluate"], gpu=gpu, cpu=cpu, mail="someone@example.org")
    for rule, found in asked.items():
        on_gpu = rule in ("train", "evaluate")
        place = gpu if on_gpu else cpu
        assert found["slurm_partition"] == place["partition"], rule
        assert (found["constraint"], found["qos"]) == (place["constraint"], place["qos"])
        assert found.get("gpu", "0") == ("1" if on_gpu else "0") and found.get("gpu_model") == (
            "a100" if on_gpu else None
        )
        assert found["slurm_account"] == "a-1"
        assert found["slurm_extra"] == "--mail-type=FAIL --mail-user=someone@example.org"


def test_stain_stats_asks_for_no_gpu_whatever_the_site_says(tmp_path):
    gpu = {"partition": "gpus", "model": "a100", "constraint": "sxm", "qos": "high"}
    cpu = {"partition": "cpus", "constraint": "new", "qos": "low"}
    stains = {"embed": NETWORK["embed"] | {"by_stain": {"sox10": {"encoder": "stain_stats"}}}}
    only, named = ("--until", "embed", "--"), ("slurm_partition", "gpu", "constraint", "qos")
    for changes, target in (({}, "stain_stats"), (stains, "stain_stats_sox10")):
        file = f"results/tiny/features/{target}/shard_00.h5"
        asked = plan(tmp_path, *only, file, changes=changes, gpu=gpu, cpu=cpu)["embed"]
        assert (asked["slurm_partition"], asked["gpu"], asked["constraint"], asked["qos"]) == (
            "cpus",
            "0",
            "new",
            "low",
        )
        assert not asked["gpu_model"]
    file = "results/tiny/features/efficientnet_lite0/shard_00.h5"
    asked = plan(tmp_path, *only, file, changes=stains, gpu=gpu, cpu=cpu)["embed"]
    assert [asked[name] for name in (*named, "gpu_model")] == ["gpus", "1", "sxm", "high", "a100"]
    checkout = Checkout(tmp_path)
    for changes, gpus in (({}, "gpu=0"), (NETWORK, "gpu=1")):
        done = checkout.snakemake("-n", "--until", "embed", changes=changes)
        assert done.stdout.count(gpus) == 2, done.stdout


def test_no_account_and_a_constraint_of_cpu_nodes_only(tmp_path):
    asked = plan(tmp_path, account=None, cpu={"partition": "cpus", "constraint": "new"})
    assert all("slurm_account" not in found for found in asked.values())
    assert (asked["report"]["constraint"], asked["train"]["constraint"]) == ("new", "")


def test_a_wrong_site_file_stops_with_one_line(tmp_path):
    checkout = Checkout(tmp_path)
    (tmp_path / "profiles/slurm/site.yaml").write_text("{account: a, cpu: {partition: short}, gpu: {partiton: g}}")
    done = checkout.snakemake("-n", "--profile", "profiles/slurm")
    assert done.returncode != 0
    assert "site.yaml: gpu: name its partition" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("path", [PROFILE, PROFILE.with_name("site.yaml")], ids=lambda path: path.name)
def test_every_key_is_explained(path):
    """Each key of the first level has words after it or above it."""
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    for above, line in zip(["", *lines], lines):
        if re.match(r"[a-z-]+:", line) and not line.startswith("__"):
            assert "#" in line or above.startswith("#"), line


def test_the_number_of_gpus_is_a_number(monkeypatch):
    """A job that asks for the text "1" ends before it begins; a dry run shows both as 1."""
    monkeypatch.chdir(REPOSITORY)
    profile = yte.process_yaml(PROFILE.read_text(encoding="utf-8"), require_use_yte=True)
    assert profile["set-resources"]["train"]["gpu"] == 1
