"""What an array in an npz claims to be, before any of it is read."""

import zipfile

import numpy as np

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Return shape, whether the order is Fortran's, type, and the bytes of the header.

    Raises ValueError for a version of the format that this numpy does not read.
    """
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in HEADERS:
            raise ValueError(f"npy version {version}")
        return *HEADERS[version](file), file.tell()


def array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Return an array; nothing is unpickled. Ask `header` first whether there is room for it."""
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
