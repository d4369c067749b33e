"""What the rules take from a checked configuration: the names of its splits, its stains, and its encoders."""

from collections.abc import Mapping, Sequence
from typing import Any

from stratamil.core import names, schema
from stratamil.core.names import column, file_name
from stratamil.evaluation import retrained
from stratamil.evaluation.tuning_space import NOT_USED
from stratamil.features import encoder_registry


def split_names(config: Mapping[str, Any]) -> list[str]:
    """Return the names of all splits of all repeats, in order: 01, 02, ..."""
    return names.of_splits(config["splits"]["n_splits"], config["splits"]["n_repeats"])


def preset_files(config: Mapping[str, Any]) -> list[str]:
    """Return the existing split files: one a split, numbered 01, 02, ... or 0, 1, ..., or a JSON file of all."""
    preset = config["splits"]["preset"]
    if not preset:
        return []
    if "{split}" not in preset and "{fold}" not in preset:
        return [preset]
    return [
        preset.replace("{split}", name).replace("{fold}", str(number))
        for number, name in enumerate(split_names(config))
    ]


def foreign(own: Mapping[str, Any], allowed: Mapping[str, Sequence[str] | None]) -> list[str]:
    """Return the settings of the user's files that are not allowed. allowed: section -> its settings, None for all."""
    names = [key for key in own if key not in allowed]
    for section, keys in allowed.items():
        if keys and isinstance(own.get(section), Mapping):
            names += [f"{section}.{key}" for key in own[section] if key not in keys]
    return names


def stains(config: Mapping[str, Any]) -> list[str]:
    """Return the stains of the model, in order."""
    return list(schema.merged(config["names"]["stains"]))


def take_space(config: dict[str, Any], own: Mapping[str, Any]) -> None:
    """Let a study's own space of settings to choose from replace the default one, which it was merged into, in place.

    own: what the study's files set, of whatever form.
    """
    tune = own.get("tune")
    if isinstance(tune, Mapping) and isinstance(tune.get("space"), Mapping) and isinstance(config["tune"], Mapping):
        config["tune"]["space"] = dict(tune["space"])


def show_sites(config: dict[str, Any]) -> None:
    """Let the report show the model by site, too, in place: the column of sites is the first of `report.columns`."""
    site, columns = config["cohort"]["site_column"], config["report"]["columns"]
    if site and site not in [*columns, *config["report"]["clinical"]]:
        config["report"]["columns"] = [site, *columns]


def variants(config: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return how the model is trained again for comparison: name -> `model`, settings in place of its own, and `share`.

    None of a setting leaves it out. share: flags by which a share of the training cases is drawn.
    """
    result = {}
    for name in retrained.variants(config):
        percent = int(name.removeprefix(retrained.SHARE)) if name.startswith(retrained.SHARE) else None
        share = {} if percent is None else {"share": percent, "share_seed": config["splits"]["seed"]}
        own = {"aggregation": name} | dict.fromkeys(NOT_USED[name]) if name in NOT_USED else {}
        result[name] = {"model": own, "share": share}
    return result


def listed(encoder: str | Sequence[str]) -> list[str]:
    """Return the encoders that embed.encoder names, one or several."""
    return [encoder] if isinstance(encoder, str) else list(encoder)


def normalised(normalise: str | Mapping[str, str], only: Sequence[str] | None) -> str | dict[str, str]:
    """Return embed.normalise for an encoder of some stains, None for all: "none" where it changes no colour of them.

    So a method of another stain does not encode these patches again.
    """
    if isinstance(normalise, str):
        return normalise
    own = {stain: normalise[stain] for stain in sorted(normalise) if only is None or stain in only}
    return {stain: method for stain, method in own.items() if method != "none"} or "none"


def encoders(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the encoders of the study: feature folder -> settings as in `embed`, with `only_stains`.

    Several encoders of the same patches are several folders, whose features are joined when they are read. only_stains
    is a list, or None for all. Null becomes the encoder's own default. A stain in embed.by_stain has its own encoder,
    whose missing settings are the schema's defaults, not those of `embed`; colours are changed as for the others. Its
    folder is `{encoder}_{stain}`; that of all other stains is the encoder's name.
    """
    embed, own = config["embed"], config["embed"]["by_stain"] or {}
    rest = [stain for stain in stains(config) if stain not in own]
    by_folder = {}
    for encoder in listed(embed["encoder"]) if rest else []:
        main = embed | {"encoder": encoder, "only_stains": rest if own else None}
        main["normalise"] = normalised(embed["normalise"], rest if own else None)
        by_folder[encoder_registry.folder(encoder)] = encoder_registry.filled(main)
    shared = {key: embed[key] for key in ("batch_size", "shards", "max_unreadable", "views")}
    for stain in stains(config):
        if stain in own:
            settings = schema.defaults("embed") | shared | own[stain] | {"only_stains": [stain]}
            settings["normalise"] = normalised(embed["normalise"], [stain])
            by_folder[f"{encoder_registry.folder(settings['encoder'])}_{file_name(column(stain))}"] = (
                encoder_registry.filled(settings)
            )
    return by_folder
