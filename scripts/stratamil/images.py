"""Patch files to 8-bit RGB arrays of one size."""

import struct
import zlib

import numpy as np
from PIL import Image

# What Pillow raises on files that are damaged, cut short, or no image at all.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    IndexError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class Unreadable(Exception):
    """The file is no usable image; the message is the reason."""


def read(path, size, resize="squash"):
    """Decode an image file. Returns a uint8 array (size, size, 3).

    Transparent pixels are laid over white, which is what glass looks like. 16-bit grey values keep their
    upper 8 bits; palette, grey and two-level images become RGB.
    resize: see `fit`. Raises Unreadable with the reason.
    """
    try:
        with Image.open(path) as image:
            image.load()
    except DAMAGE as error:
        reason = (
            error.strerror if isinstance(error, OSError) and error.strerror else str(error).replace(str(path), "file")
        )
        raise Unreadable(" ".join(reason.split()) or type(error).__name__) from None
    return np.asarray(fit(rgb(image), size, resize))


def rgb(image):
    """The image in 8-bit RGB, as the encoder sees it. Raises Unreadable."""
    if image.mode == "F":
        raise Unreadable("floating-point pixels have no known white")
    if image.mode.startswith("I"):
        image = Image.fromarray((np.clip(np.asarray(image), 0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def fit(image, size, resize):
    """Make an RGB image square, `size` pixels a side, by antialiased bicubic interpolation.

    squash: both sides to `size`, whatever the proportions. crop: the central square. pad: the whole
    patch in its proportions, centred on white. An image of that size already is left as it is.
    """
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
    image = image.resize(target, Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    if target == (size, size):
        return image
    square = Image.new("RGB", (size, size), "white")
    square.paste(image, ((size - target[0]) // 2, (size - target[1]) // 2))
    return square
