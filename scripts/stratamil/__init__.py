"""StrataMIL's library: what the scripts share. It knows neither Snakemake nor argparse."""

import os
from pathlib import Path

# HDF5 reads this when it is loaded. Our files are written beside and renamed, those of others are only read: no lock
# is needed, and file systems without a lock service (some NFS and Lustre mounts) would refuse good files.
os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"

# In a file of its own: editing a module reruns what imports it, and a new version alone should retrain nothing.
__version__ = Path(__file__).with_name("VERSION").read_text(encoding="utf-8").strip()
