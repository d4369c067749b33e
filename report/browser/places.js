"use strict";
// Where the patches of a slice lie, and the part of the slice that is in view.
((S) => {
  /** The side of a patch: the smallest step between places in its slice. */
  S.side = (data, slice) => {
    const of = S.ofSlice(data, slice);
    let side = Infinity;
    for (const values of [of.map((i) => data.x[i]), of.map((i) => data.y[i])]) {
      const sorted = [...new Set(values)].sort((a, b) => a - b);
      for (let k = 1; k < sorted.length; k++) side = Math.min(side, sorted[k] - sorted[k - 1]);
    }
    return Number.isFinite(side) ? side : 256;
  };
  S.ofSlice = (data, slice) => data.slice.map((_, i) => i).filter((i) => data.slice[i] === slice);

  /** The patches of a slice and what lies at a place: at(x, y) returns a patch or null. */
  S.places = (data, slice) => {
    const [patches, side, near] = [S.ofSlice(data, slice), S.side(data, slice), new Map()];
    const square = (x, y) => `${Math.floor(x / side)} ${Math.floor(y / side)}`;
    for (const i of patches) {
      const key = square(data.x[i], data.y[i]);
      near.has(key) ? near.get(key).push(i) : near.set(key, [i]);
    }
    const covers = (i, x, y) => x >= data.x[i] && x < data.x[i] + side && y >= data.y[i] && y < data.y[i] + side;
    const at = (x, y) => {
      const around = [0, side].flatMap((dx) => [0, side].flatMap((dy) => near.get(square(x - dx, y - dy)) ?? []));
      return around.find((i) => covers(i, x, y)) ?? null;
    };
    return { data, slice, side, patches, at };
  };

  /** What of the places a canvas shows: the place of its corner, and pixels per unit of place. */
  S.view = (canvas) => {
    const view = { x: 0, y: 0, scale: 1 };
    view.fit = ({ data, side, patches }) => {
      const reach = (values) => values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
      const [[left, right], [top, bottom]] = [data.x, data.y].map((of) => reach(patches.map((i) => of[i])));
      const [wide, high] = [right - left + side, bottom - top + side];
      view.scale = Math.min((canvas.clientWidth - 16) / wide, (canvas.clientHeight - 16) / high);
      view.x = left - (canvas.clientWidth / view.scale - wide) / 2;
      view.y = top - (canvas.clientHeight / view.scale - high) / 2;
    };
    /** Zoom so that what is at a pixel stays there. */
    view.zoom = (factor, side, px = canvas.clientWidth / 2, py = canvas.clientHeight / 2) => {
      const scale = Math.min(400 / side, Math.max(2 / side, view.scale * factor));
      view.x += px / view.scale - px / scale;
      view.y += py / view.scale - py / scale;
      view.scale = scale;
    };
    view.move = (dx, dy) => {
      view.x += dx / view.scale;
      view.y += dy / view.scale;
    };
    view.pixel = (x, y) => [(x - view.x) * view.scale, (y - view.y) * view.scale];
    view.place = (px, py) => [px / view.scale + view.x, py / view.scale + view.y];
    return view;
  };
})(window.stratamil);
