"""Paint histology patches: conjunctival mucosa in H&E, Melan-A and SOX10, with or without melanoma nests.

A patch is first laid out as tissue (surface, epithelium, stroma, vessels, cells), then stained, then photographed.
Lengths are in units of 1/96 of the patch's side, about half a micrometre, so the same scene can be painted at any size.
The layout is in anatomy.py.
"""

import math
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from stratamil.demo.anatomy import ATYPICAL, EPITHELIUM, MELANOCYTE, NEVUS, Map, Scene, lay_out, of_cells

Look = SimpleNamespace  # see `staining`

STAINS = ("h&e", "melan", "sox10")

# Optical density in red, green and blue of one unit of stain: Ruifrok AC, Johnston DA. Quantification of
# histochemical staining by color deconvolution. Anal Quant Cytol Histol 2001;23:291-299, as tabulated in ImageJ's
# colour deconvolution for H&E and for H DAB. Melanin and red cells are estimates by eye.
HEMATOXYLIN = (0.644, 0.717, 0.267)
COUNTERSTAIN = (0.650, 0.704, 0.286)
EOSIN = (0.093, 0.954, 0.283)
DAB = (0.268, 0.570, 0.776)
MELANIN = (0.42, 0.60, 0.68)
RED_CELLS = (0.08, 0.88, 0.46)

# By kind of cell, in the order of anatomy: nuclear hematoxylin, how vesicular its nucleus is.
CHROMATIN = np.array([0.86, 0.95, 1.2, 1.05, 0.92, 0.92], np.float32)
VESICULAR = np.array([0.32, 0.15, 0.1, 0.1, 0.4, 0.4], np.float32)


def paint(
    rng: np.random.Generator, stain: str, side: int, look: Look, signal: bool = False, distractor: str = ""
) -> NDArray[np.uint8]:
    """Return one patch as (side, side, 3).

    `look` comes from `staining` and is shared by a case's patches of a stain. `signal` plants confluent nests of
    melanocytes with long nuclei. `distractor` is "", "nevus" (the same nests with round nuclei, of the same size and
    colour), "pigment" (melanophages) or "inflammation".
    """
    scene = lay_out(rng, 2 * side, signal, distractor)
    stained = _he(scene) if stain == "h&e" else _ihc(scene, nuclear=stain == "sox10", look=look)
    return _photograph(rng, stained, look)


def staining(rng: np.random.Generator) -> Look:
    """Return how a case's sections of one stain came out: strengths and hues of the dyes, the glass and the focus."""
    return SimpleNamespace(
        strength=rng.lognormal(0, [0.12, 0.16, 0.18, 0.1, 0.1]),
        hue=rng.normal(0, 0.016, (5, 3)),
        unspecific=rng.uniform(0.0, 0.05),
        glass=np.array([244, 243, 244]) + rng.normal(0, [2, 2, 2.5]),
        focus=rng.uniform(0.3, 0.6),
    )


def _nuclei(scene: Scene) -> tuple[Map, Map, Map]:
    """Return the hematoxylin of the nuclei, their coverage, and their nucleoli.

    Chromatin is clumped; a vesicular nucleus is pale inside with a dark membrane.
    """
    rng, canvas = scene.rng, scene.canvas
    size = np.sqrt(scene.cells[:, 2] * scene.cells[:, 3])
    radius = of_cells(size, scene.nucleus_of)
    cover = np.clip((1.04 - scene.nucleus) * radius * 1.1, 0, 1)
    strength = CHROMATIN[scene.kind] * rng.lognormal(0, np.where(scene.kind >= NEVUS, 0.2, 0.13))
    pale = np.clip(VESICULAR[scene.kind] + rng.normal(0, 0.14, len(size)), 0, 0.72)
    clumps = 0.2 * canvas.noise(2.4) + 0.14 * canvas.noise(1.2)
    membrane = np.exp(-(((scene.nucleus - 0.93) * radius / 0.75) ** 2))
    inside = 1 - of_cells(pale, scene.nucleus_of) + clumps * (0.6 + of_cells(pale, scene.nucleus_of))
    density = np.clip(np.maximum(inside, 0.95 * membrane), 0.12, 1.3) * of_cells(strength, scene.nucleus_of)
    return density * cover, cover, _nucleoli(scene, size)


def _nucleoli(scene: Scene, size: Map) -> Map:
    """Return the nucleoli: one or two in melanocytes of a nest, dot-like in some epithelial cells."""
    rng, cells = scene.rng, scene.cells
    prominent = (scene.kind >= NEVUS) & (rng.random(len(cells)) < 0.85)
    dots = (scene.kind == EPITHELIUM) & (rng.random(len(cells)) < 0.35)
    chosen = np.concatenate([np.flatnonzero(prominent), np.flatnonzero(prominent & (rng.random(len(cells)) < 0.3))])
    chosen = np.concatenate([chosen, np.flatnonzero(dots)])
    radius = np.where(scene.kind[chosen] >= NEVUS, size[chosen] * rng.uniform(0.18, 0.26, len(chosen)), 0.8)
    offset = rng.normal(0, 0.25, (len(chosen), 2)) * size[chosen, None]
    shapes = np.column_stack([cells[chosen, :2] + offset, radius, radius, np.zeros(len(chosen))])
    distance, _, _ = scene.canvas.ellipses(shapes, 1.6)
    return np.clip((1.25 - distance) * 2, 0, 1)


