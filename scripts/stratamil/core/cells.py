"""Numbers and dates in the texts of a user's table, as people and their spreadsheet programs write them."""

import re

import numpy as np
import pandas as pd

DECIMAL = re.compile(r"[-+]?[0-9]+,[0-9]+")  # 80,5
GROUPED = re.compile(r"[-+]?[1-9][0-9]{0,2},[0-9]{3}")  # 1,250: a decimal, or one thousand two hundred and fifty
FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%Y/%m/%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%m/%d/%Y", "%d/%m/%Y")


def numbers(texts: pd.Series) -> pd.Series:
    """Return texts as numbers, NaN where one is none; 80,5 is 80.5.

    If all commas stand before three digits, as in 1,250, nobody can say what they are, and such texts are no numbers.

    >>> numbers(pd.Series(["80,5", "61", "unclear"])).tolist()
    [80.5, 61.0, nan]
    """
    with_comma = texts[texts.map(lambda text: isinstance(text, str) and bool(DECIMAL.fullmatch(text)))]
    if len(with_comma) and not with_comma.map(lambda text: bool(GROUPED.fullmatch(text))).all():
        texts = texts.astype(object)
        texts[with_comma.index] = with_comma.str.replace(",", ".")
    found = pd.to_numeric(texts, errors="coerce").astype(float)
    return found.where(np.isfinite(found))


def days(texts: pd.Series) -> pd.Series | None:
    """Return dates as days since 1970; None if not all texts are dates.

    Dates that two of FORMATS read as different days (03/04/2021) are none.
    """
    read = [_days(texts, form) for form in (FORMATS if len(texts) else ())]
    fitting = [found for found in read if found is not None]
    return fitting[0] if fitting and all(found.equals(fitting[0]) for found in fitting) else None


def _days(texts: pd.Series, form: str) -> pd.Series | None:
    dates = pd.to_datetime(texts, format=form, errors="coerce").astype("datetime64[s]")
    return (dates - pd.Timestamp(0).as_unit("s")).dt.days.astype(float) if dates.notna().all() else None


def date(day: float) -> str:
    """Return a day since 1970 as a date, 2024-02-06."""
    return str(np.datetime64(int(day), "D"))
