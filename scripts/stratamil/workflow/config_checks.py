"""What is wrong with a configuration, in lines that a user can act on."""

import os.path
from collections.abc import Iterator
from pathlib import Path

from stratamil.core.errors import UserError
from stratamil.core.names import Grammar, class_code, column, file_name, spelling
from stratamil.core.schema import defaults
from stratamil.features import encoder_registry
from stratamil.workflow import results_folder, schema_errors

# Settings that are paths, by section; `results` must not begin with a dash.
PATHS = {
    "": ["patches", "labels"],
    "splits": ["preset"],
    "features": ["manifest", "folder"],
    "evaluate": ["checkpoint"],
    "attention": ["truth"],
    "embed": ["weights"],
}


def problems(config, schema):
    """One line a problem, `train.epoch: no such setting: did you mean epochs?`; an empty list if all is well.

    config: nested dicts of a configuration. schema: JSON schema (draft 2020-12) with `additionalProperties: false`.
    """
    return schema_errors.lines(config, schema) or [
        *_cohort(config.get("cohort", {})),
        *_names(config.get("names", {})),
        *_features(config),
        *_embed(config, schema),
        *_by_class(config, schema),
        *_splits(schema, config.get("splits", {})),
    ]


def split_names(config):
    """The names of all splits of all repeats, in order: 01, 02, ..."""
    return [f"{number:02d}" for number in range(1, config["splits"]["n_splits"] * config["splits"]["n_repeats"] + 1)]


def stains(config):
    """The stains of the model, in order."""
    return [name for entry in config["names"]["stains"] for name in entry]


def encoders(config, schema):
    """The encoders of the study: feature folder -> settings as in `embed`, with `only_stains`, a list or None for all.

    Null is filled in with the encoder's own default. A stain in embed.by_stain is encoded by its own encoder: what it
    leaves out is the schema's default, not what `embed` says. Its folder is `{encoder}_{stain}`; that of all other
    stains is the encoder's name.
    """
    embed, own = config["embed"], config["embed"]["by_stain"] or {}
    rest = [stain for stain in stains(config) if stain not in own]
    found = {}
    if rest:
        # The colour baseline has stain_stats of all stains in the folder of that name.
        others = "_others" if own and embed["encoder"] == encoder_registry.STAIN_STATS else ""
        main = embed | {"only_stains": rest if own else None}
        found[encoder_registry.folder(embed["encoder"]) + others] = encoder_registry.filled(main)
    shared = {key: embed[key] for key in ("batch_size", "shards", "max_unreadable")}
    for stain in stains(config):
        if stain in own:
            settings = _defaults(schema, "embed") | shared | own[stain] | {"only_stains": [stain]}
            found[f"{encoder_registry.folder(settings['encoder'])}_{file_name(column(stain))}"] = (
                encoder_registry.filled(settings)
            )
    return found


def missing_files(config):
    """One line for each file or folder that the config names and that is not there."""
    splits = split_names(config)
    preset, checkpoint = config["splits"]["preset"], config["evaluate"]["checkpoint"]
    truth, features = config["attention"]["truth"], config["features"]
    precomputed = features["source"] == "precomputed"
    named = [("splits.preset", preset.replace("{split}", split)) for split in splits if preset]
    if checkpoint:
        runs = [(split, str(seed)) for split in splits for seed in config["seeds"]]
        paths = {checkpoint.replace("{split}", split).replace("{seed}", seed) for split, seed in runs}
        named += [("evaluate.checkpoint", path) for path in sorted(paths)]
    if precomputed:
        named.append(("features.manifest", features["manifest"]))
    else:
        named += [(key, path) for key, path in _weights(config["embed"]) if encoder_registry.is_file(path)]
    if truth and not config["demo"]:
        named.append(("attention.truth", truth))
    lines = [f"{key}: {path}: no such file" for key, path in named if not os.path.isfile(path)]
    if not config["demo"]:
        hint = "set it in your --configfile, or try --configfile config/demo.yaml"
        if precomputed and features["folder"] and not os.path.isdir(features["folder"]):
            lines.append(f"features.folder: {features['folder']}: no such folder")
        if not precomputed and not os.path.isdir(config["patches"]):
            lines.append(f"patches: {config['patches']}: no such folder: {hint}")
        if not os.path.isfile(config["labels"]):
            lines.append(f"labels: {config['labels']}: no such file: {hint}")
    return lines


def inputs(config: dict) -> dict[str, str]:
    """Return what the user's study is read from: setting -> path, of those that are set."""
    features = config["features"]
    named = {"patches": config["patches"], "labels": config["labels"], "attention.truth": config["attention"]["truth"]}
    if features["source"] == "precomputed":
        named |= {"patches": None, "features.manifest": features["manifest"], "features.folder": features["folder"]}
    return {setting: path for setting, path in named.items() if path}


