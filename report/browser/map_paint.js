"use strict";
// Paints the map of a slice: thumbnails at their places, framed or tinted by attention or contribution.
((S) => {
  const SMALL = 20; // pixels of a patch below which its colour covers it, instead of framing it

  const colours = (canvas) => {
    const style = getComputedStyle(canvas);
    const names = ["attention", "contribution", "ink", "empty"];
    return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  };

  const thumbnail = (context, data, i, image, x, y, size) => {
    const { px, columns } = S.study;
    const [column, row] = [data.cell[i] % columns, Math.floor(data.cell[i] / columns)];
    context.drawImage(image, column * px, row * px, px, px, x, y, size, size);
  };

  /** Colour a patch by a part from -1 to 1; what counts against is dashed. */
  const tint = (context, part, framed, x, y, size) => {
    context.globalAlpha *= Math.sqrt(Math.abs(part)) * (framed ? 1 : 0.85);
    if (part >= 0 && !framed) return context.fillRect(x, y, size, size);
    const width = Math.max(1, Math.min(4, size / 8));
    context.lineWidth = width;
    context.setLineDash(part < 0 ? [width * 1.5, width] : []);
    context.strokeRect(x + width / 2, y + width / 2, size - width, size - width);
    context.setLineDash([]);
  };

  const marked = (context, grid, { data, patches }, view, size) => {
    context.globalAlpha = 1;
    for (const i of patches) {
      const here = i === grid.pointed || i === grid.active;
      if (!here && !grid.selected.has(i)) continue;
      const [x, y] = view.pixel(data.x[i], data.y[i]);
      context.lineWidth = here ? 3 : 2;
      context.strokeRect(x - 1.5, y - 1.5, size + 3, size + 3);
    }
  };

  /** Paint what is in view. sheet: the image of a sheet by its number, or null until it has come. */
  S.paintMap = (canvas, grid, places, view, sheet) => {
    const { data, side, patches } = places;
    const [dense, wide, high] = [devicePixelRatio, canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(wide * dense)) canvas.width = Math.round(wide * dense);
    if (canvas.height !== Math.round(high * dense)) canvas.height = Math.round(high * dense);
    const [context, colour, size] = [canvas.getContext("2d"), colours(canvas), side * view.scale];
    context.setTransform(dense, 0, 0, dense, 0, 0);
    context.clearRect(0, 0, wide, high);
    const [c, { scale }] = [S.shownClass(data, grid.state), grid];
    const contribution = grid.state.colour === "contribution";
    const [values, largest] = contribution ? [data.contribution[c], scale.contribution] : [data.ratio, scale.ratio];
    for (const i of patches) {
      const [x, y] = view.pixel(data.x[i], data.y[i]);
      if (x + size < 0 || y + size < 0 || x > wide || y > high) continue;
      const image = data.sheet[i] >= 0 && size > 5 ? sheet(data.sheet[i]) : null;
      context.globalAlpha = data.place.has(i) ? 1 : 0.25;
      context.fillStyle = colour.empty;
      if (image) thumbnail(context, data, i, image, x, y, size);
      else context.fillRect(x, y, size - 0.5, size - 0.5);
      context.fillStyle = context.strokeStyle = contribution ? colour.contribution : colour.attention;
      tint(context, values[i] / largest, image && size > SMALL, x, y, size);
    }
    context.strokeStyle = colour.ink;
    marked(context, grid, places, view, size);
  };
})(window.stratamil);
