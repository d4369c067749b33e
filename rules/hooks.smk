"""What Snakemake does around a run: other names of targets, the lock on the results, where to look afterwards."""

import os
import subprocess
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import yaml
from snakemake.logging import logger

from stratamil.core import files
from stratamil.core.errors import UserError, few, visible
from stratamil.workflow import changed_settings, machine, results_folder, slurm, study_file


def refuse_targets(names):
    """Stop with a remedy where a target needs what this config has not: Snakemake's error names no setting."""
    if PREDICTING and "validate" in names and not config["labels"]:
        raise stopped("config: predict.labels: validate needs the labels table of these cases")
    if not PREDICTING and names & {"predict", "validate"}:
        raise stopped("config: predict.bundle: predict and validate need a bundle, in a file of their own")
    if not COMPARING and "compare" in names:
        raise stopped("config: compare: name the folders of two studies or more, in a file of their own")
    if COMPARING and (others := names - {"compare", "all"}):
        raise stopped(
            f"config: compare: a file that compares studies has the target compare, not {few(sorted(others))}"
        )
    if TOO_SMALL and "tune" in names:
        raise stopped(*TOO_SMALL)
    if PREDICTING and "bundle" in names:
        raise stopped("config: predict.bundle: the target bundle needs the file of the study, without this setting")


def before_planning(names):
    """Refuse to work beside another run, and let targets on the command line have other names: name -> target.

    Snakemake learns of the targets, and of what it shall do, only after it has read the rules: both are done when it
    begins to plan, before it takes its own lock, whose error names no run. A dry run may look at any time.
    """
    if not hasattr(workflow, "_prepare_dag"):
        return  # another Snakemake than the pinned one: folders are no targets then
    plan = workflow._prepare_dag
    targets = {os.path.relpath(name): target for name, target in names.items()}

    def prepared(*args, **kwargs):
        if MAIN and not kwargs.get("lock_warn_only"):
            try:
                results_folder.refuse_second(config["results"])
            except UserError as error:
                raise stopped(*error.problems)
        asked = workflow.dag_settings
        refuse_targets(set(asked.targets))
        for setting in ("targets", "forcerun", "until", "omit_from"):
            given = getattr(asked, setting)
            setattr(asked, setting, {targets.get(os.path.relpath(target or "."), target) for target in given})
        return plan(*args, **kwargs)

    workflow._prepare_dag = prepared


# Who asks for the folder of an analysis means what is in it.
ANALYSES = [f"{config['results']}/split_{split}/{run}/attention_analysis" for split in SPLITS for run in RUNS]
before_planning({folder: f"{folder}/attention_summary.txt" for folder in ANALYSES})


def last_config():
    """The config of the last run of this study or prediction; None where there was none."""
    try:
        return yaml.safe_load(Path(RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None


def target():
    """Return the targets that were asked for, as on the command line: `-- cohort`."""
    names = sorted(workflow.dag_settings.targets)
    return f"`-- {few(names, 2)}`" if names else "a target"


def say_what_is_replaced():
    """Say before a run what becomes of a finished report of other settings, and which settings they are."""
    changes = [] if PREDICTING or COMPARING else changed_settings.of_configs(last_config(), config)
    if not changes or not (Path(config["results"]) / "report/index.html").is_file():
        return
    if any(job.rule.name == "report" for job in workflow.dag.needrun_jobs()):
        fate = "The report of the earlier settings is replaced; to keep both, set another `results`."
    else:
        fate = f"The report is still that of the earlier settings: run without {target()} to renew it."
    print(visible(f"{few(changes, 4)}. {fate}"), file=sys.stderr)


if MAIN:
    changed_settings.FILES.update(changed_settings.of_files(config, last_config()))
    told = [*study_file.unchecked(workflow.overwrite_configfiles), *config_checks.notes(config)]
    for line in [*told, *changed_settings.after_first_look(last_config(), config)]:
        print(visible(line), file=sys.stderr)


def renew_first_page():
    """Write the first page again where a run was asked for some pages only: each of them links to it."""
    from stratamil.report import door  # as below

    first = Path(config["results"], "index.html")
    there = door.outdated([Path(config["results"], name) for name in JSON_OF_PAGES], first)
    if there:
        told = {name: config["report"][name] for name in ("title", "first_look", "colors")}
        door.write(there, first, template=ROOT / "report/door.html.j2", **told)


def tell_summary():
    """Say at the end of a run what came out, what to know of it, and where to look."""
    if COMPARING:
        said = Path(config["results"], "summary.txt").read_text(encoding="utf-8").strip()
        tell(f"{visible(said)}\nOpen:\n  {config['results']}/index.html")
        return
    if PREDICTING:
        with suppress(UserError, OSError):  # what was asked for are not the predictions
            tell("\n".join(of_new_cases()))
        return
    if set(workflow.dag_settings.targets) == {"bundle"}:
        tell("\n".join(of_bundle()))
        return
    from stratamil.report import summary  # scipy comes with it, which a dry run need not wait for

    with suppress(UserError, OSError):  # the numbers of another version: the page of this run is the result
        renew_first_page()
    whole = study_file.whole_study(workflow.overwrite_configfiles, sys.argv)
    seconds = (datetime.now() - workflow.start_time).total_seconds()
    lines = summary.of_folder(Path(config["results"]), seconds, target(), whole, STAINS)
    if "bundle" in workflow.dag_settings.targets:
        lines += of_bundle()
    tell("\n".join(lines))


def tell(text):
    """Show a text on the terminal as the summary of a run."""
    logger.info(text, extra={"summary": True})


def of_bundle():
    """Return the lines on the bundle, and the command that predicts new cases with it."""
    from stratamil.deploy import bundle
    from stratamil.report import new_case_summary  # as above

    path = BUNDLE.replace("<results>", config["results"])
    predict = study_file.command([new_case_summary.NEW_CASES], sys.argv, "predict")
    return new_case_summary.of_bundle(Path(path), bundle.facts(path), predict)


def of_new_cases():
    """Return the lines on the predicted cases, with the command that validates them where there are labels."""
    from stratamil.deploy import bundle
    from stratamil.report import new_case_summary  # as above

    validate = study_file.command(workflow.overwrite_configfiles, sys.argv, "validate") if config["labels"] else ""
    return new_case_summary.of_predictions(Path(PREDICTED), bundle.facts(config["predict"]["bundle"]), validate)


def claim_results():
    """Mark and lock the results folder until this run ends, and write the resolved config into it.

    Every number can then be traced to its settings.
    """
    global RUNNING
    path = Path(RECORD)
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
        print(
            f"squeue does not answer, so jobs of an earlier run may be in the queue: {machine.reason(error)}",
            file=sys.stderr,
        )
        return
    if left:
        raise stopped(f"{config['results']}: {slurm.ending(left)}")