def tidy(config: dict) -> None:
    """Write paths as Snakemake compares them, `results` for `./results/`, in place; none begins with a dash.

    A program would take `-data` for a flag, so it becomes the whole path.
    """
    for key in ("patches", "labels", "results"):
        config[key] = config[key].rstrip("/").removeprefix("./") or config[key]
    for section, keys in PATHS.items():
        values = config[section] if section else config
        for key in keys:
            if (values[key] or "").startswith("-"):
                values[key] = os.path.abspath(values[key])
    for own in (config["embed"]["by_stain"] or {}).values():
        if own.get("weights", "").startswith("-"):
            own["weights"] = os.path.abspath(own["weights"])


def misplaced(config):
    """One line for each path that the workflow cannot work with, and for what would be written over or into data."""
    paths = {key: config[key] for key in ("patches", "labels", "results")}
    paths |= {
        "attention.truth": config["attention"]["truth"] or "",
        "features.manifest": config["features"]["manifest"] or "",
    }
    paths |= {key: path for key, path in _weights(config["embed"]) if encoder_registry.is_file(path)}
    lines = [
        f"{key}: {path}: Snakemake takes braces in paths for wildcards: rename it"
        for key, path in paths.items()
        if {"{", "}"} & set(path)
    ]
    if os.path.normpath(config["results"]).startswith("-"):
        lines.append(f"results: {config['results']}: begins with a dash: rename it")
    if not config["demo"] and config["features"]["source"] == "patches":
        results, patches = (Path(os.path.realpath(config[key])) for key in ("results", "patches"))
        if results.is_relative_to(patches):
            lines.append(f"results: {config['results']} lies in the patches folder {config['patches']}: set another")
    return lines + _misplaced_demo(config)


def painted_over(config: dict) -> list[str]:
    """Return a line for each file of somebody else that the demo would paint over."""
    if not config["demo"]:
        return []
    return results_folder.painted_over(
        config["patches"], {"labels": config["labels"], "attention.truth": config["attention"]["truth"]}
    )


def _misplaced_demo(config):
    """Lines where the demo would paint over files that are not its own: it may write below resources/ only."""
    if not config["demo"]:
        return []
    paths = {"patches": config["patches"], "labels": config["labels"], "attention.truth": config["attention"]["truth"]}
    return [
        f"{key}: {path}: the demo paints below resources/ only: set demo: null to read your own data"
        for key, path in paths.items()
        if not path or Path(path).parts[0] != "resources" or ".." in Path(path).parts
    ]


def _cohort(cohort):
    """Classes that cannot be told apart, by their names or by their codes."""
    classes = [(name, codes) for entry in cohort.get("classes", []) for name, codes in entry.items()]
    yield from (
        f"cohort.classes: {name!r} has no code: list those of its cases" for name, codes in classes if not codes
    )
    columns = {key: cohort[key] for key in ("case_column", "patient_column") if cohort.get(key)}
    for key, name in columns.items():
        if name == cohort.get("class_column"):
            yield f"cohort.class_column: {name!r} is cohort.{key}, too: name the column of the class code"
    yield from _clashes("cohort.classes", [(name, column(name)) for name, _ in classes], "column")
    meant = [(name, class_code(code)) for name, codes in classes for code in codes]
    meant += [("excluded_codes", class_code(code)) for code in cohort.get("excluded_codes", [])]
    yield from _clashes("cohort.classes", meant, "code")


def _names(names):
    """A pattern that cannot be used, and stains that cannot be told apart."""
    stains = [(name, others) for entry in names.get("stains", []) for name, others in entry.items()]
    yield from _clashes("names.stains", [(name, column(name)) for name, _ in stains], "column")
    spelt = [(name, text) for name, others in stains for text in dict.fromkeys(map(spelling, [name, *others]))]
    yield from _clashes("names.stains", spelt, "spelling")
    if "pattern" in names:
        try:
            usual = defaults("names")["stains"]
            Grammar(names["pattern"], dict(stains) or {name: [] for entry in usual for name in entry})
        except UserError as error:
            yield from error.problems


def _features(config):
    """Settings of features made elsewhere that do not go together."""
    features = config.get("features", {})
    if features.get("source") == "precomputed":
        if not features.get("manifest"):
            yield "features.manifest: none with features.source: precomputed: set it to the CSV that lists the files"
        if config.get("demo"):
            yield "features.source: precomputed, but the demo paints patches: set demo: null"
        return
    for key in ("manifest", "folder", "encoder"):
        if features.get(key):
            yield f"features.{key}: {features[key]} without features.source: precomputed: set that, or this to null"


def _defaults(schema, section):
    return {key: setting["default"] for key, setting in schema["properties"][section]["properties"].items()}


