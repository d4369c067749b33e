"""What the rules share: the checked config, the wildcards' values, and how settings and code become parts of a rule."""

import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import ExecMode
from snakemake.utils import update_config, validate

# Relative, so that a moved or copied checkout reruns nothing.
ROOT = Path(os.path.relpath(workflow.basedir))
sys.path.insert(0, str(ROOT / "scripts"))
# Rules call the Python that runs Snakemake, also where its environment was not activated.
os.environ.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
# Text, names of files and the words of commands are UTF-8 in every job; Snakemake itself has them as its locale does.
os.environ.update(PYTHONUTF8="1")
if sys.getfilesystemencoding() != "utf-8" and not str(config).isascii():
    raise WorkflowError("config: it has letters that this locale has not: `export PYTHONUTF8=1` and run again")

from stratamil.cohort import folders, manifest
from stratamil.core import files, progress, provenance, schema
from stratamil.core.errors import UserError, few, visible
from stratamil.core.schema import flag
from stratamil.features import encoder_registry
from stratamil.report import summary
from stratamil.workflow import config_checks, config_files, config_paths, config_values, results_folder, slurm

SCHEMA = schema.read()


def stopped(*lines):
    """The error that stops the workflow, one line a problem; what could command a terminal is shown as its code."""
    return WorkflowError("\n".join(map(visible, lines)))


def read_strictly():
    """Put the config together again from its files, for Snakemake's own reading loses sections and changes names.

    The order is Snakemake's: the workflow's own file, those of --configfile, then --config. Returns what is wrong with
    the files, one line a problem.
    """
    given = list(workflow.overwrite_configfiles)
    read, problems = {}, []
    for path in [*workflow.configfiles[len(given) :], *given]:
        near = os.path.relpath(path)
        try:
            update_config(read, config_files.read(path if near.startswith("..") else near, SCHEMA))
        except UserError as error:
            problems += error.problems
    if problems:
        return problems
    update_config(read, workflow.config_settings.config)
    for word in workflow.config_settings.config_args or []:
        key, _, text = word.partition("=")
        if text and SCHEMA["properties"].get(key, {}).get("type") == "string":
            read[key] = text  # a folder named 010
    config.clear()
    config.update(read)


if problems := read_strictly() or config_checks.problems(config, SCHEMA):
    raise stopped(*(f"config: {problem}" for problem in problems))
validate(config, "../schemas/config.schema.yaml")  # fills in defaults
if problems := config_paths.missing_files(config) or config_paths.misplaced(config):
    raise stopped(*(f"config: {problem}" for problem in problems))

config_paths.tidy(config)
MAIN = workflow.exec_mode == ExecMode.DEFAULT  # not Snakemake inside a job, which starts when files are being made
if workflow.exec_mode == ExecMode.REMOTE:
    os.environ.pop(progress.QUIET, None)  # SLURM's log of a job has its errors, too
READ = {"the checkout": ROOT, "the working directory": os.getcwd()} | config_paths.inputs(config)
if MAIN and (problems := results_folder.problems(config["results"], READ) or config_paths.painted_over(config)):
    raise stopped(*(f"config: {problem}" for problem in problems))

SPLITS = config_values.split_names(config)
SHARDS = [f"{i:02d}" for i in range(config["embed"]["shards"])]
SEEDS = config["seeds"]
STAINS = config_values.stains(config)
CLASSES = [name for entry in config["cohort"]["classes"] for name in entry]
# With features made elsewhere there is no encoder to run, and there are no patch images.
PRECOMPUTED = config["features"]["source"] == "precomputed"
# Each encoder by its feature folder, with its settings.
ENCODINGS = config_values.encoders(config)
ENCODERS = ["precomputed"] if PRECOMPUTED else list(ENCODINGS)
# The colour baseline of the report.
OWN = dict.fromkeys(["weights_sha256", "input_size", "resize", "pooling", "final_relu", "only_stains"])
ENCODINGS.setdefault("stain_stats", encoder_registry.filled(config["embed"] | OWN | {"encoder": "stain_stats"}))
# What rule weights fetches, by file name, with the settings of its encoder.
WEIGHTS = {encoder_registry.fetched(each["encoder"], each["weights"]): each for each in ENCODINGS.values()}
WEIGHTS.pop(None, None)
TIMM = any(encoder_registry.needs_timm(each["encoder"]) for each in ENCODINGS.values())
ENCODER_ENV = "../envs/timm.yaml" if TIMM else "../envs/stratamil.yaml"


