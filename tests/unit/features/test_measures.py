"""What is measured of a patch's quality: by made tissue, glass, blur, ink and light, whatever the size of the file."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from stratamil.features import images, measures

RNG = np.random.default_rng(0)
STAINS = {"eosin and haematoxylin": (170, 80, 160), "DAB": (150, 110, 70), "faint": (222, 220, 228)}


VIEW = np.random.default_rng(1).integers(0, 256, (48, 48), dtype=np.uint8)


def spots(side, color=(170, 80, 160)):
    """Spots of a colour on white: one view, stored with `side` pixels."""
    share = np.asarray(Image.fromarray(VIEW).resize((side, side), Image.Resampling.BICUBIC))[..., None] / 255
    return Image.fromarray((255 - share * (255 - np.array(color))).astype(np.uint8))


def glass(side, level=235):
    """Noise around the brightness of glass, darker towards one side, as JPEG makes of it."""
    noise = level - np.linspace(0, 8, side)[:, None, None] + RNG.normal(0, 3, (side, side, 3))
    return Image.fromarray(noise.clip(0, 255).astype(np.uint8))


def measured(image):
    return measures.measure(image, np.asarray(images.fit(image, images.THUMBNAIL, "squash")))


@pytest.mark.parametrize("side", [48, 74, 224, 600])
def test_a_blur_lowers_the_sharpness_whatever_the_size(side):
    tissue = spots(side)
    found = [measured(tissue.filter(ImageFilter.GaussianBlur(share * side))) for share in (0, 0.01, 0.02, 0.05)]
    sharp = [each.sharpness for each in found]
    assert sharp == sorted(sharp, reverse=True) and sharp[3] < 0.1 * sharp[0]
    assert found[0].darkness == pytest.approx(found[3].darkness, abs=0.01)  # blur changes nothing else


def test_sharpness_is_that_of_the_view_whatever_the_pixels_of_the_file():
    tissue = spots(700)
    sharp = measured(tissue).sharpness
    for side in (256, 333, 500):
        smaller = tissue.resize((side, side), Image.Resampling.BICUBIC)
        assert measured(smaller).sharpness == pytest.approx(sharp, rel=0.2)
    assert measured(Image.new("RGB", (50, 50), "pink")).sharpness == 0
    assert measured(Image.new("RGB", (2, 900), "pink")).sharpness == 0


def test_sharpness_is_the_variance_of_the_laplacian():
    grey = RNG.integers(0, 256, (9, 8)).astype(np.int16)
    laplacian = [
        grey[y - 1, x] + grey[y + 1, x] + grey[y, x - 1] + grey[y, x + 1] - 4 * grey[y, x]
        for y in range(1, 8)
        for x in range(1, 7)
    ]
    assert measures.sharpness(grey) == pytest.approx(np.var(laplacian), rel=1e-4)


@pytest.mark.parametrize("side", [48, 224, 700])
@pytest.mark.parametrize("level", [255, 235, 215])
def test_glass_holds_no_tissue_and_a_faint_stain_does(side, level):
    assert measured(glass(side, level)).tissue < 0.01
    dark = level / 255
    for name, color in STAINS.items():
        seen = Image.fromarray((np.asarray(spots(side, color)) * dark).astype(np.uint8))
        assert measured(seen).tissue > 0.1, name


def test_tissue_counts_by_its_area():
    image = Image.new("RGB", (200, 200), (240, 240, 240))
    ImageDraw.Draw(image).rectangle((0, 0, 199, 49), fill=(150, 90, 160))
    assert measured(image).tissue == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("ink", [(40, 70, 180), (30, 140, 70), (20, 50, 160)])
def test_blue_and_green_ink_is_seen_on_any_stain_and_is_in_none(ink):
    for name, color in STAINS.items():
        tissue = spots(128, color)
        assert measured(tissue).pen < 0.01, name
        drawn = Image.new("RGB", tissue.size, ink)
        mask = Image.new("L", tissue.size)
        ImageDraw.Draw(mask).line([(0, 20), (128, 90)], fill=220, width=20)
        assert measured(Image.composite(drawn, tissue, mask)).pen > 0.05, name


def test_light_is_seen():
    pixels = np.asarray(spots(96)).astype(float)
    plain, over, under = (
        measured(Image.fromarray((pixels * light).clip(0, 255).astype(np.uint8))) for light in (0.98, 1.4, 0.2)
    )
    assert over.clipped > 0.1 > plain.clipped == under.clipped == 0
    assert under.darkness > 0.8 > plain.darkness > over.darkness
    assert plain.saturation == pytest.approx(under.saturation, abs=0.03) and over.saturation < plain.saturation
    grey = measured(ImageOps.grayscale(spots(96)).convert("RGB"))
    assert grey.saturation == 0 and measured(Image.new("RGB", (60, 60), (40, 40, 45))).black == 1
