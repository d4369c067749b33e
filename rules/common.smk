"""What the rules share: the checked config, the wildcards' values, and what follows from both."""

import json
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import ExecMode
from snakemake.utils import update_config, validate

# Relative, so that a moved or copied checkout reruns nothing.
ROOT = Path(os.path.relpath(Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent))
sys.path.insert(0, str(ROOT / "scripts"))
# Rules call the Python that runs Snakemake, also where its environment was not activated.
os.environ.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
# Text, names of files and the words of commands are UTF-8 in every job; Snakemake itself has them as its locale does.
os.environ.update(PYTHONUTF8="1")
if sys.getfilesystemencoding() != "utf-8" and not str(config).isascii():
    raise WorkflowError("config: it has letters that this locale has not: `export PYTHONUTF8=1` and run again")

from stratamil.cohort import folders, labels, manifest
from stratamil.core import progress, schema
from stratamil.core.errors import UserError, visible
from stratamil.core.names import column, file_name
from stratamil.features import encoder_registry
from stratamil.workflow import config_checks, config_files, config_paths, config_values, predicting, results_folder
from stratamil.workflow import tune_checks

SCHEMA = schema.read()
OWN = {}  # what the user's files set, without defaults


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
            content = config_files.read(path if near.startswith("..") else near, SCHEMA)
            update_config(read, content)
            if path in given:
                update_config(OWN, content)
        except UserError as error:
            problems += error.problems
    if problems:
        return problems
    update_config(read, workflow.config_settings.config)
    update_config(OWN, workflow.config_settings.config)
    config_values.take_space(read, OWN)
    for word in workflow.config_settings.config_args or []:
        key, _, text = word.partition("=")
        if text and SCHEMA["properties"].get(key, {}).get("type") == "string":
            read[key] = text  # a folder named 010
    config.clear()
    config.update(read)


if problems := read_strictly() or config_checks.problems(config, SCHEMA):
    raise stopped(*(f"config: {problem}" for problem in problems))
validate(config, "../schemas/config.schema.yaml")  # fills in defaults
# New cases are predicted from a bundle alone: what the model is made of comes from there.
PREDICTING = bool(config["predict"]["bundle"])
# Studies are compared as they are: no setting of a study counts. An empty list beside nothing of a study lacks them.
COMPARING = bool(config["compare"]) or (
    "compare" in OWN and OWN.keys() <= {"compare", "results", "report", "attention"}
)
if COMPARING:
    from stratamil.workflow import comparing  # scipy comes with it, which other dry runs need not wait for

    if problems := comparing.problems(config, OWN):
        raise stopped(*(f"config: {problem}" for problem in problems))
    COMPARED = comparing.take_over(config, OWN)
elif PREDICTING:
    if problems := predicting.problems(OWN):
        raise stopped(*(f"config: {problem}" for problem in problems))
    try:
        MODEL = predicting.take_over(config, OWN)
    except UserError as error:
        raise stopped(*(f"config: {problem}" for problem in error.problems))
if problems := config_paths.missing_files(config) or config_paths.misplaced(config):
    raise stopped(*(f"config: {problem}" for problem in problems))

config_paths.tidy(config)
MAIN = workflow.exec_mode == ExecMode.DEFAULT  # not Snakemake inside a job, which starts when files are being made
if workflow.exec_mode == ExecMode.REMOTE:
    os.environ.pop(progress.QUIET, None)  # SLURM's log of a job has its errors, too
READ = {"the checkout": ROOT, "the working directory": os.getcwd()}
READ |= COMPARED if COMPARING else config_paths.inputs(config)
if MAIN and (problems := config_paths.missing_columns(config)):
    raise stopped(*(f"config: {problem}" for problem in problems))
if MAIN and (problems := results_folder.problems(config["results"], READ) or config_paths.painted_over(config)):
    raise stopped(*(f"config: {problem}" for problem in problems))

# Values of the wildcards, and names in the order of the model.
SPLITS = config_values.split_names(config)
SHARDS = [f"{i:02d}" for i in range(config["embed"]["shards"])]
SEEDS = config["seeds"]
# Folders of a split: name -> what it is called. Several seeds have an ensemble.
RUNS = {f"seed_{seed}": f"seed {seed}" for seed in SEEDS}
RUNS |= {"ensemble": f"ensemble of {len(SEEDS)} seeds"} if len(SEEDS) > 1 else {}
# Those whose test cases are drawn.
DRAWN = RUNS if config["evaluate"]["runs"] == "all" or len(SEEDS) == 1 else {"ensemble": RUNS["ensemble"]}
STAINS = config_values.stains(config)
CLASSES = [name for entry in config["cohort"]["classes"] for name in entry]
PRESET = config["splits"]["preset"]
# With precomputed features there is no encoder to run, and there are no patch images.
PRECOMPUTED = config["features"]["source"] == "precomputed"
# Each encoder by its feature folder, with its settings.
ENCODINGS = predicting.encoders(MODEL, config) if PREDICTING else config_values.encoders(config)
ENCODERS = ["precomputed"] if PRECOMPUTED else list(ENCODINGS)
# Whether the settings of each split's models are chosen on its training and validation cases.
TUNED = config["tune"]["enabled"]
# How the model is trained again for comparison, by name.
VARIANTS = config_values.variants(config)
# What rule weights fetches, by file name, with the settings of its encoder.
WEIGHTS = {encoder_registry.fetched(each["encoder"], each["weights"]): each for each in ENCODINGS.values()}
WEIGHTS.pop(None, None)
OWN_WEIGHTS = [each["weights"] for each in ENCODINGS.values() if encoder_registry.is_file(each["weights"])]
TIMM = any(encoder_registry.needs_timm(each["encoder"]) for each in ENCODINGS.values())
ENCODER_ENV = "../envs/timm.yaml" if TIMM else "../envs/stratamil.yaml"

