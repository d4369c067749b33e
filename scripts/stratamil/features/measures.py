"""What the pixels of a patch tell of its quality: tissue or glass, focus, colour, and the ink of a pen.

Shares and colours are measured on the thumbnail of the whole image, sharpness on the image itself. By Beer and
Lambert's law the optical density -log10(I / I0) is proportional to the amount of dye.

Tissue is what is darker than the glass beside it, so that a faint stain counts and grey glass does not. Ink: blue and
green pens absorb red light more than green light, which eosin, DAB and red chromogens never do and haematoxylin hardly.
Limits: red and black ink look like chromogens, pigment and carbon, and are not told from them. Blue and green stains
(Alcian blue, trichromes, Giemsa) look like ink.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FOCUS = 256  # pixels of the longer side, above which an image is made smaller before its sharpness is measured
GLASS = 0.1  # mean optical density that glass has at most: 20% darker than white
DARKER = 0.03  # optical density of tissue above that of the glass in its image: 7% darker
BRIGHTEST = 0.01  # share of an image's pixels that are taken for its glass
INK, INK_RED, INK_SATURATION = 0.07, 0.25, 0.3  # more density of red than of green; density of red; HSV saturation
BLACK, NEUTRAL = 90, 30  # brightest of R, G and B, and their difference, in a black pixel, of 255
LUMA = np.array([0.299, 0.587, 0.114])  # of R, G and B in a grey level, as in Pillow
OPTICAL = -np.log10(np.maximum(np.arange(256, dtype=np.float32), 1) / 255)


class Measures(NamedTuple):
    """Quality of an image.

    sharpness: see `sharpness`. contrast: SD of the same grey levels. tissue, clipped, pen, black: shares of pixels that
    are tissue, white in R, G and B alike, of the colours of blue or green ink, and black. saturation: mean of HSV, 0 to
    1. darkness: 1 less the mean grey level of 1.
    """

    sharpness: float
    contrast: float
    tissue: float
    saturation: float
    darkness: float
    clipped: float
    pen: float
    black: float


def measure(image: Image.Image, thumbnail: NDArray[np.uint8]) -> Measures:
    """Return the Measures of an 8-bit RGB image. thumbnail: the whole of it, (H, W, 3)."""
    grey = _grey(image)
    channels = np.ascontiguousarray(thumbnail.reshape(-1, 3).T)
    red, green, blue = OPTICAL[channels]
    brightest, darkest = channels.max(axis=0), channels.min(axis=0)
    spread = brightest - darkest
    saturation = spread / np.maximum(brightest, 1, dtype=np.float32)
    ink = (red - green > INK) & (red > INK_RED) & (saturation > INK_SATURATION)
    return Measures(
        sharpness=sharpness(grey),
        contrast=float(grey.std(dtype=np.float32)),
        tissue=_tissue((red + green + blue) / 3),
        saturation=float(saturation.mean()),
        darkness=1 - float(LUMA @ channels.mean(axis=1)) / 255,
        clipped=float((darkest == 255).mean()),
        pen=float(ink.mean()),
        black=float(((brightest < BLACK) & (spread < NEUTRAL)).mean()),
    )


def sharpness(grey: NDArray[np.int16]) -> float:
    """Return the variance of the Laplacian of grey levels (H, W) of 255, in squared grey levels; 0 of less than 3 x 3.

    A focus measure: blur leaves little of it (LAPV of Pech-Pacheco et al., ICPR 2000; 3: 314-317). It depends on the
    scale, so that of a file is measured at `FOCUS` pixels, or at its own size if that is smaller: one view stored with
    more pixels than that has the same sharpness. It grows with contrast: compare patches of one stain.
    """
    if min(grey.shape) < 3:
        return 0.0
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1]
    laplacian += grey[1:-1, :-2]
    laplacian += grey[1:-1, 2:]
    laplacian -= 4 * grey[1:-1, 1:-1]
    return float(laplacian.var(dtype=np.float32))


def _grey(image: Image.Image) -> NDArray[np.int16]:
    """Return the grey levels of an image in its proportions, its longer side no longer than `FOCUS`."""
    grey, longest = image.convert("L"), max(image.size)
    if longest > FOCUS:
        size = tuple(max(1, round(length * FOCUS / longest)) for length in image.size)
        grey = grey.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)
    return np.asarray(grey, dtype=np.int16)


def _tissue(density: NDArray[np.float32]) -> float:
    """Return the share of pixels that are darker than the glass, which is the brightest part of an image."""
    place = round(BRIGHTEST * density.size)
    glass = min(float(np.partition(density, place, axis=None)[place]), GLASS)
    return float((density > glass + DARKER).mean())
