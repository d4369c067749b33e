"""Settings that do not go together, in lines that a user can act on; no file is looked at."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stratamil.core.errors import UserError
from stratamil.core.names import Grammar, class_code, column, of_splits, spelling
from stratamil.core.schema import defaults, merged
from stratamil.features import encoder_registry
from stratamil.workflow import schema_errors, tune_checks
from stratamil.workflow.config_values import listed, stains

OF_ONE_ENCODER = ("weights", "weights_sha256", "input_size", "resize", "pooling", "final_relu", "layer")


def problems(config: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """Return one line per problem, `train.epoch: no such setting: did you mean epochs?`; an empty list if all is well.

    config: nested dicts of a configuration, in which settings may be missing. schema: that of the configuration, with
    its defaults. What does not fit the schema is reported first and alone.
    """
    return schema_errors.lines(config, schema) or [
        *_cohort(config.get("cohort", {})),
        *_names(config.get("names", {})),
        *_features(config),
        *_embed(config, schema),
        *_colours(config, schema),
        *_by_class(config, schema),
        *_columns(_section("cohort", config, schema), _section("report", config, schema)),
        *_splits(_section("splits", config, schema), _section("cohort", config, schema)["duplicates"] == "merge"),
        *_sites(_section("splits", config, schema), _section("cohort", config, schema)),
        *_bundle(config, schema),
        *tune_checks.problems({name: _section(name, config, schema) for name in tune_checks.SECTIONS}, schema),
    ]


def notes(config: Mapping[str, Any]) -> list[str]:
    """Return a line for each setting that has no effect, or an odd one, beside another. config: complete."""
    epochs, least = (config["train"][key] for key in ("epochs", "min_epochs"))
    lines = [*_odd_colours(config), *_unmeasured(config)]
    if epochs < least:
        why = f"less than train.min_epochs ({least}), so early stopping never acts"
        lines.append(f"train.epochs: {epochs} is {why}: each training takes {epochs} epochs")
    return lines


def _odd_colours(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for several stains that take the colours of one reference."""
    colours = config.get("embed", {}).get("normalise", "none")
    if colours == "none" or config.get("features", {}).get("source") == "precomputed":
        return
    own = dict.fromkeys(stains(config), colours) if isinstance(colours, str) else colours
    if len(changed := [stain for stain in stains(config) if own.get(stain, "none") != "none"]) > 1:
        yield (
            f"embed.normalise: {', '.join(changed)} take the colours of an H&E reference: if not all of them are H&E, "
            f"name those that are, such as {{{changed[0]}: {own[changed[0]]}}}"
        )


