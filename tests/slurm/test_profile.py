"""What the SLURM profile asks for each rule; no cluster is needed to plan."""

import re

from checkout import Checkout


def test_resources_of_each_rule(tmp_path):
    done = Checkout(tmp_path).snakemake("-n", "--profile", "profiles/slurm")
    assert done.returncode == 0, done.stderr
    asked = re.findall(r"^(?:local)?rule (\w+):.*?^ +resources: (.*?)$", done.stdout, re.MULTILINE | re.DOTALL)
    assert asked
    for rule, resources in asked:
        if rule == "all":
            continue
        found = dict(item.split("=") for item in resources.split(", "))
        on_gpu = rule in ("embed", "train")
        assert found["slurm_partition"] == ("gengpu" if on_gpu else "short"), rule
        assert found.get("gpu") == ("1" if on_gpu else None), rule
        assert found["nodes"] == "1"
        assert int(found["mem_mb"]) >= 2000
        assert int(found["runtime"]) >= 10
