"""The commands of the rules: whatever a path is named, a shell takes it for a name."""

import re
import shlex

import pytest
from repository import REPOSITORY

from stratamil.core import schema
from stratamil.workflow import run_lines

RULES = sorted((REPOSITORY / "rules").glob("*.smk"))
# Parameters that are flags, made by flag() or flags(), which quote each word.
FLAGS = {
    "flags",
    "images",
    "names",
    "truth",
    "patches",
    "tested",
    "samples",
    "labels",
    "identity",
    "source",
    "weights",
    "foreign",
    "refitted",
    "chosen",
    "same_tissue",
    "top",
    "thumbnails",
    "browser",
}
# No paths: numbers, or names that the schema or the wildcards' constraints allow.
PLAIN = {"threads", "wildcards.split", "wildcards.seed", "wildcards.variant", "params.seeds", "wildcards.shard"}


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_every_path_in_a_command_is_quoted(path):
    for rule in re.split(r"^ *rule ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        if "shell:" not in rule:  # it only names files of others
            continue
        params, command = (rule.partition("params:")[2] or rule).split("shell:")
        bare = {field for field in re.findall(r"\{([^{}]+)\}", command) if not field.endswith(":q")} - PLAIN
        assert bare <= {f"params.{name}" for name in FLAGS}
        for name in (field.removeprefix("params.") for field in bare):
            made = re.search(rf"^ +{name}=(.*?)(?=^ +\w+=|\Z)", params, re.MULTILINE | re.DOTALL)[1]
            assert re.match(r"given\(|lambda .*\bflags?\(|encoder_flags|variant_flags|chosen_flags|\"--", made), made


def test_rules_without_files_of_their_own_are_those_that_a_run_does_not_count():
    texts = [path.read_text(encoding="utf-8") for path in [*RULES, REPOSITORY / "Snakefile"]]
    rules = [rule for text in texts for rule in re.split(r"^ *rule (?=\w+:)", text, flags=re.MULTILINE)[1:]]
    assert {rule.partition(":")[0] for rule in rules if "    output:" not in rule} == run_lines.TARGETS


def test_what_may_refuse_the_cohort_runs_before_the_hours_of_embed():
    """A job that fails leaves others running: only a file of preset splits holds these back."""
    texts = {path.stem: path.read_text("utf-8") for path in RULES}
    priority = {name: re.findall(r"^    priority: (\d+)", text, re.MULTILINE) for name, text in texts.items()}
    assert priority["splits"] > priority["embed"]
    assert all("splits=SPLITS_FIRST" in texts[name] for name in ("embed", "precomputed"))


def test_no_training_begins_before_the_splits_are_known_to_leak_nothing():
    """Refit, which trains on all cases, tests none."""
    texts = {path.stem: path.read_text("utf-8") for path in RULES}
    trainers = {name for name, text in texts.items() if "features=expand" in text and "{input.split" in text}
    assert trainers >= {"train", "retrain", "tune", "baselines"}
    reading = {"bundle", "evaluate", "perturb", "attention", "cohort"}  # of models that are there, or none
    assert {name for name in trainers if "checked=CHECKED" not in texts[name]} <= reading


def test_flags_quote_their_words():
    """As the shell reads them: one word a value, whatever it holds."""
    for value in ["a b", "$(touch PWNED)", "a'b;c", '"', "-x", "*"]:
        assert shlex.split(schema.flag("key", value)) == [f"--key={value}"]
        assert shlex.split(schema.flag("key", [value, value])) == ["--key", value, value]