def _weights(embed):
    """The weights of each encoder, with the name of the setting."""
    yield "embed.weights", embed["weights"]
    for stain, settings in (embed["by_stain"] or {}).items():
        yield f"embed.by_stain.{stain}.weights", settings.get("weights", "default")


def _embed(config, schema):
    """Encoders that cannot be had, and stains that are none."""
    embed = _defaults(schema, "embed") | config.get("embed", {})
    own, known = embed["by_stain"] or {}, stains({"names": _defaults(schema, "names") | config.get("names", {})})
    strangers = [stain for stain in own if stain not in known]
    yield from (f"embed.by_stain: no stain {stain!r}: set one of {', '.join(known)}" for stain in strangers)
    for where, settings in {"embed": embed, **{f"embed.by_stain.{stain}": own[stain] for stain in own}}.items():
        given = [settings["encoder"], settings.get("weights", "default"), settings.get("final_relu")]
        found = [
            f"{where}.{key}: {message}" for key, message in encoder_registry.problems(*given, settings.get("pooling"))
        ]
        if (row := encoder_registry.entry(settings["encoder"])).hub and not row.network and given[1] == "none":
            found.append(f"{where}.weights: {settings['encoder']} needs its weights: set default, or your own file")
        yield from found or _torchvision(where, *given[:2])


def _torchvision(where: str, encoder: str, weights: str) -> Iterator[str]:
    """What torchvision says of a network or of weights that the registry does not list."""
    usual = encoder in encoder_registry.ENCODERS and (
        weights in ("default", "none") or encoder_registry.is_file(weights)
    )
    if usual or encoder_registry.entry(encoder).library != "torchvision":
        return
    try:
        from stratamil.features import networks
    except ImportError:  # jobs have an environment of their own
        return
    try:
        networks.published(encoder, "default" if weights == "none" or encoder_registry.is_file(weights) else weights)
    except UserError as error:
        yield from (line.removeprefix("config: ").replace("embed.", f"{where}.", 1) for line in error.problems)


def _by_class(config: dict, schema: dict) -> Iterator[str]:
    """Settings that do not go with the number of classes."""
    given = {key: _defaults(schema, key) | config.get(key, {}) for key in ("cohort", "train", "evaluate", "report")}
    classes = [name for entry in given["cohort"]["classes"] for name in entry]
    weights, threshold = given["train"]["class_weights"], given["evaluate"]["threshold"]
    if isinstance(weights, list) and len(weights) != len(classes):
        yield (
            f"train.class_weights: {len(weights)} numbers for {len(classes)} classes: "
            f"give one a class, in the order {', '.join(classes)}"
        )
    if threshold != "youden" and len(classes) > 2:
        yield f"evaluate.threshold: {threshold} is for two classes, and there are {len(classes)}: set it to youden"
    colors = given["report"]["colors"]
    if len(colors) < len(classes):
        yield f"report.colors: {len(colors)} for {len(classes)} classes: give one a class"
    elif len({color.lower() for color in colors[: len(classes)]}) < len(classes):
        yield f"report.colors: two of the {len(classes)} classes have the same colour: give each one of its own"


def _clashes(where, pairs, what):
    """Texts that two names share, and names that have none: pairs of (name, text)."""
    owner = {}
    for name, text in pairs:
        if not text and what == "column":
            yield f"{where}: {name!r} has no letter or digit for the name of a column: rename it"
        elif not text:
            yield f"{where}: {name!r} has an empty {what}: take it out"
        elif what == "column" and "=" in name:
            yield f"{where}: {name!r} holds an equals sign: rename it"
        elif what == "code" and text.startswith("-") and not text[1:].isdecimal():
            yield f"{where}: {name!r} has the code {text!r}, which begins with a dash: rename it in config and labels"
        elif text in owner:
            yield f"{where}: {owner[text]!r} and {name!r} share the {what} {text!r}: change one"
        owner.setdefault(text, name)


def _splits(schema, given):
    """Settings of splits that do not go together."""
    splits = _defaults(schema, "splits") | given
    n, repeats, validation = splits["n_splits"], splits["n_repeats"], splits["validation"]
    if splits["preset"]:
        if repeats != 1:
            yield f"splits.n_repeats: {repeats} with splits.preset: set it to 1, and n_splits to the number of files"
        if validation is not None:
            yield f"splits.validation: {validation} with splits.preset: the files name validation cases: set it to null"
        return
    if n * repeats > 99:
        yield f"splits.n_repeats: {repeats} times {n} splits: at most 99 in all: lower n_repeats or n_splits"
    if validation is None and n == 2:
        yield "splits.n_splits: 2 leaves no training cases if validation is the other split: set validation, e.g. 0.1"
    if validation is not None and validation >= 1 - 1 / n:
        yield f"splits.validation: {validation} with n_splits: {n} leaves no training cases: set below {1 - 1 / n:.3g}"
