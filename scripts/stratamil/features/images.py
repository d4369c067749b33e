"""Patch files to 8-bit RGB arrays of one size, and what is odd about them.

16-bit grey files often hold fewer bits: those of a camera (10, 12, 14), or 8 that a program widened. A file is scaled
by the bits that its largest value needs, rounded up to one of BITS, so that each of these comes out as it looks.
An image is turned as its orientation tag says, as every viewer does. A colour profile is not applied, as in the
programs that published encoders were trained with: pixels are taken as they are stored. CIELAB becomes sRGB.
Limits: a file says nothing of its camera, so one whose tissue is all dark is brightened; Facts tell how many bits each
file uses, and files of one study should use the same. Of 16-bit colour Pillow gives the upper 8 bits; where these hold
next to nothing, the file is refused.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntFlag
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from stratamil.features.measures import measure

Resize = Literal["squash", "crop", "pad"]
# What names.IMAGE_SUFFIXES names, whatever the suffix of a file. Pillow reads others, some by starting another program
# (Ghostscript for EPS). A JPEG that holds several images (MPO) is read as its first.
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # first bytes
ORIENTATION, BITS_PER_SAMPLE, PLANES = 0x112, 258, 284  # tags of EXIF and TIFF
BITS = (8, 10, 12, 14, 16)
DIM = 64  # above what is left, in the upper 8 bits, of 16-bit colours that use 14 bits or fewer
SMALL = 16  # pixels of the longer side below which an image shows nothing
OBLONG = 4  # times the shorter side: such an image is squashed beyond recognition, or mostly padding
THUMBNAIL = 96  # side in pixels at which colour and tissue are measured, whatever the image's own size


class Unreadable(Exception):
    """The file is no usable image; the message is the reason, `refusal` that of the system, where it is its."""

    def __init__(self, reason: str, refusal: str | None = None) -> None:
        super().__init__(reason)
        self.refusal = refusal


class Odd(IntFlag):
    """What is odd about an image."""

    BLANK = 1  # all pixels equal
    BLACK = 2
    WHITE = 4
    TRANSPARENT = 8  # everywhere
    TWO_LEVEL = 16  # pixels of two values only
    SMALL = 32
    OBLONG = 64
    GREY16 = 128  # 16-bit grey, scaled by the bits in use
    OWN_COLOUR = 4096  # could not be normalised
    CMYK = 8192  # inks, converted without a profile


class Facts(NamedTuple):
    """What is known of an image besides its pixels.

    width, height: in pixels. bits: what a 16-bit grey file was scaled by, 8 for all other files. odd: flags of Odd.
    The rest: of measures.Measures.
    """

    width: int
    height: int
    bits: int
    odd: int
    sharpness: float
    contrast: float
    tissue: float
    saturation: float
    darkness: float
    clipped: float
    pen: float
    black: float


class Examined(NamedTuple):
    """What one decoding of a file gives: uint8 pixels (size, size, 3), a thumbnail (THUMBNAIL, THUMBNAIL, 3), Facts.

    further: pixels of further views, in which only colours differ.
    """

    pixels: NDArray[np.uint8]
    thumbnail: NDArray[np.uint8]
    facts: Facts
    further: Sequence[NDArray[np.uint8]] = ()


# Pixels of a patch in other colours, those of further views, and whether the first could not be made.
Recolour = Callable[[NDArray[np.uint8]], tuple[NDArray[np.uint8], Sequence[NDArray[np.uint8]], bool]]


def read(path: Path, size: int, resize: Resize) -> NDArray[np.uint8]:
    """Decode an image file. Returns a uint8 array (size, size, 3).

    Transparent pixels are laid over white, which is what glass looks like. 16-bit grey values are scaled by the bits
    that are in use; palette, grey and two-level images become RGB.
    resize: see `fit`. Raises Unreadable with the reason.
    """
    return np.asarray(fit(_decoded(path)[0], size, resize))


def examine(path: Path, size: int, resize: Resize, recolour: Recolour | None = None) -> Examined:
    """Return what `read` does, with a thumbnail of the whole image and its Facts. Raises Unreadable.

    The thumbnail is squashed, whatever `resize` is: without padding, and nothing of the image is cut off. recolour:
    what changes the colours of the pixels, but neither those of padding nor the thumbnail.
    """
    image, bits, odd = _decoded(path)
    resized, views = _resized(image, size, resize), []
    if recolour:
        pixels, others, failed = recolour(np.asarray(resized))
        resized, views = Image.fromarray(pixels), [np.asarray(_padded(Image.fromarray(each), size)) for each in others]
        odd |= Odd.OWN_COLOUR if failed else Odd(0)
    pixels = np.asarray(_padded(resized, size))
    whole = resize == "squash" and size == THUMBNAIL and not recolour
    thumbnail = pixels if whole else np.asarray(fit(image, THUMBNAIL, "squash"))
    return Examined(pixels, thumbnail, Facts(*image.size, bits, int(odd), *measure(image, thumbnail)), views)


def load(path: Path) -> Image.Image:
    """Return an image in 8-bit RGB and its own size, as the encoder sees it. Raises Unreadable."""
    return _decoded(path)[0]


def small(path: Path, side: int) -> Image.Image:
    """Return a whole image in 8-bit RGB and its proportions, its longer side `side` pixels long. Raises Unreadable.

    A JPEG is decoded no larger than that needs.
    """
    image = _decoded(path, side)[0]
    longest = max(image.size)
    size = tuple(max(1, round(length * side / longest)) for length in image.size)
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def sides(path: Path) -> tuple[int, int]:
    """Return width and height from the head of a file, as stored; the pixels are not decoded. Raises Unreadable."""
    with _opened(path) as image:
        return image.size


def shows(path: Path) -> bool:
    """Return whether a file is an image of more than one colour."""
    try:
        return not _decoded(path)[2] & Odd.BLANK
    except Unreadable:
        return False


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Yield the image in a file; whatever goes wrong with it is Unreadable, for damage makes Pillow raise anything."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable(_unknown(path)) from None
    except Exception as error:
        refusal = error.strerror if isinstance(error, OSError) else None
        reason = refusal or " ".join(str(error).replace(str(path), "file").split()) or type(error).__name__
        raise Unreadable(reason, refusal) from None


def _unknown(path: Path) -> str:
    with open(path, "rb") as file:
        if file.read(4) in TIFF:
            return "a TIFF of a kind that is not read, or damaged: export it with 8 bits a colour, as RGB"
    return f"no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image, or its head is damaged"


def _decoded(path: Path, side: int | None = None) -> tuple[Image.Image, int, Odd]:
    """Return an image in 8-bit RGB and its own size, the bits of its Facts, and what is odd about it.

    side: pixels that are enough of each side of a JPEG; None decodes all.
    """
    with _opened(path) as image:
        if side:
            image.draft(None, (side, side))
        wide = any(";16" in str(tile[3]) for tile in image.tile)  # forgotten once the pixels are decoded
        _check_planes(image)
        image.load()
        if image.getexif().get(ORIENTATION, 1) != 1:
            image = ImageOps.exif_transpose(image)
        bits, odd = 8, Odd(0)
        if image.mode == "F":
            raise Unreadable("floating-point pixels have no known white")
        if image.mode.startswith("I"):
            image, bits = _scaled(image)
            odd |= Odd.GREY16
        elif wide and max(high for _, high in image.convert("RGB").getextrema()) < DIM:
            raise Unreadable("16-bit colours that use 14 bits or fewer: export it with 8 bits a colour")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            odd |= Odd.TRANSPARENT if image.getextrema()[3][1] == 0 else Odd(0)
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        odd |= Odd.CMYK if image.mode == "CMYK" else Odd(0)
        image = image if image.mode == "RGB" else image.convert("RGB")
        return image, bits, odd | _oddities(image)


def _check_planes(image: Image.Image) -> None:
    """Raise Unreadable for a TIFF whose colours lie apart in a way that would be read as other colours."""
    if image.format != "TIFF":
        return
    tags = image.tag_v2
    if tags.get(PLANES) == 2 and max(tags.get(BITS_PER_SAMPLE, (8,))) > 8 and image.tile[0][0] == "raw":
        raise Unreadable("16-bit colours in planes: export it with 8 bits a colour")
    if image.mode in ("L", "I;16", "I;16B") and image.n_frames > 1:
        first = image.mode, image.size
        image.seek(1)
        if (image.mode, image.size) == first:
            raise Unreadable("several grey pages of one size, as of channels: export it as RGB")
        image.seek(0)


def _scaled(image: Image.Image) -> tuple[Image.Image, int]:
    """Return whole numbers as 8-bit grey, and the bits of BITS that they were taken to have. Raises Unreadable."""
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high.bit_length() > BITS[-1]:
        raise Unreadable(f"grey values from {low} to {high} have no known white: export it with 8 or 16 bits")
    bits = next(bits for bits in BITS if high.bit_length() <= bits)
    return Image.fromarray((values >> (bits - 8)).astype(np.uint8)), bits


def _oddities(image: Image.Image) -> Odd:
    """Return what is odd about an RGB image."""
    odd, shorter, longer = Odd(0), min(image.size), max(image.size)
    colours = image.getcolors(2) or []  # stops at the third, which most images have at once
    if len(colours) == 1:
        odd |= Odd.BLANK | {(0, 0, 0): Odd.BLACK, (255, 255, 255): Odd.WHITE}.get(colours[0][1], Odd(0))
    elif colours:
        odd |= Odd.TWO_LEVEL
    odd |= Odd.SMALL if longer < SMALL else Odd(0)
    odd |= Odd.OBLONG if longer > OBLONG * shorter else Odd(0)
    return odd


def fit(image: Image.Image, size: int, resize: Resize) -> Image.Image:
    """Make an RGB image square, `size` pixels a side, by antialiased bicubic interpolation.

    squash: both sides to `size`, whatever the proportions. crop: the central square. pad: the whole
    patch in its proportions, centred on white. An image of that size already is left as it is.
    """
    return _padded(_resized(image, size, resize), size)


def _resized(image: Image.Image, size: int, resize: Resize) -> Image.Image:
    """Return what `fit` does, without padding."""
    width, height = image.size
    target, box = (size, size), None
    if resize == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    elif resize == "pad":
        longest = max(width, height)
        target = (max(1, round(width * size / longest)), max(1, round(height * size / longest)))
    # reducing_gap shrinks very large patches by whole pixels first, leaving at least 3 for the filter.
    return image.resize(target, Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


def _padded(image: Image.Image, size: int) -> Image.Image:
    """Return an image on a white square of a side that it does not exceed."""
    if image.size == (size, size):
        return image
    square = Image.new("RGB", (size, size), "white")
    square.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return square
