"""Reading the workflow's own CSV tables back as they were written."""

import pandas as pd

TEXT = ("case_id", "label", "class", "group", "split", "true_label", "predicted_label", "most_attended_stain", "name")


def read(path):
    """A DataFrame with ids and names as text; only an empty cell is missing, so a case may be called `nan`."""
    return pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values=[""])


def read_cases(path):
    """All rows of cases.csv, used or not, in natural order: ids and codes as text, what is empty as empty text."""
    return pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False)


def read_excluded(path):
    """All rows of excluded.csv."""
    return pd.read_csv(path, dtype=str, keep_default_na=False).astype({"patches": int})
