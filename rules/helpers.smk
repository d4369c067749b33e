"""How settings, code and files become parts of a rule: functions that the rules call."""

from stratamil.core import files, provenance, schema
from stratamil.core.errors import few
from stratamil.core.schema import flag
from stratamil.features import encoder_registry
from stratamil.workflow import changed_settings


def flags(section, *only, **settings):
    """A section of the config as flags, see `schema.flags`; the whole of it, or the settings named."""
    values = config
    for part in section.split("."):
        values = values[part]
    return schema.flags(section, values, *only, **settings)


def given(*words):
    """A param from flags: as a function, so that braces in a setting are not taken for wildcards."""
    return lambda wildcards: " ".join(words)


def digest(setting, *paths):
    """The user's own files that a setting names, as a param: a file put back with an old date counts, too."""
    paths = [path for path in paths if path and not config["demo"]]
    try:
        return given(changed_settings.content(setting, paths, [files.sha256(path)[:16] for path in paths]))
    except OSError as error:
        raise stopped(f"{error.filename or few(paths)}: cannot be read ({error.strerror}): give read permission")


def code(name):
    """The script of a rule and every library module that it imports; an edit of one reruns the rule."""
    return list(map(str, provenance.closure(ROOT / "scripts" / f"{name}.py", ROOT / "scripts")))


def templates(page):
    """The template of a page and those that it is built on; an edit of one reruns the rule."""
    found, parts = [], [f"{page}.html.j2"]
    while parts:
        found.append(ROOT / "report" / parts.pop())
        named = re.findall(r"[\w/]+\.html\.j2", found[-1].read_text(encoding="utf-8"))
        parts += [name for name in dict.fromkeys(named) if ROOT / "report" / name not in found and name not in parts]
    return list(map(str, found))


# Which patches of a case count as its top, where the browser shows these alone.
TOP = flags("attention", "top_percent") if config["browser"]["patches"] == "top" else ""


def page_files(name):
    """The files of a page that is no template, its index.html first; an edit of one reruns the rule."""
    paths = [path for path in (ROOT / "report" / name).rglob("*") if path.is_file()]
    return list(map(str, sorted(paths, key=lambda path: (path.name != "index.html", path))))


def attempts(amount):
    """A resource that grows with each attempt: enough for most, and more for a job that was killed."""
    return lambda wildcards, attempt: amount * attempt


def images():
    """The folder of patch images as a flag; nothing with precomputed features."""
    return "" if PRECOMPUTED else flag("patches", config["patches"])


def inventoried():
    """What the inventory is taken from, as flags."""
    if PRECOMPUTED:
        return " ".join([flag("manifest", MANIFEST), flag("folder", FEATURES_FOLDER), flags("features", "encoder")])
    return f"{images()} {flag('watched', WATCHED)}"


def needs_gpu(wildcards):
    """How many GPUs an encoder is given: stain_stats is no network and needs none."""
    return int(ENCODINGS[wildcards.encoder]["encoder"] != encoder_registry.STAIN_STATS)


def encoder_weights(wildcards):
    """The weights file of an encoder, if it has one."""
    encoder, weights = (ENCODINGS[wildcards.encoder][key] for key in ("encoder", "weights"))
    if fetched := encoder_registry.fetched(encoder, weights):
        # its name says what is in it: to fetch it again is no reason to encode again
        return ancient(expand(rules.weights.output[0], weights=fetched))
    return weights if encoder_registry.is_file(weights) and encoder != encoder_registry.STAIN_STATS else []


def encoder_flags(wildcards):
    """The settings of an encoder, whose weights are an input, and of what is excluded."""
    settings = ENCODINGS[wildcards.encoder]
    stains = [flag("only_stains", settings["only_stains"])] if settings["only_stains"] else []
    colours = settings["normalise"]
    words = [colours] if isinstance(colours, str) else [f"{stain}={method}" for stain, method in colours.items()]
    own = [] if colours == "none" else [flag("normalise", words)]
    ink = config["cohort"]["quality"]["pen"]  # warn and keep differ on the cohort page alone
    return " ".join(
        [
            flags("embed", **(settings | dict.fromkeys(("weights", "by_stain", "normalise")))),
            *own,
            *stains,
            flags("cohort.quality", pen="exclude" if ink == "exclude" else None),
        ]
    )


def variant_flags(wildcards):
    """How a variant of the model is trained; of settings that it does not use there is no flag."""
    variant = VARIANTS[wildcards.variant]
    model, share = flags("model", **variant["model"]), [flag(*item) for item in variant["share"].items()]
    return " ".join([flag("classes", CLASSES), flag("stains", STAINS), model, flags("train", tensorboard=None), *share])


def chosen_for_variant(wildcards):
    """What a split chose, of which a variant changes one thing; the variant of the study's own settings has nothing."""
    own = wildcards.variant == "default"
    return [] if own or not TUNED else f"{config['results']}/tuning/split_{wildcards.split}/chosen.yaml"


def chosen_flags(wildcards, input):
    """What a split chose, as flags of a variant, which keeps the settings that make it one."""
    own = list(VARIANTS[wildcards.variant]["model"])
    return " ".join([flag("chosen", input.chosen), flag("keep", own)]) if input.chosen else ""


def of_seeds(name):
    """A file of each seed of a split."""
    return expand("<results>/split_{{split}}/seed_{seed}/{name}", seed=SEEDS, name=name)


def seeds_of_outputs(wildcards, output):
    """The seeds. As they come with the outputs, Snakemake does not note them: one seed less is no reason to run."""
    return SEEDS


def of_runs(name):
    """A file of each seed of a split, and of their ensemble."""
    return expand("<results>/split_{{split}}/{run}/{name}", run=RUNS, name=name)


def figures(name, caption, title, category="Test cases", runs=RUNS):
    """A figure of each run of a split, with its place in Snakemake's report: output name -> file."""
    return {
        f"{Path(name).name}_{run}": report(
            f"<results>/split_{{split}}/{run}/{name}.png",
            caption=f"../report/{caption}.rst",
            category=category,
            labels={"split": "{split}", "run": called, "figure": title},
        )
        for run, called in runs.items()
    }
