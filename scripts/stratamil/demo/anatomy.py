"""Lay out the tissue of a painted patch: surface, epithelium, stroma, vessels and cells; FIELD units a side."""

import math
from types import SimpleNamespace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy import ndimage

Map = NDArray[np.float32]
Scene = SimpleNamespace  # what the functions below add, one after the other
FIELD = 96.0
EPITHELIUM, FIBROBLAST, LYMPHOCYTE, MELANOCYTE, NEVUS, ATYPICAL = range(6)
# By kind of cell: the room that it needs, in nuclear radii.
ROOM = np.array([0.88, 0.95, 1.0, 1.15, 1.02, 1.02], np.float32)


class _Canvas:
    """A square of pixels with coordinates in units, noise at any grain, and ellipses drawn into it."""

    def __init__(self, rng: np.random.Generator, pixels: int) -> None:
        self.rng, self.pixels, self.unit = rng, pixels, pixels / FIELD
        axis = ((np.arange(pixels) + 0.5) / self.unit).astype(np.float32)
        self.x, self.y = np.meshgrid(axis, axis)
        # Outlines are drawn on slightly warped paper, so that no nucleus is a perfect ellipse.
        self.warped_x = self.x + 0.7 * self.noise(7) + 0.25 * self.noise(2.5)
        self.warped_y = self.y + 0.7 * self.noise(7) + 0.25 * self.noise(2.5)

    def noise(self, grain: float) -> Map:
        """Return smooth noise of mean 0 and SD about 1 whose blobs are `grain` units wide.

        Made at the image's own size, half the canvas's: what is smooth needs no anti-aliasing.
        """
        knots = int(np.ceil(FIELD / grain)) + 4
        coarse = Image.fromarray(self.rng.standard_normal((knots, knots), np.float32))
        left, top = self.rng.uniform(1, 2, 2)
        box = (left, top, left + FIELD / grain, top + FIELD / grain)
        size = (self.pixels // 2, self.pixels // 2)
        return doubled(np.asarray(coarse.resize(size, Image.Resampling.BICUBIC, box)) * 1.35)

    def sample(self, values: Map, x: ArrayLike, y: ArrayLike) -> Map:
        """Return `values` at points given in units, clamped to the field."""
        column = np.clip(np.asarray(x) * self.unit, 0, self.pixels - 1).astype(int)
        row = np.clip(np.asarray(y) * self.unit, 0, self.pixels - 1).astype(int)
        return values[row, column]

    def ellipses(self, shapes: Map, reach: float) -> tuple[Map, Map, NDArray[np.int32]]:
        """Return each pixel's distance to the nearest ellipse (1 on the outline) and the second, and which is nearest.

        `shapes` has rows x, y, semi-axis a, semi-axis b, angle of a. Pixels beyond `reach` have that distance and
        label -1. Nearest in this distance means that neighbours mould to each other and never overlap.
        """
        nearest = np.full((self.pixels, self.pixels), reach, np.float32)
        second = nearest.copy()
        label = np.full((self.pixels, self.pixels), -1, np.int32)
        x, y, a, b, angle = shapes.T.astype(np.float32)
        axes = np.stack([np.cos(angle) / a, np.sin(angle) / a, -np.sin(angle) / b, np.cos(angle) / b], 1)
        radius = np.maximum(a, b) * reach + 2
        bounds = np.stack([y - radius, y + radius, x - radius, x + radius], 1) * self.unit
        for index, (top, bottom, left, right) in enumerate(np.clip(bounds, 0, self.pixels).astype(int).tolist()):
            window = np.s_[top:bottom, left:right]
            dx, dy = self.warped_x[window] - x[index], self.warped_y[window] - y[index]
            ax, ay, bx, by = axes[index]
            distance = np.sqrt((dx * ax + dy * ay) ** 2 + (dx * bx + dy * by) ** 2)
            best = nearest[window]
            closer = distance < best
            second[window] = np.where(closer, best, np.minimum(second[window], distance))
            label[window] = np.where(closer, index, label[window])
            nearest[window] = np.minimum(best, distance)
        return nearest, second, label


def doubled(values: Map) -> Map:
    """Return a map with every pixel as 2 x 2 pixels."""
    return values.repeat(2, 0).repeat(2, 1)


def lay_out(rng: np.random.Generator, pixels: int, signal: bool, distractor: str) -> Scene:
    """Return a scene: maps of epithelium, stroma, fibres, holes, and cells with their nuclear and cell outlines."""
    canvas = _Canvas(rng, pixels)
    scene = SimpleNamespace(canvas=canvas, rng=rng, signal=signal, distractor=distractor)
    scene.nested = signal or distractor == "nevus"
    _place_layers(scene)
    _place_nests(scene)
    _place_vessel(scene)
    _place_goblets(scene)
    _place_pigment(scene)
    cells = np.concatenate([_nest_cells(scene), _epithelial_cells(scene), _vessel_cells(scene), _stromal_cells(scene)])
    scene.cells = cells = _thin_out(cells)
    scene.kind = cells[:, 5].astype(int)
    scene.nucleus, _, scene.nucleus_of = canvas.ellipses(cells[:, :5], 1.4)
    # A melanocyte's cytoplasm reaches well beyond its nucleus; a lone one has dendrites and is drawn long and narrow.
    bodies = cells[:, :5].copy()
    bodies[:, 2:4] += np.where(scene.kind >= NEVUS, 2.8, 1.3)[:, None]
    bodies[scene.kind == MELANOCYTE, 2] += 2.0
    scene.melanocytes = np.flatnonzero(scene.kind >= MELANOCYTE)
    body, second, owner = canvas.ellipses(bodies[scene.melanocytes], 1.35)
    scene.body = np.clip((1.08 - body) * 5, 0, 1)
    scene.border = np.clip(1 - (second - body) * 7, 0, 1) * scene.body
    scene.body_of = np.where(owner >= 0, np.append(scene.melanocytes, -1)[owner], -1)
    return scene


def of_cells(values: Map, label: NDArray[np.int32]) -> Map:
    """Return `values` (one per cell) spread over a map of cell numbers; 0 where there is no cell."""
    return np.append(values, 0).astype(np.float32)[label]


def _place_layers(scene: Scene) -> None:
    """Place the mucosa: glass above, epithelium, stroma below; `depth` is the distance below the basement membrane."""
    rng, canvas = scene.rng, scene.canvas
    scene.angle = angle = rng.uniform(0, 2 * np.pi)
    scene.thickness = rng.uniform(28, 62)
    # How deep the middle of the patch lies: mostly stroma or the junction, at times mostly glass.
    middle = rng.uniform(-5, 110) if scene.nested else rng.uniform(-scene.thickness - 12, 115)
    slow, quick = (
        (rng.uniform(*swing), 2 * math.pi / rng.uniform(*length), rng.uniform(0, 2 * math.pi))
        for swing, length in [((1, 5), (35, 80)), ((0.4, 2), (14, 30))]
    )

    def wave(along: Map) -> Map:
        return middle + sum(swing * np.sin(pitch * along + phase) for swing, pitch, phase in (slow, quick))

    scene.wave = wave
    x, y = canvas.x - FIELD / 2, canvas.y - FIELD / 2
    scene.along = x * math.cos(angle) + y * math.sin(angle)
    scene.depth = y * math.cos(angle) - x * math.sin(angle) + wave(scene.along)
    ragged = scene.depth + 0.6 * canvas.noise(4)
    scene.stroma = np.clip(ragged * 1.2 + 0.5, 0, 1)
    below_surface = scene.thickness + ragged + 0.8 * canvas.noise(9)
    scene.epithelium = np.clip(below_surface * 0.9 + 0.5, 0, 1) * (1 - scene.stroma)
    scene.fibres, scene.gaps = _fibres(scene)


def _fibres(scene: Scene) -> tuple[Map, Map]:
    """Return the collagen: density of the wavy bundles (mean about 1), and the clear clefts between them (0 to 1)."""
    rng, canvas = scene.rng, scene.canvas
    turn = rng.normal(0, 0.25)
    waves = rng.uniform(1.0, 3.5) * canvas.noise(38) + 0.7 * canvas.noise(15)
    across = scene.depth + scene.along * math.sin(turn) + waves
    along = scene.along * math.cos(turn) + 3 * canvas.noise(30)
    points = np.stack([across, along])[:, ::2, ::2]

    def streaks(width: float, length: float) -> Map:
        table = rng.standard_normal((96, 96), np.float32)
        scaled = points / np.array([width, length], np.float32)[:, None, None]
        return doubled(ndimage.map_coordinates(table, scaled, order=1, mode="grid-wrap") * 1.4)

    bundles = streaks(4.0, 30)
    density = 1 + 0.17 * bundles + 0.22 * streaks(1.3, 13) + 0.13 * canvas.noise(11) + 0.09 * canvas.noise(1.6)
    looseness = rng.uniform(-0.5, 1.0)
    clefts = np.clip((streaks(2.4, 16) + 0.5 * bundles + 0.5 * canvas.noise(18) - 2.0 + looseness) * 1.6, 0, 1)
    return np.clip(density, 0.25, 2), clefts


def _place_nests(scene: Scene) -> None:
    """Place `nest`: 0 to 1 where melanocytes lie back to back; as large in a naevus as in a melanoma."""
    rng, canvas = scene.rng, scene.canvas
    scene.nest = np.zeros_like(canvas.x)
    if not scene.nested:
        return
    count, radius, margin = rng.integers(1, 5), (15, 34), 20
    tissue = scene.stroma + scene.epithelium
    rough = 0.16 * canvas.noise(16)
    candidates = rng.uniform(margin, FIELD - margin, (40, 2)).astype(np.float32)
    candidates = candidates[canvas.sample(scene.depth, *candidates.T) > -0.7 * scene.thickness][:count]
    for x, y in candidates:
        wide, tall = rng.uniform(*radius), rng.uniform(*radius)
        distance = np.hypot((canvas.x - x) / wide, (canvas.y - y) / tall) + rough
        scene.nest = np.maximum(scene.nest, np.clip((1 - distance) * 8, 0, 1))
    scene.nest = scene.nest * np.minimum(tissue, 1)


def _place_vessel(scene: Scene) -> None:
    """Place, at times, a small vessel in the stroma: `lumen` is clear, `wall` surrounds it, `blood` holds red cells."""
    rng, canvas = scene.rng, scene.canvas
    scene.lumen = scene.wall = scene.blood = np.zeros_like(canvas.x)
    scene.vessel = None
    x, y = rng.uniform(5, FIELD - 5, 2)
    if rng.random() > 0.3 or canvas.sample(scene.depth, x, y) < 16 or canvas.sample(scene.nest, x, y) > 0:
        return
    a = rng.uniform(6, 15)
    scene.vessel = np.array([x, y, a, a * rng.uniform(0.45, 0.9), rng.uniform(0, np.pi)])
    distance, _, _ = canvas.ellipses(scene.vessel[None], 2.0)
    scene.lumen = np.clip((1 - distance) * a, 0, 1)
    scene.wall = np.clip((1 + 2.2 / a - distance) * a, 0, 1) - scene.lumen
    scene.nest = scene.nest * (1 - scene.lumen - scene.wall)
    discs = np.concatenate([rng.uniform(0, FIELD, (260, 2)), np.full((260, 2), 3.1), np.zeros((260, 1))], 1)
    discs = discs[(canvas.sample(distance, discs[:, 0], discs[:, 1]) < 0.95)]
    edge, _, _ = canvas.ellipses(discs[: rng.integers(0, 40)], 1.3)
    scene.blood = np.clip((1 - edge) * 4, 0, 1) * (0.72 + 0.28 * np.clip(edge, 0, 1)) * scene.lumen


def _place_goblets(scene: Scene) -> None:
    """Place goblet cells of the upper epithelium: `mucin` is their clear, faintly blue content."""
    rng, canvas = scene.rng, scene.canvas
    count = rng.choice([0, 0, 2, 4, 7])
    along, level = rng.uniform(-60, 60, count), rng.uniform(0.35, 0.85, count)
    x, y = _to_field(scene, along, -level * scene.thickness)
    axes = rng.uniform([6.5, 5.0], [9.5, 6.5], (count, 2))
    shapes = np.column_stack([x, y, axes, np.full(count, scene.angle + np.pi / 2)])
    distance, _, _ = canvas.ellipses(shapes, 1.4)
    scene.mucin = np.clip((1 - distance) * 6, 0, 1) * scene.epithelium * (1 - scene.nest)
    scene.mucin_rim = np.clip(1 - np.abs(distance - 1) * 7, 0, 1) * scene.epithelium * (1 - scene.nest)


def _to_field(scene: Scene, along: Map, depth: Map) -> tuple[Map, Map]:
    """Return the coordinates x, y of points given along and below the basement membrane."""
    below = depth - scene.wave(along)
    cos, sin = np.cos(scene.angle), np.sin(scene.angle)
    return FIELD / 2 + along * cos - below * sin, FIELD / 2 + along * sin + below * cos


def _place_pigment(scene: Scene) -> None:
    """Place `melanin`: granules in melanophages of the stroma, in basal cells, and dusted over a nest."""
    rng, canvas = scene.rng, scene.canvas
    granules = np.clip(0.3 + 0.4 * canvas.noise(1.8) + 0.25 * canvas.noise(4.5), 0.05, 0.95)
    where = np.zeros_like(canvas.x)
    if scene.distractor == "pigment":
        count = rng.integers(3, 16)
        axes = rng.uniform([3.5, 2], [8, 4.5], (count, 2))
        spots = np.column_stack([rng.uniform(0, FIELD, (count, 2)), axes, rng.uniform(0, np.pi, count)])
        spots = spots[canvas.sample(scene.depth, spots[:, 0], spots[:, 1]) > 4]
        distance, _, _ = canvas.ellipses(spots, 1.4)
        where = np.clip((1.1 - distance) * 2, 0, 1) * 1.1
    basal = np.exp(-(((scene.depth + 5) / 4) ** 2)) * np.clip(canvas.noise(12) - 0.6, 0, 1)
    dusted = np.clip(canvas.noise(11) - rng.uniform(0.3, 2.2), 0, 1) * scene.nest * 0.6
    scene.melanin = granules * (where + 0.5 * basal * (scene.distractor == "pigment") + dusted)


def _nest_cells(scene: Scene) -> Map:
    """Return the nuclei of the nests, of the same area: long, bent and at odds in a melanoma, round in a naevus."""
    rng, canvas = scene.rng, scene.canvas
    if not scene.nest.any():
        return np.empty((0, 6), np.float32)
    x, y = rng.uniform(-6, FIELD + 6, (2, 450))
    inside = canvas.sample(scene.nest, x, y) > 0.5
    x, y = x[inside], y[inside]
    size = rng.lognormal(np.log(rng.uniform(4.4, 5.4)), 0.12, len(x))
    stretch = np.sqrt(rng.uniform(*((2.2, 3.4) if scene.signal else (1.0, 1.15)), len(x)))
    kind = ATYPICAL if scene.signal else NEVUS
    angle = rng.uniform(0, np.pi, len(x))
    return _as_cells(x, y, a=size * stretch, b=size / stretch, angle=angle, kind=kind)


def _as_cells(x: ArrayLike, y: ArrayLike, *, a: ArrayLike, b: ArrayLike, angle: ArrayLike, kind: ArrayLike) -> Map:
    """Return rows x, y, a, b, angle, kind of the nuclei that can be seen."""
    cells = np.column_stack(np.broadcast_arrays(x, y, a, b, angle, kind)).astype(np.float32).reshape(-1, 6)
    return cells[(np.abs(cells[:, :2] - FIELD / 2) < FIELD / 2 + 10).all(1)]


def _epithelial_cells(scene: Scene) -> Map:
    """Return the nuclei in rows, upright at the base, flat at the surface; one basal cell in eight is a melanocyte."""
    rng = scene.rng
    rows = []
    for depth in np.arange(-5.5, -scene.thickness + 3, -8.2):
        height = -depth / scene.thickness
        along = np.arange(-80, 80, 7.6 + 4 * height) + rng.uniform(0, 8)
        along = along + rng.normal(0, 1.3, len(along))
        x, y = _to_field(scene, along, depth + rng.normal(0, 1.3, len(along)))
        jitter = rng.lognormal(0, 0.12, (2, len(along)))
        upright, flat = (5.2 - 2.6 * height) * jitter[0], (3.3 + 1.2 * height) * jitter[1]
        lone = (depth > -6) & (rng.random(len(along)) < 0.12)
        kind = np.where(lone, MELANOCYTE, EPITHELIUM)
        upright, flat = np.where(lone, 2.9, upright), np.where(lone, 3.6, flat)
        angle = scene.angle + np.pi / 2 + rng.normal(0, 0.2, len(along))
        rows.append(_as_cells(x, y, a=upright, b=flat, angle=angle, kind=kind))
    cells = np.concatenate(rows)
    blocked = np.maximum(scene.nest, scene.mucin)
    return cells[scene.canvas.sample(blocked, cells[:, 0], cells[:, 1]) < 0.3]


def _vessel_cells(scene: Scene) -> Map:
    """Return the flat endothelial nuclei around a vessel."""
    if scene.vessel is None:
        return np.empty((0, 6), np.float32)
    x, y, a, b, angle = scene.vessel
    turn = scene.rng.uniform(0, 2 * np.pi, int(a * 0.6) + 2)
    along, across = (a + 1.4) * np.cos(turn), (b + 1.4) * np.sin(turn)
    cos, sin = np.cos(angle), np.sin(angle)
    tangent = angle + np.arctan2((b + 1.4) * np.cos(turn), -(a + 1.4) * np.sin(turn))
    x, y = x + along * cos - across * sin, y + along * sin + across * cos
    return _as_cells(x, y, a=4.2, b=1.4, angle=tangent, kind=FIBROBLAST)


def _stromal_cells(scene: Scene) -> Map:
    """Return the lymphocytes, many of them in an inflamed case, and spindle nuclei along the fibres."""
    rng, canvas = scene.rng, scene.canvas
    round_ones = int(rng.poisson(4)) + (rng.integers(20, 70) if scene.distractor == "inflammation" else 0)
    spindles = int(rng.integers(8, 24))
    total = round_ones + spindles
    x, y = rng.uniform(-5, FIELD + 5, (2, total))
    if scene.distractor == "inflammation":
        crowd = rng.uniform(0, FIELD, 2)[:, None] + rng.normal(0, 22, (2, round_ones))
        x[:round_ones], y[:round_ones] = crowd
    size = rng.normal(3.5, 0.25, total)
    a, b = size * rng.uniform(1, 1.12, total), size
    a[round_ones:], b[round_ones:] = rng.uniform(4, 8, spindles), rng.uniform(1.1, 1.9, spindles)
    kind = np.where(np.arange(total) < round_ones, LYMPHOCYTE, FIBROBLAST)
    cells = _as_cells(x, y, a=a, b=b, angle=scene.angle + rng.normal(0, 0.3, total), kind=kind)
    free = canvas.sample(scene.depth, cells[:, 0], cells[:, 1]) > 3
    blocked = np.maximum(np.maximum(scene.nest, scene.lumen), scene.wall)
    return cells[free & (canvas.sample(blocked, cells[:, 0], cells[:, 1]) < 0.3)]


def _thin_out(cells: Map) -> Map:
    """Return `cells` without those that would overlap an earlier one."""
    room = np.sqrt(cells[:, 2] * cells[:, 3]) * ROOM[cells[:, 5].astype(int)]
    kept = np.zeros(len(cells), bool)
    for index, (x, y) in enumerate(cells[:, :2]):
        gap = np.hypot(cells[:index, 0] - x, cells[:index, 1] - y) - room[:index] - room[index]
        kept[index] = not (gap[kept[:index]] < 0).any()
    return cells[kept]
