"""Numbers as words for readers."""


def num(value: float | None, digits: int = 3) -> str:
    """Return a number for readers; None is `not defined`."""
    return "not defined" if value is None else f"{value:.{digits}f}".replace("-", "−")


def pct(value: float | None, digits: int = 0) -> str:
    """Return a share in percent."""
    return "not defined" if value is None else f"{100 * value:.{digits}f} %"


def span(low: float | None, high: float | None, digits: int = 3) -> str:
    """Return an interval, `0.812 to 0.934`."""
    return "not defined" if low is None or high is None else f"{num(low, digits)} to {num(high, digits)}"


def of_unit(text: str, unit: str) -> str:
    """Return a text on patients as one on the units that there are: `case` without a patient column."""
    return text if unit == "patient" else text.replace("patient", unit)


def thousands(value: int) -> str:
    """Return a count: 1,234."""
    return f"{value:,}"


def about(value: float) -> str:
    """Return a median or quartile of counts: 7.5 as it is, above 10 to the whole."""
    return f"{value:,.0f}" if value > 10 else f"{value:,.1f}".removesuffix(".0")


def duration(seconds: float) -> str:
    """Return seconds as hours, minutes or seconds."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
