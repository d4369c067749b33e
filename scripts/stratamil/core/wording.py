"""Words for readers: of numbers, and of the baselines."""

import re
from collections.abc import Sequence

# Baseline in tables -> its name on pages and terminals.
BASELINES = {
    "summary": "Mean, maximum and SD of patch features",
    "mean_pool": "Mean of patch features",
    "mean_pool_": "Mean of patch features, {} alone",
    "colour": "Colour and coarse texture",
    "patch_count": "Regression on the number of patches",
    "slice_count": "Regression on the number of slices",
    "prevalence": "Prevalence",
    "retrained_mean": "The model retrained without attention (mean of all patches)",
    "retrained_flat": "The model retrained with one attention over all patches",
    "retrained_hierarchical": "The model retrained with hierarchical attention",
    "retrained_default": "The model with the study's own settings, not chosen",
}


def num(value: float | None, digits: int = 3) -> str:
    """Return a number for readers; None is `not defined`."""
    return "not defined" if value is None else f"{value:z.{digits}f}".replace("-", "−")


def pct(value: float | None, digits: int = 0) -> str:
    """Return a share in percent."""
    return "not defined" if value is None else f"{100 * value:.{digits}f}%"


def span(low: float | None, high: float | None, digits: int = 3) -> str:
    """Return an interval, `0.812 to 0.934`. An end beside 0 has the digits that show on which side of it it lies."""
    return "not defined" if low is None or high is None else f"{_end(low, digits)} to {_end(high, digits)}"


def _end(value: float, digits: int) -> str:
    further = (num(value, n) for n in range(digits, digits + 4))
    return next((text for text in further if re.search("[1-9]", text)), num(value, digits))


def apart(value: float, limit: float, digits: int) -> tuple[str, str]:
    """Return two numbers in `digits`, or in as many more as tell them apart: 1.68 beside a limit of 1.66."""
    texts = ((num(value, n), num(limit, n)) for n in range(digits, digits + 6))
    return next(((one, other) for one, other in texts if one != other), (num(value, digits), num(limit, digits)))


def ends(low: str, high: str) -> str:
    """Return `16 to 26`, or `27` where both are the same."""
    return low if low == high else f"{low} to {high}"


def of_unit(text: str, unit: str) -> str:
    """Return a text on patients as one on the units that there are: `case` without a patient column."""
    return text if unit == "patient" else text.replace("patient", unit)


def of_class(name: str) -> str:
    """Return `class benign`; a name that begins with the word, `class 2`, stays as it is."""
    return name if name.lower().startswith("class") else f"class {name}"


def of_slice(name: str) -> str:
    """Return `slice C`; a name that begins with the word, `slice_2`, stays as it is."""
    return name if name.lower().startswith("slice") else f"slice {name}"


def in_list(text: str) -> str:
    """Return a class code for a list, in quotes where it has a sign that parts a list: `"carcinoma, mucinous"`."""
    return f'"{text}"' if re.search('[,;:"]', text) else text


def thousands(value: int) -> str:
    """Return a count: 1,234."""
    return f"{value:,}"


def about(value: float) -> str:
    """Return a median or quartile of counts: 7.5 as it is, above 10 to the whole."""
    return f"{value:,.0f}" if value > 10 else f"{value:,.1f}".removesuffix(".0")


def percentages(counts: Sequence[int]) -> list[int]:
    """Return the shares of a whole in percent, rounded so that they add up to 100 (largest remainder)."""
    whole = sum(counts)
    if not whole:
        return [0] * len(counts)
    floors = [100 * n // whole for n in counts]
    largest = sorted(range(len(counts)), key=lambda i: (-(100 * counts[i] % whole), i))
    for i in largest[: 100 - sum(floors)]:
        floors[i] += 1
    return floors


def n_of(n: int, noun: str) -> str:
    """Return a count with its noun: 1 case, 3 cases, 2 patches."""
    return f"{thousands(n)} {noun}{'' if n == 1 else 'es' if noun.endswith(('ch', 's')) else 's'}"


def sized(cases: int, patients: int) -> str:
    """Return `51 cases of 43 patients`; `51 cases` where each is a patient."""
    return n_of(cases, "case") + (f" of {n_of(patients, 'patient')}" if patients != cases else "")


def listed(names: Sequence[str], last: str = "and") -> str:
    """Return names as a person lists them: a, b and c."""
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def duration(seconds: float) -> str:
    """Return seconds as hours, minutes or seconds."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def averaged(seeds: int, repeats: int = 1) -> str:
    """Say how many predictions of a case an ensemble is the mean of, `2 repeats x 3 seeds`; empty where it is one."""
    words = [f"{repeats} repeats"] * (repeats > 1) + [f"{seeds} seeds"] * (seeds > 1)
    return " x ".join(words)


def baseline_label(name: str, without: int = 0) -> str:
    """Return a baseline's name for readers; that of one stain names the stain. without: cases that lack it."""
    stain = name.removeprefix("mean_pool_")
    label = BASELINES.get(name, BASELINES["mean_pool_"].format(stain) if stain != name else name)
    return f"{label} ({thousands(without)} lack it)" if without else label


def counted(n: int, word: str) -> str:
    """Return `1 case`, `1,200 patches`."""
    return f"{n:,} {word}" + ("" if n == 1 else "es" if word.endswith("ch") else "s")
