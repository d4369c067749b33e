"""What an image file becomes, what is said about odd ones, and that no other program is started to read one."""

import os
import re
import struct
import zlib

import numpy as np
import pytest
import tiff_files
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from repository import REPOSITORY
from tiff_files import CIELAB, ICCLAB, LZW, tiff

from stratamil.core import names
from stratamil.features import images, store
from stratamil.features.images import Odd

SCRIPTS = REPOSITORY / "scripts"
RNG = np.random.default_rng(0)
TISSUE = RNG.integers(60, 250, (24, 24, 3), dtype=np.uint8)


def png(path, values):
    """Write values of 16 bits (H, W, channels) as a PNG, which Pillow cannot do for colours."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def odd(path):
    return Odd(images.examine(path, 16, "squash").facts.odd)


def test_only_one_place_opens_images_and_names_their_formats():
    calls = [
        (file.name, line.strip())
        for file in SCRIPTS.rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.search(r"\bImage\.open\(|imread\(|ImageFile\.Parser", line)
    ]
    own = ("thumbnails.py", 'with Image.open(folder / sheet_name(number), formats=("WEBP",)) as sheet:')
    assert sorted(calls) == [("images.py", "with Image.open(path, formats=FORMATS) as image:"), own]
    registered = Image.registered_extensions()
    assert {registered[suffix] for suffix in names.IMAGE_SUFFIXES} == set(images.FORMATS)


@pytest.mark.parametrize("content", [
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 74 74\n%%EndComments\n0 0 74 74 rectfill\nshowpage\n%%EOF\n",
    b'<svg xmlns="http://www.w3.org/2000/svg" width="74" height="74"/>',
    b"%PDF-1.4\n",
    b"P6 2 2 255\n" + bytes(12),
])  # fmt: skip
def test_what_is_no_image_of_the_five_formats_starts_nothing(tmp_path, monkeypatch, content):
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for look in (lambda: images.read(path, 16, "squash"), lambda: images.load(path), lambda: images.sides(path)):
        with pytest.raises(images.Unreadable, match="no PNG, JPEG, TIFF, WEBP or BMP image"):
            look()
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("kind", ["GIF", "PPM", "ICO"])
def test_other_formats_are_refused_and_the_five_are_read_whatever_their_suffix(tmp_path, kind):
    path = tmp_path / "a.png"
    Image.fromarray(TISSUE).save(path, format=kind)
    with pytest.raises(images.Unreadable, match="no PNG"):
        images.read(path, 24, "squash")
    for good in images.FORMATS:
        Image.new("RGB", (24, 24), (200, 100, 50)).save(path, format=good)
        assert np.abs(images.read(path, 24, "squash")[3, 3].astype(int) - (200, 100, 50)).max() < 5, good
        assert images.sides(path) == (24, 24)


WIDE = RNG.integers(60, 250, (40, 56, 3), dtype=np.uint8)
# Of a CIELAB file, lightness of 0 to 255 and colours around 0; what colour it is in sRGB, of white to D50.
LAB = {(255, 0, 0): (255, 255, 255), (128, 0, 0): (119, 119, 119), (0, 0, 0): (0, 0, 0), (136, 80, 67): (250, 3, 11)}


def pixels(path):
    """The pixels that the encoder would see, at their own size."""
    return np.asarray(images.load(path)).astype(int)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("tile", [None, 16, 32])
@pytest.mark.parametrize("compression", ["NONE", "LZW", "DEFLATE", "JPEG"])
def test_tiff_in_strips_and_tiles_packed_and_of_16_bits(tmp_path, compression, tile, bits):
    values = WIDE if bits == 8 else WIDE.astype(np.uint16) * 257
    if compression == "JPEG" and bits == 16:
        pytest.skip("JPEG has 8 bits")
    path = tiff(tmp_path / "a.tif", values, tile=tile, compression=getattr(tiff_files, compression))
    assert np.abs(pixels(path) - WIDE).max() <= (3 if compression == "JPEG" else 0)


@pytest.mark.parametrize("tile", [None, 16])
def test_a_tiff_in_planes_is_read_or_refused_but_never_with_other_colours(tmp_path, tile):
    assert (pixels(tiff(tmp_path / "a.tif", WIDE, planar=True, tile=tile)) == WIDE).all()
    wide = WIDE.astype(np.uint16) * 257
    assert (pixels(tiff(tmp_path / "a.tif", wide, planar=True, tile=tile, compression=LZW)) == WIDE).all()
    with pytest.raises(images.Unreadable, match="16-bit colours in planes: export it with 8 bits a colour"):
        pixels(tiff(tmp_path / "a.tif", wide, planar=True, tile=tile))


def test_a_tiff_of_lab_becomes_rgb_and_of_more_than_8_bits_is_refused(tmp_path):
    values = np.array([list(LAB)], np.int16).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    for packed in ({}, {"tile": 16, "compression": LZW}):
        found = pixels(tiff(tmp_path / "a.tif", values, photometric=CIELAB, **packed))[0, ::4]
        assert np.abs(found - list(LAB.values())).max() <= 1
    for kind, wide in ((CIELAB, values.astype(np.uint16) * 257), (ICCLAB, values)):
        with pytest.raises(images.Unreadable, match="a TIFF of a kind that is not read, or damaged: export it with 8"):
            pixels(tiff(tmp_path / "a.tif", wide, photometric=kind))


def test_pages_of_a_tiff_are_a_pyramid_or_refused(tmp_path):
    whole, path = Image.fromarray(WIDE), tmp_path / "a.tif"
    whole.save(path, save_all=True, append_images=[whole.resize((28, 20))])
    assert (pixels(path) == WIDE).all()
    red, green, blue = whole.split()
    red.save(path, save_all=True, append_images=[red.resize((28, 20))])
    assert (pixels(path)[..., 2] == WIDE[..., 0]).all()
    red.save(path, save_all=True, append_images=[green, blue])
    with pytest.raises(images.Unreadable, match="several grey pages of one size, as of channels: export it as RGB"):
        pixels(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_orientation_says(tmp_path, kind, orientation):
    """Turned back with the tag, a corner is where it was: as a viewer shows it."""
    corner = Image.new("RGB", (40, 24), "white")
    corner.paste((180, 20, 60), (0, 0, 20, 12))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that undoes each
    stored = corner.transpose(Image.Transpose(back[orientation])) if orientation > 1 else corner
    exif = Image.Exif()
    exif[0x112] = orientation
    stored.save(tmp_path / "a.x", format=kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    found = images.load(tmp_path / "a.x")
    assert found.size == (40, 24) and np.abs(np.asarray(found).astype(int) - np.asarray(corner)).mean() < 5
    assert images.examine(tmp_path / "a.x", 24, "squash").facts[:2] == (40, 24)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_colour_profile_is_not_applied(tmp_path, kind):
    """Scanners embed one; published encoders were trained on pixels as they are stored."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    for name, more in (("with", {"icc_profile": profile}), ("without", {})):
        Image.fromarray(WIDE).save(tmp_path / name, format=kind, **more)
    with Image.open(tmp_path / "with") as image:
        assert image.info["icc_profile"] == profile
    assert (pixels(tmp_path / "with") == pixels(tmp_path / "without")).all()


