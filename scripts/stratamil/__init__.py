"""StrataMIL's library: what the scripts share. It knows neither Snakemake nor argparse.

`from stratamil import read_study` gives the tables of a study, `load_bundle` its model for new cases.
"""

import importlib
import os
from pathlib import Path

__all__ = ["load_bundle", "read_study"]

# HDF5 reads this when it is loaded. Our files are written beside and renamed, those of others are only read: no lock
# is needed, and file systems without a lock service (some NFS and Lustre mounts) would refuse good files.
os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"

# In a file of its own: editing a module reruns what imports it, and a new version alone should retrain nothing.
__version__ = Path(__file__).with_name("VERSION").read_text(encoding="utf-8").strip()


def __getattr__(name: str) -> object:
    """Return `read_study` or `load_bundle`, imported when asked for: this package is also imported without pandas.

    By name, for an import statement here would let an edit of what it imports rerun every rule.
    """
    home = {"read_study": "stratamil.evaluation.saved_study", "load_bundle": "stratamil.deploy.apply"}
    if name in home:
        return getattr(importlib.import_module(home[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
