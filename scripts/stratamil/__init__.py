"""StrataMIL's library: what the scripts share. It knows neither Snakemake nor argparse."""

import os

# HDF5 reads this when it is loaded. Our files are written beside and renamed, those of others are only read: no lock
# is needed, and file systems without a lock service (some NFS and Lustre mounts) would refuse good files.
os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