wildcard_constraints:
    split="|".join(SPLITS),
    shard="|".join(SHARDS),
    seed="|".join(map(str, SEEDS)),
    encoder="|".join(ENCODINGS),
    weights="|".join(map(re.escape, WEIGHTS)) or "none",


def flags(section, *only, **settings):
    """A section of the config as flags, see `schema.flags`; the whole of it, or the settings named."""
    return schema.flags(section, config[section], *only, **settings)


def given(*words):
    """A param from flags: as a function, so that braces in a setting are not taken for wildcards."""
    return lambda wildcards: " ".join(words)


def digest(*paths):
    """What tells the content of the user's own files, as a param: a file put back with an old date counts, too."""
    try:
        return given(*(files.sha256(path)[:16] for path in paths if not config["demo"]))
    except OSError as error:
        raise stopped(f"{error.filename or few(paths)}: cannot be read ({error.strerror}): give read permission")


def code(name):
    """The script of a rule and every library module that it imports; an edit of one reruns the rule."""
    return list(map(str, provenance.closure(ROOT / "scripts" / f"{name}.py", ROOT / "scripts")))


def templates(page):
    """The template of a page and those that it is built on; an edit of one reruns the rule."""
    parts = ("base", "macros", "cohort_parts", "checklists")
    return [str(ROOT / "report" / f"{name}.html.j2") for name in (page, *parts)]


def alias(names):
    """Let targets on the command line have other names: name -> target.

    Snakemake has no such thing, and learns of the targets only after it has read the rules: they are renamed when it
    begins to plan.
    """
    if not hasattr(workflow, "_prepare_dag"):
        return  # another Snakemake than the pinned one: folders are no targets then
    plan = workflow._prepare_dag
    targets = {os.path.relpath(name): target for name, target in names.items()}

    def renamed(*args, **kwargs):
        asked = workflow.dag_settings
        for setting in ("targets", "forcerun", "until", "omit_from"):
            given = getattr(asked, setting)
            setattr(asked, setting, {targets.get(os.path.relpath(target or "."), target) for target in given})
        return plan(*args, **kwargs)

    workflow._prepare_dag = renamed


def attempts(amount):
    """A resource that grows with each attempt: enough for most, and more for a job that was killed."""
    return lambda wildcards, attempt: amount * attempt


def images():
    """The folder of patch images as a flag; nothing where features were made elsewhere."""
    return "" if PRECOMPUTED else flag("patches", config["patches"])


def encoder_weights(wildcards):
    """The weights file of an encoder, if it has one."""
    encoder, weights = (ENCODINGS[wildcards.encoder][key] for key in ("encoder", "weights"))
    if fetched := encoder_registry.fetched(encoder, weights):
        return expand(rules.weights.output[0], weights=fetched)
    return weights if encoder_registry.is_file(weights) and encoder != "stain_stats" else []


def encoder_flags(wildcards):
    """The settings of an encoder; its weights are an input."""
    settings = ENCODINGS[wildcards.encoder]
    stains = [flag("only_stains", settings["only_stains"])] if settings["only_stains"] else []
    return " ".join([flags("embed", **(settings | {"weights": None, "by_stain": None})), *stains])


def figure(name, caption, title):
    """A figure of a run, with its place in Snakemake's report."""
    return report(
        f"<results>/split_{{split}}/seed_{{seed}}/{name}.png",
        caption=f"../report/{caption}.rst",
        category="Test cases",
        labels={"split": "{split}", "seed": "{seed}", "figure": title},
    )


def tell_summary():
    """Say at the end of a run what came out, what to know of it, and where to look."""
    seconds = (datetime.now() - workflow.start_time).total_seconds()
    lines = summary.of_folder(Path(config["results"]), seconds)
    logger.info("\n".join(lines), extra={"summary": True})


def claim_results():
    """Mark and lock the results folder until this run ends, and write the resolved config into it.

    Every number can then be traced to its settings.
    """
    global RUNNING
    path = Path(config["results"]) / "config.yaml"
    try:
        RUNNING = results_folder.claim(config["results"])
        files.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), path)
    except UserError as error:
        raise stopped(*error.problems)
    except OSError as error:
        raise stopped(f"{path}: cannot be written ({error.strerror}): set results to a folder of your own")


def refuse_orphans():
    """Stop where jobs of a run that was killed are still in SLURM's queue: they would write beside those of this run."""
    try:
        left = slurm.orphans(os.getcwd(), config["results"])
    except (OSError, subprocess.SubprocessError) as error:
        print(f"squeue does not answer, so jobs of an earlier run may be in the queue: {error}", file=sys.stderr)
        return
    if left:
        raise stopped(f"{config['results']}: {slurm.ending(left)}")