# What the inventory is taken from. Of patches it remembers in a file what the next dry run looks at.
MANIFEST = config["features"]["manifest"]
FEATURES_FOLDER = config["features"]["folder"] or str(Path(MANIFEST or ".").parent)
PREDICTED = f"{config['results']}/predict/{config['predict']['name']}"
WATCHED = f"{PREDICTED if PREDICTING else config['results']}/inventory/watched.json"
# Every number can be traced to the settings of its run.
RECORD = f"{PREDICTED if PREDICTING else config['results']}/config.yaml"
# A stray file among the patches; the folder is not declared, because Snakemake would delete it with all that is in it.
PAINTED_LAST = f"{config['patches']}/Thumbs.db"

# The model of each seed of a split, or those that the config gives: one a seed, or one for all.
MODEL_OF_RUN = "<results>/split_{split}/seed_{seed}/checkpoints/best.pth"
CHECKPOINTS = expand(MODEL_OF_RUN, seed=SEEDS, allow_missing=True)
# The case browser, of a study or of new cases: its page, if it is made. Its cases are as the last of a split's runs has
# them: the ensemble, or the only run.
BROWSER = f"{PREDICTED if PREDICTING else '<results>'}/browser/index.html" if config["browser"]["enabled"] else None
LAST = list(RUNS)[-1]
LAST_ATTENTION = expand("<results>/split_{split}/{run}/patch_attention.parquet", split=SPLITS, run=LAST)
# The numbers beside each page of a study, of which the first page is made, and the flag by which a page links to it.
JSON_OF_PAGES = ["report/metrics.json", "faithfulness/faithfulness.json", "cohort/cohort.json"]
JSON_OF_PAGES += ["browser/browser.json"] if BROWSER else []
FIRST_PAGE = schema.flag("first_page", f"{config['results']}/index.html")
# All models in one file, named by the title.
BUNDLE = f"<results>/model/{file_name(column(config['report']['title']))}.zip"

# The same tissue in several cases. No training begins before `leaks` has looked whether a split parts it; what that
# says is nothing that a model depends on.
SAME_TISSUE = "<results>/duplicates/patches.csv"
CHECKED = ancient("<results>/duplicates/leaks.csv")
MERGED = config["cohort"]["duplicates"] == "merge"
# A cohort whose preset splits are refused is not encoded; what the splits are is nothing that features depend on.
SPLITS_FIRST = ancient(f"<results>/splits/data_splits_{SPLITS[0]}.npz") if PRESET else []

# Columns of the labels table that the report reads; that of sites is one.
config_values.show_sites(config)
COLUMNS = [*config["report"]["columns"], *config["report"]["clinical"]]

# Outputs that only some studies have, and those that several rules name.
IDENTITY = {"identity": "<results>/inventory/features.json"} if PRECOMPUTED else {}
SAMPLES = {} if PRECOMPUTED else {"samples": "<results>/cohort/samples.jpg"}
PERTURBED = ("perturbation.csv", "perturbation_curves.csv", "perturbation_parts.csv")
FIGURES = [
    *("roc", "runs", "baselines", "subgroups", "precision_recall", "confusion", "deviation", "stains", "flow"),
    *(["calibration_1"] if len(CLASSES) == 2 else [f"calibration_{i}" for i in range(len(CLASSES))]),
    *(["confusion_threshold", "decision"] if len(CLASSES) == 2 else []),
    *(["groups"] if config["report"]["columns"] else []),
    *(["learning"] if any(name.startswith("train_") for name in VARIANTS) else []),
    "losses",
]


def source():
    """What the inventory is taken from: its paths, and a text that changes when they do.

    A job does not look again: the run that started it has, and on a cluster a hundred jobs would ask the file system
    for the same times at once. Only the rule that runs reads its params, and the inventory runs where Snakemake does.
    """
    if not MAIN or COMPARING:
        return [], ""
    if config["demo"]:
        return [PAINTED_LAST], ""
    try:
        if PRECOMPUTED:
            paths, state = [MANIFEST], manifest.state(MANIFEST, FEATURES_FOLDER)
        else:
            paths, state = folders.look(config["patches"], WATCHED)
    except UserError as error:
        raise stopped(*error.problems)
    if braced := [path for path in paths if {"{", "}"} & set(path)]:
        raise stopped(f"{braced[0]}: Snakemake takes braces in paths for wildcards: rename it")
    # Snakemake prints paths as they are: a folder whose name could command a terminal is known by the state alone.
    return [path for path in paths if path.isprintable()], state


SOURCE, STATE = source()


def check_labels():
    """Stop a dry run, too, where the labels table lacks a column or has a code that the config does not know.

    Returns what keeps settings from being chosen, a line a class that is too small.
    """
    try:
        table = labels.read(config["labels"], **labels.settings(config["cohort"]))
    except UserError as error:
        raise stopped(*error.problems)
    splits = config["splits"]
    n_splits = None if splits["preset"] else splits["n_splits"]
    found = tune_checks.too_small(table, config["tune"]["inner"], n_splits, splits["by"])
    return [f"config: {line}" for line in found]


TOO_SMALL = check_labels() if MAIN and not config["demo"] and config["labels"] else []
if TUNED and TOO_SMALL:
    raise stopped(*TOO_SMALL)


wildcard_constraints:
    split="|".join(SPLITS),
    shard="|".join(SHARDS),
    seed="|".join(map(str, SEEDS)),
    encoder="|".join(ENCODINGS),
    variant="|".join(VARIANTS) or "none",
    weights="|".join(map(re.escape, WEIGHTS)) or "none",