def _background(scene: Scene) -> tuple[Map, Map]:
    """Return where there is stroma and epithelial cytoplasm; nests displace both."""
    closed = (1 - scene.lumen) * (1 - scene.nest)
    stroma = scene.stroma * scene.fibres * (1 - 0.93 * scene.gaps) * closed
    epithelium = scene.epithelium * (1 - scene.mucin) * (1 - scene.nest)
    return stroma, epithelium


def _he(scene: Scene) -> Map:
    """Return the dye maps (5, H, W): hematoxylin, eosin, DAB, melanin, red cells."""
    canvas = scene.canvas
    nuclei, cover, nucleoli = _nuclei(scene)
    stroma, epithelium = _background(scene)
    grainy = 1 + 0.16 * canvas.noise(2) + 0.12 * canvas.noise(7)
    cytoplasm = scene.nest * (0.55 + 0.45 * scene.body) * (1 - 0.45 * scene.border)
    halo = of_cells(scene.kind == MELANOCYTE, scene.body_of) * scene.body * (1 - cover)
    eosin = 0.19 * stroma + (0.17 * epithelium * (1 - 0.8 * halo) + 0.19 * cytoplasm) * grainy
    eosin += 0.32 * scene.wall + 0.04 * scene.mucin + 0.14 * scene.mucin_rim
    hematoxylin = 0.04 * stroma + (0.11 * epithelium * (1 - 0.8 * halo) + 0.24 * cytoplasm) * grainy
    hematoxylin += 0.09 * scene.mucin * grainy + 0.06 * scene.mucin_rim
    eosin = eosin * (1 - 0.75 * cover) + 0.16 * cover + 0.3 * nucleoli * cover
    hematoxylin = hematoxylin * (1 - cover) + nuclei * 0.95 + 0.5 * nucleoli * cover
    no_dab = np.zeros_like(eosin)
    return np.stack([hematoxylin, eosin, no_dab, scene.melanin, 0.5 * scene.blood])


def _ihc(scene: Scene, nuclear: bool, look: Look) -> Map:
    """Return the dye maps of an immunostain: brown nuclei of melanocytes (SOX10), or brown cytoplasm (Melan-A)."""
    rng, canvas = scene.rng, scene.canvas
    nuclei, cover, nucleoli = _nuclei(scene)
    stroma, epithelium = _background(scene)
    grainy = np.clip(1 + 0.13 * canvas.noise(1.7) + 0.16 * canvas.noise(5), 0.2, 2)
    counter = 0.033 * stroma + (0.075 * epithelium + 0.06 * scene.nest) * grainy + 0.03 * scene.mucin_rim
    counter = counter * (1 - cover) + 0.5 * nuclei + 0.12 * nucleoli * cover
    brown = look.unspecific * (0.5 * stroma + epithelium + scene.nest)
    depth = {MELANOCYTE: 0.8, NEVUS: 0.95, ATYPICAL: 0.95}
    strength = np.array([depth.get(kind, 0) for kind in scene.kind]) * rng.lognormal(0, 0.28, len(scene.kind))
    if nuclear:
        taken = of_cells(strength, scene.nucleus_of) * cover
        brown = brown + taken * np.clip(0.75 + 0.35 * nuclei + 0.25 * (grainy - 1), 0.3, 1.6)
        counter = counter * (1 - 0.45 * (taken > 0))
    else:
        taken = of_cells(strength, scene.body_of) * scene.body
        taken = np.maximum(taken, 0.6 * scene.nest * (scene.kind >= NEVUS).any())
        brown = brown + taken * grainy * (1 - 0.3 * scene.border) * (1 - 0.8 * cover)
    no_eosin = np.zeros_like(brown)
    return np.stack([counter, no_eosin, brown, 0.9 * scene.melanin + 0.1 * scene.blood, 0.06 * scene.blood])


def _photograph(rng: np.random.Generator, dyes: Map, look: Look) -> NDArray[np.uint8]:
    """Return the image of dye maps: Beer-Lambert, then half size, focus and sensor noise.

    Light is glass x 10^-(sum of dye x its optical density).
    """
    # With eosin the hematoxylin is the H&E one; a counterstain has the vector published for H DAB.
    vectors = np.array([HEMATOXYLIN if dyes[1].any() else COUNTERSTAIN, EOSIN, DAB, MELANIN, RED_CELLS]) + look.hue
    vectors = np.maximum(vectors, 0.02) / np.linalg.norm(vectors, axis=1, keepdims=True) * look.strength[:, None]
    density = np.einsum("dc,dhw->chw", vectors.astype(np.float32), np.maximum(dyes, 0))
    light = look.glass[:, None, None].astype(np.float32) * np.exp(-math.log(10) * density)
    light = sum(light[:, top::2, left::2] for top in (0, 1) for left in (0, 1)) / 4
    light = ndimage.gaussian_filter(light, (0, look.focus, look.focus))
    light += 1.6 * rng.standard_normal(light.shape, np.float32)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8).transpose(1, 2, 0)