def _unmeasured(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for rules on the quality of images where there are none."""
    quality, usual = config.get("cohort", {}).get("quality", {}), defaults("cohort.quality")
    changed = [key for key, value in quality.items() if value != usual[key]]
    if changed and config.get("features", {}).get("source") == "precomputed":
        yield (
            f"cohort.quality: {', '.join(changed)} with features.source: precomputed, which has no images: nothing is "
            "measured, nothing excluded"
        )


def _cohort(cohort: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for classes that share a name or a code, and for columns with two meanings."""
    classes = [(name, codes) for entry in cohort.get("classes", []) for name, codes in entry.items()]
    yield from (
        f"cohort.classes: {name!r} has no code: list those of its cases, as {name}: [{name}]"
        for name, codes in classes
        if not codes
    )
    columns = {key: cohort[key] for key in ("case_column", "patient_column", "site_column") if cohort.get(key)}
    for key, name in columns.items():
        if name == cohort.get("class_column"):
            yield f"cohort.class_column: {name!r} is cohort.{key}, too: name the column of the class code"
    yield from _clashes("cohort.classes", [(name, column(name)) for name, _ in classes], "column")
    meant = [(name, class_code(code)) for name, codes in classes for code in codes]
    excluded = [class_code(code) for code in cohort.get("excluded_codes", [])]
    meant += [("excluded_codes", code) for code in excluded if code]  # an empty one is that of rows without a class
    yield from _clashes("cohort.classes", meant, "code")


def _names(names: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for a pattern that cannot be used, and for stains that share a name or a spelling."""
    listed = [(name, others) for entry in names.get("stains", []) for name, others in entry.items()]
    yield from _clashes("names.stains", [(name, column(name)) for name, _ in listed], "column")
    spelt = [(name, text) for name, others in listed for text in dict.fromkeys(map(spelling, [name, *others]))]
    yield from _clashes("names.stains", spelt, "spelling")
    if "pattern" in names:
        try:
            usual = [(name, []) for entry in defaults("names")["stains"] for name in entry]
            Grammar(names["pattern"], dict(listed or usual))
        except UserError as error:
            yield from error.problems


def _features(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for settings of precomputed features that do not go together."""
    features = config.get("features", {})
    if features.get("source") == "precomputed":
        if not features.get("manifest"):
            yield "features.manifest: none with features.source: precomputed: set it to the CSV that lists the files"
        if config.get("demo"):
            yield "features.source: precomputed, but the demo paints patches: set demo: null"
        return
    predicts = bool((config.get("predict") or {}).get("bundle"))  # the source is then that of the bundle
    for key in ("manifest", "folder", *(() if predicts else ("encoder",))):
        if features.get(key):
            yield f"features.{key}: {features[key]} without features.source: precomputed: set that, or this to null"


def _embed(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for encoders that do not exist, and for stains that names.stains does not list."""
    embed, default = _section("embed", config, schema), _section("embed", {}, schema)["weights"]
    own, known = embed["by_stain"] or {}, stains({"names": _section("names", config, schema)})
    strangers = [stain for stain in own if stain not in known]
    yield from (f"embed.by_stain: no stain {stain!r}: set one of {', '.join(known)}" for stain in strangers)
    yield from _several(embed, defaults("embed"))
    asked_for = [("embed", embed | {"encoder": encoder}) for encoder in listed(embed["encoder"])]
    for where, settings in [*asked_for, *((f"embed.by_stain.{stain}", own[stain]) for stain in own)]:
        encoder, weights = settings["encoder"], settings.get("weights", default)
        asked = {key: settings.get(key) for key in ("final_relu", "pooling", "layer")}
        lines = [f"{where}.{key}: {said}" for key, said in encoder_registry.problems(encoder, weights, **asked)]
        if (row := encoder_registry.entry(encoder)).hub and not row.network and weights == "none":
            lines.append(f"{where}.weights: {encoder} needs its weights: set default, or your own file")
        yield from lines or _torchvision(where, encoder, weights)


def _colours(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for colours of precomputed features, and of stains that names.stains does not list."""
    embed, usual = _section("embed", config, schema), defaults("embed")
    known = stains({"names": _section("names", config, schema)})
    own = embed["normalise"] if isinstance(embed["normalise"], Mapping) else {}
    for stain in (stain for stain in own if stain not in known):
        yield f"embed.normalise: no stain {stain!r}: set one of {', '.join(known)}"
    if config.get("features", {}).get("source") == "precomputed":
        for key in ("normalise", "views"):
            if embed[key] != usual[key]:
                what = f"embed.{key}: {embed[key]} with features.source: precomputed"
                yield f"{what}, which has no images: set it to {usual[key]}"


def _several(embed: Mapping[str, Any], default: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for settings that are of one encoder where there are several, and for two of one folder."""
    names = listed(embed["encoder"])
    if len(names) == 1:
        return
    for key in OF_ONE_ENCODER:
        if embed[key] != default[key] and embed[key] != "none":
            usual = "null" if default[key] is None else default[key]
            yield f"embed.{key}: {embed[key]} with several encoders, of which each has its own: set it to {usual}"
    folders = Counter(map(encoder_registry.folder, names))
    for folder in (folder for folder, n in folders.items() if n > 1):
        same = [name for name in names if encoder_registry.folder(name) == folder]
        yield f"embed.encoder: {' and '.join(same)} would have one folder, {folder}: take one out"


def _torchvision(where: str, encoder: str, weights: str) -> Iterator[str]:
    """Yield what torchvision says of a network or of weights that the registry does not list."""
    usual = encoder in encoder_registry.ENCODERS and (
        weights in ("default", "none") or encoder_registry.is_file(weights)
    )
    if usual or encoder_registry.entry(encoder).library != "torchvision":
        return
    try:
        from stratamil.features import torchvision_networks
    except ImportError:  # jobs have an environment of their own
        return
    try:
        torchvision_networks.published(
            encoder_registry.entry(encoder).network,
            "default" if weights == "none" or encoder_registry.is_file(weights) else weights,
        )
    except UserError as error:
        yield from (line.removeprefix("config: ").replace("embed.", f"{where}.", 1) for line in error.problems)


def _by_class(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for settings that do not go with the number of classes."""
    given = {name: _section(name, config, schema) for name in ("cohort", "train", "evaluate", "report")}
    classes = list(merged(given["cohort"]["classes"]))
    weights, threshold = given["train"]["class_weights"], given["evaluate"]["threshold"]
    to_choose = _section("tune", config, schema)["space"].get("train.class_weights", [])
    for where, value in (("", weights), *(("tune.space: ", value) for value in to_choose)):
        if isinstance(value, list) and len(value) != len(classes):
            yield (
                f"{where}train.class_weights: {len(value)} numbers for {len(classes)} classes: "
                f"give one a class, in the order {', '.join(classes)}"
            )
    if threshold != "youden" and len(classes) > 2:
        yield f"evaluate.threshold: {threshold} is for two classes, and there are {len(classes)}: set it to youden"
    colors = given["report"]["colors"]
    if len(colors) < len(classes):
        yield f"report.colors: {len(colors)} for {len(classes)} classes: give one a class"
    elif len({color.lower() for color in colors[: len(classes)]}) < len(classes):
        yield f"report.colors: two of the {len(classes)} classes have the same colour: give each one of its own"


def _columns(cohort: Mapping[str, Any], report: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for columns that tell the class or name the case, of which nothing can be learned."""
    taken = {cohort[key]: f"cohort.{key}" for key in ("patient_column", "class_column", "case_column")}
    for key in ("columns", "clinical"):
        for name in report[key]:
            if name in taken:
                yield f"report.{key}: {name!r} is {taken[name]}: take it out"
    if report["clinical"] and len(merged(cohort["classes"])) > 2:
        yield "report.clinical: is for two classes: set it to []"


def _clashes(where: str, pairs: Iterable[tuple[str, str]], what: str) -> Iterator[str]:
    """Yield a line for each text that two names share, and for names without one.

    where: the setting. pairs: (name, text). what: what the text is: column, code or spelling.
    """
    owner = {}
    for name, text in pairs:
        if not text and what == "column":
            yield f"{where}: {name!r} has no letter or digit for the name of a column: rename it"
        elif not text:
            yield f"{where}: {name!r} has an empty {what}: take it out"
        elif what == "column" and "=" in name:
            yield f"{where}: {name!r} holds an equals sign: rename it"
        elif what == "column" and not (name[0].isalnum() or name[0] in "(["):
            yield f"{where}: {name!r} begins with {name[0]!r}: begin it with a letter, a digit or a bracket"
        elif what == "code" and text.startswith("-") and not text[1:].isdecimal():
            yield f"{where}: {name!r} has the code {text!r}, which begins with a dash: rename it in config and labels"
        elif text in owner:
            yield f"{where}: {owner[text]!r} and {name!r} share the {what} {text!r}: change one"
        owner.setdefault(text, name)


def _splits(splits: Mapping[str, Any], merge: bool) -> Iterator[str]:
    """Yield a line for settings of splits that do not go together. merge: whether patients of one tissue are merged."""
    n, repeats, validation = splits["n_splits"], splits["n_repeats"], splits["validation"]
    if splits["preset"]:
        if merge:
            yield (
                "cohort.duplicates: merge with splits.preset, whose files name the sets, so that no patients can be "
                "merged: set it to error or warn, or splits.preset to null"
            )
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


def _sites(splits: Mapping[str, Any], cohort: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for settings of splits by site that do not go together."""
    whole, balanced = splits["by"] == "site", "site" in splits["balance"]
    if (site := cohort["site_column"]) and site in (cohort["case_column"], cohort["patient_column"]):
        yield f"cohort.site_column: {site!r} names the case or patient, too: name the column of the site"
    for setting in ["splits.by"] * whole + ["splits.balance"] * balanced:
        if not cohort["site_column"]:
            yield f"{setting}: site without cohort.site_column: name the column of the site"
    if whole and balanced:
        yield "splits.balance: site with splits.by: site, which keeps each site in one set: set it to [class]"
    if whole and splits["n_repeats"] != 1:
        yield (
            f"splits.n_repeats: {splits['n_repeats']} with splits.by: site: whole sites have one best way to be shared "
            "out: set it to 1, and more seeds"
        )
    if splits["preset"] and splits["balance"] != ["class"]:
        yield "splits.balance: has no meaning with splits.preset, whose files name the sets: set it to [class]"
    elif "class" not in splits["balance"]:
        yield "splits.balance: without class: set it to [class, site], for every set needs every class"


def _bundle(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for members of a bundle that there are not."""
    bundle, splits = _section("bundle", config, schema), _section("splits", config, schema)
    if bundle["members"] == "all":
        return
    there = of_splits(splits["n_splits"], splits["n_repeats"])
    if bundle["members"] not in there:
        yield f"bundle.members: no split {bundle['members']}: set all, or one of {', '.join(there)}"
    if bundle["refit"]:
        yield f"bundle.members: {bundle['members']} with bundle.refit, whose models are of no split: set it to all"


def _section(name: str, config: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section of the config, with the defaults of the schema for what it does not set."""
    settings = schema["properties"][name]["properties"]
    return {key: setting["default"] for key, setting in settings.items()} | config.get(name, {})
