"""Where the model of a prediction came from: what its bundle says, and the pages of its study, if it lies there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stratamil.report.page import address

FOLDER = "model"  # that of the bundle in the results of its study
PAGES = {"first_page": "index.html", "model_report": "report/index.html"}


def told(facts: Mapping[str, Any], bundle: Path) -> str:
    """Name the bundle and the program that made it. facts: bundle.json."""
    version, commit = facts.get("versions", {}).get("stratamil"), facts.get("commit")
    made = f", made by StrataMIL {version}" if version else ""
    return f"bundle {bundle.name}{made}" + (f", commit {commit.rstrip('+')[:12]}" if commit else "")


def links(bundle: Path, final: Path) -> dict[str, str | None]:
    """Return the addresses of the study's first page and report, as seen from a page in `final`; None without the file.

    A bundle that was copied elsewhere has neither: only in the results of its study does it lie in `FOLDER`.
    """
    study = bundle.absolute().parent.parent if bundle.absolute().parent.name == FOLDER else None
    paths = {name: study and study / path for name, path in PAGES.items()}
    return {name: address(path, final.absolute()) if path and path.is_file() else None for name, path in paths.items()}
