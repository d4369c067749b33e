"""Where a result comes from: code, library versions, machine."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "scikit-learn", "h5py", "snakemake")


def versions():
    """Versions of Python and of the libraries that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit():
    """The git commit of this code, with "+" if files were changed since; None outside a repository."""
    here = Path(__file__).parent
    try:
        asked = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
        return subprocess.run(asked, capture_output=True, encoding="utf-8", check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