def test_the_first_of_several_pictures_in_a_jpeg_is_read(tmp_path):
    first, second = Image.new("RGB", (24, 24), (200, 100, 50)), Image.new("RGB", (24, 24), "blue")
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert np.abs(images.read(tmp_path / "a.jpg", 24, "squash")[0, 0].astype(int) - (200, 100, 50)).max() < 5


@settings(max_examples=30, deadline=None)
@given(bits=st.integers(1, 16), seed=st.integers(0, 99))
def test_16_bit_grey_is_scaled_by_the_bits_in_use(tmp_path_factory, bits, seed):
    """As an 8-bit image of the same view would be: to within one, and in the same order."""
    path = tmp_path_factory.mktemp("grey") / "a.png"
    values = np.random.default_rng(seed).integers(0, 2**bits, (24, 24)).astype(np.uint16)
    values[0, 0] = 2**bits - 1
    Image.fromarray(values).save(path)
    used = next(each for each in (8, 10, 12, 14, 16) if each >= bits)
    found, _, facts, _ = images.examine(path, 24, "squash")
    assert (found[..., 0] == values // 2 ** (used - 8)).all() and facts.bits == used
    assert facts.odd & Odd.GREY16
    Image.fromarray(values).save(path.with_suffix(".tif"))
    assert (images.read(path.with_suffix(".tif"), 24, "squash") == found).all()


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bit_colour_is_read_or_refused_but_never_black_without_a_word(tmp_path, channels):
    tissue = np.dstack([TISSUE, TISSUE[..., :1]])[..., :channels].astype(np.uint16)
    if channels in (2, 4):
        tissue[..., -1] = 65535 >> 8
    found = images.read(png(tmp_path / "a.png", tissue * 257), 24, "squash")
    assert (found[..., 0] == TISSUE[..., 0]).all()
    for narrow in (tissue, tissue * 16, tissue * 64):  # 8, 12 and 14 bits
        narrow[..., -1] = 65535 if channels in (2, 4) else narrow[..., -1]
        with pytest.raises(images.Unreadable, match="export it with 8 bits"):
            images.read(png(tmp_path / "a.png", narrow), 24, "squash")


@pytest.mark.parametrize("value", [-5, 70000])
def test_grey_values_without_a_known_white_are_refused(tmp_path, value):
    values = np.full((24, 24), 7, np.int32)
    values[3, 3] = value
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(images.Unreadable, match="no known white"):
        images.read(tmp_path / "a.tif", 24, "squash")


@pytest.mark.parametrize("image, expected", [
    (Image.fromarray(TISSUE), Odd(0)),
    (Image.new("RGB", (24, 24), "black"), Odd.BLANK | Odd.BLACK),
    (Image.new("L", (24, 24), 255), Odd.BLANK | Odd.WHITE),
    (Image.new("RGB", (24, 24), (240, 238, 241)), Odd.BLANK),
    (Image.fromarray(np.dstack([TISSUE, np.zeros((24, 24), np.uint8)])), Odd.BLANK | Odd.WHITE | Odd.TRANSPARENT),
    (Image.fromarray(np.dstack([TISSUE, np.full((24, 24), 9, np.uint8)])), Odd(0)),
    (Image.fromarray(TISSUE[..., 0] > 128), Odd.TWO_LEVEL),
    (Image.fromarray(((TISSUE[..., 0] > 128) * 255).astype(np.uint8)), Odd.TWO_LEVEL),
    (Image.new("RGB", (1, 1), "pink"), Odd.BLANK | Odd.SMALL),
    (Image.fromarray(np.tile(TISSUE, (1, 5, 1))), Odd.OBLONG),
    (Image.fromarray(np.tile(TISSUE, (1, 4, 1))), Odd(0)),
])  # fmt: skip
def test_what_is_odd_about_an_image(tmp_path, image, expected):
    for suffix in ("png", "tif"):
        image.save(tmp_path / f"a.{suffix}")
        assert odd(tmp_path / f"a.{suffix}") == expected
    facts = images.examine(tmp_path / "a.png", 16, "squash").facts
    assert (facts.width, facts.height) == image.size
    assert set(images.Facts._fields) == set(store.FACTS)


@pytest.mark.parametrize("kind", ["tif", "jpg"])
def test_inks_are_read_as_colours_and_told(tmp_path, kind):
    Image.fromarray(TISSUE).convert("CMYK").save(tmp_path / f"a.{kind}")
    (tmp_path / f"a.{kind}").rename(tmp_path / "a.png")
    assert odd(tmp_path / "a.png") == Odd.CMYK


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [32, images.THUMBNAIL])
def test_the_thumbnail_shows_the_whole_image_however_the_encoder_s_is_made(tmp_path, resize, size):
    Image.fromarray(np.tile(TISSUE, (4, 7, 1))).save(tmp_path / "a.png")
    pixels, thumbnail, *_ = images.examine(tmp_path / "a.png", size, resize)
    assert (pixels == images.read(tmp_path / "a.png", size, resize)).all()
    assert (thumbnail == images.read(tmp_path / "a.png", images.THUMBNAIL, "squash")).all()
