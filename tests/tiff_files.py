"""TIFF files as scanners and other programs write them, which Pillow itself cannot write: tiled, 16-bit colour, LAB."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

NONE, LZW, JPEG, DEFLATE = 1, 5, 7, 8
GREY, RGB, YCBCR, CIELAB, ICCLAB = 1, 2, 6, 8, 9


def lzw(data: bytes) -> bytes:
    """Return data in LZW of TIFF, by single bytes alone: a clear code before the codes would need a tenth bit."""
    codes = []
    for begin in range(0, len(data), 250):
        codes += [256, *data[begin : begin + 250]]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def jpeg(values: np.ndarray) -> bytes:
    """Return an RGB tile as a JPEG of full quality, whole in itself."""
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", quality=100, subsampling=0)
    return file.getvalue()


def tiff(
    path: Path,
    values: np.ndarray,
    *,
    tile: int | None = None,
    compression: int = NONE,
    photometric: int = RGB,
    orientation: int = 1,
    planar: bool = False,
) -> Path:
    """Write values (H, W, channels) of 8 or 16 bits; tile: side of its tiles, None is one strip."""
    height, width, channels = values.shape
    parts = [values[..., c : c + 1] for c in range(channels)] if planar else [values]
    blocks = []
    for part in parts:
        if tile:
            padded = np.pad(part, ((0, -height % tile), (0, -width % tile), (0, 0)), mode="edge")
            rows, columns = padded.shape[0] // tile, padded.shape[1] // tile
            blocks += [
                padded[y * tile : (y + 1) * tile, x * tile : (x + 1) * tile]
                for y in range(rows)
                for x in range(columns)
            ]
        else:
            blocks.append(part)
    encode = {NONE: bytes, LZW: lzw, DEFLATE: zlib.compress}
    raw = [block.astype(f"<u{values.itemsize}").tobytes() for block in blocks]
    data = [jpeg(block) for block in blocks] if compression == JPEG else [encode[compression](each) for each in raw]
    entries = {
        256: ("I", [width]), 257: ("I", [height]), 258: ("H", [8 * values.itemsize] * channels),
        259: ("H", [compression]), 262: ("H", [YCBCR if compression == JPEG else photometric]),
        274: ("H", [orientation]), 277: ("H", [channels]), 284: ("H", [2 if planar else 1]),
    }  # fmt: skip
    offsets = [8 + sum(map(len, data[:i])) for i in range(len(data))]
    sizes = list(map(len, data))
    if tile:
        entries |= {322: ("I", [tile]), 323: ("I", [tile]), 324: ("I", offsets), 325: ("I", sizes)}
    else:
        entries |= {273: ("I", offsets), 278: ("I", [height]), 279: ("I", sizes)}
    if compression == JPEG:
        entries[530] = ("H", [1, 1])
    path.write_bytes(_file(entries, b"".join(data)))
    return path


def _file(entries: dict[int, tuple[str, list[int]]], data: bytes) -> bytes:
    directory = 8 + len(data) + len(data) % 2
    beyond = directory + 2 + 12 * len(entries) + 4
    head, tail = struct.pack("<H", len(entries)), b""
    for tag, (kind, numbers) in sorted(entries.items()):
        content = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        place = content.ljust(4, b"\0") if len(content) <= 4 else struct.pack("<I", beyond + len(tail))
        tail += content if len(content) > 4 else b""
        head += struct.pack("<HHI", tag, {"H": 3, "I": 4}[kind], len(numbers)) + place
    return b"II*\0" + struct.pack("<I", directory) + data + b"\0" * (len(data) % 2) + head + bytes(4) + tail
