"""Colours of a patch mapped to those of a published reference, by its own pixels alone.

reinhard: mean and SD of the tissue in the colour space l-alpha-beta become those of the reference (Reinhard et al.,
IEEE Comput Graph Appl 2001; 21(5): 34-41; the space of Ruderman et al., J Opt Soc Am A 1998; 15: 2036-2045).
macenko: the two stain vectors are found in the plane of the largest variance of optical density, and densities along
them are drawn again with the vectors and maxima of the reference (Macenko et al., ISBI 2009: 1107-1110).
Both references are H&E. They are fixed: nothing is fitted to a cohort, and a new case is treated as one of the study.
Of a patch with next to no tissue, or of one colour, nothing can be estimated: it has no normalised version.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (H, W, 3)

LEAST = 0.01  # share of the pixels that must be tissue
# Brightness, the mean of R, G and B, from which a pixel is glass to Reinhard's method, and does not count.
GLASS = 220
# Mean and SD of l, alpha and beta: slide TCGA-A2-A3XS-DX1 (Amgad et al., Bioinformatics 2019; 35: 3461-3467), as in
# HistomicsTK 1.4.0, histomicstk/saliency/cellularity_detection_thresholding.py.
MEAN, SD = (8.74108109, -0.12440419, 0.0444982), (0.6135447, 0.10989545, 0.0286032)
LMS_OF_RGB = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
LAB_OF_LMS = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
FLAT = 1e-3  # SD below which a channel is of one colour; a step of one grey level is about 0.004

# Vectors (haematoxylin, eosin) and 99% maxima of the reference, in natural optical density: of M. Veta's
# staining-normalization, which torchstain 1.4.1 and others have taken over. With them go light, BETA and ALPHA.
VECTORS = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
MAXIMA = np.array([1.9705, 1.0308])
LIGHT, BETA, ALPHA = 240, 0.15, 1.0  # light of an empty field; least density of tissue; percentile of the angles
NARROW = 0.05  # sine of the angle between two stains below which they are one: 2.9 degrees; of the reference 22
FAINT = 0.05  # maximum of a density below which its stain is not there


def reinhard(pixels: Pixels) -> Pixels | None:
    """Return a patch whose tissue has mean and SD of the reference; None if too little is tissue, or of one colour.

    Glass changes with the tissue: it becomes white, and there is no edge between the two.
    """
    rgb = pixels.reshape(-1, 3)
    tissue = rgb.sum(axis=1, dtype=np.uint16) < 3 * GLASS
    if tissue.mean() < LEAST:
        return None
    # a colour that no cone sees counts as half a grey level
    lms = np.log(np.maximum(rgb.astype(np.float32) @ LMS_OF_RGB.T.astype(np.float32), 0.5))
    lab = lms @ LAB_OF_LMS.T.astype(np.float32)
    mean, sd = lab[tissue].mean(axis=0, dtype=np.float64), lab[tissue].std(axis=0, dtype=np.float64)
    if sd.min() < FLAT:
        return None
    scaled = (lab - mean.astype(np.float32)) * (SD / sd).astype(np.float32) + np.float32(MEAN)
    back = np.exp(scaled @ np.linalg.inv(LAB_OF_LMS).T.astype(np.float32))
    return _rounded(back @ np.linalg.inv(LMS_OF_RGB).T.astype(np.float32)).reshape(pixels.shape)


def macenko(pixels: Pixels) -> Pixels | None:
    """Return a patch with the stains of the reference; None if too little is tissue, or there are no two stains."""
    density = DENSITY[pixels.reshape(-1, 3)]
    tissue = density[(density >= BETA).all(axis=1)]
    if len(tissue) < max(2, LEAST * len(density)):
        return None
    vectors = _stains(tissue)
    if np.linalg.norm(np.cross(*vectors)) < NARROW:
        return None
    amounts = density @ np.linalg.pinv(vectors).astype(np.float32)
    maxima = np.percentile(amounts, 99, axis=0)
    if maxima.min() < FAINT:
        return None
    mixed = amounts @ (VECTORS * (MAXIMA / maxima)[:, None]).astype(np.float32)
    return _rounded(LIGHT * np.exp(-mixed)).reshape(pixels.shape)


METHODS: dict[str, Callable[[Pixels], Pixels | None]] = {"reinhard": reinhard, "macenko": macenko}
# Natural optical density of each value of a pixel.
DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / LIGHT)


def _stains(tissue: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the two stain vectors (2, 3) of densities (n, 3): that with more red first, which is haematoxylin's."""
    plane = np.linalg.eigh(np.cov(tissue.T, dtype=np.float64))[1][:, 1:]  # of the two largest variances
    across, along = (tissue @ plane.astype(np.float32)).T
    angles = np.percentile(np.arctan2(along, across), (ALPHA, 100 - ALPHA))
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]) @ plane.T
    return vectors if vectors[0, 0] > vectors[1, 0] else vectors[::-1]


def _rounded(values: NDArray[np.floating]) -> Pixels:
    """Return values as those of pixels: white and black where they would be beyond."""
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
