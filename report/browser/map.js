"use strict";
// The map of a slice, where patches have places: drag to move, wheel or + and - to zoom, linked with the grid.
((S) => {
  const { el } = S;

  /** The side of a patch: the smallest step between places in its slice. */
  S.side = (data, slice) => {
    const of = data.slice.map((_, i) => i).filter((i) => data.slice[i] === slice);
    let side = Infinity;
    for (const values of [of.map((i) => data.x[i]), of.map((i) => data.y[i])]) {
      const sorted = [...new Set(values)].sort((a, b) => a - b);
      for (let k = 1; k < sorted.length; k++) side = Math.min(side, sorted[k] - sorted[k - 1]);
    }
    return Number.isFinite(side) ? side : 256;
  };

  S.map = (grid) => {
    const canvas = el("canvas", { tabindex: 0, role: "img" });
    const slices = el("select", {
      "aria-label": "Slice on the map",
      onchange: () => S.go({ [grid.slot === "beside" ? "slice2" : "slice"]: slices.value }),
    });
    const colours = el("select", {
      "aria-label": "Colour of the map",
      onchange: () => S.go({ colour: colours.value }),
    });
    const button = (text, label, act) =>
      el("button", { type: "button", "aria-label": label, title: label, onclick: act }, text);
    const box = el(
      "div.map",
      { hidden: true },
      el(
        "div.map-tools",
        null,
        slices,
        colours,
        button("−", "Zoom out", () => zoom(1 / 1.5)),
        button("+", "Zoom in", () => zoom(1.5)),
        button("⤢", "Whole slice", () => fit()),
        button("GeoJSON", "Save this slice for QuPath (GeoJSON)", () => S.saveGeojson(grid.data, slice)),
      ),
      canvas,
    );
    let [slice, side, patches, near] = [null, 256, [], new Map()]; // near: patches by the square they lie in
    const [view, sheets] = [{ x: 0, y: 0, scale: 1 }, new Map()];

    const sheet = (k) => {
      if (!sheets.has(k)) {
        const image = new Image();
        image.addEventListener("load", later);
        image.src = grid.data.sheets[k].split("/").map(encodeURIComponent).join("/");
        sheets.set(k, image);
      }
      const image = sheets.get(k);
      return image.complete && image.naturalWidth ? image : null;
    };

    const fit = () => {
      const [x, y] = [patches.map((i) => grid.data.x[i]), patches.map((i) => grid.data.y[i])];
      const reach = (values) => values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
      const [[left, right], [top, bottom]] = [reach(x), reach(y)];
      const [wide, high] = [canvas.clientWidth - 16, canvas.clientHeight - 16];
      view.scale = Math.min(wide / (right - left + side), high / (bottom - top + side));
      view.x = left - (canvas.clientWidth / view.scale - (right - left + side)) / 2;
      view.y = top - (canvas.clientHeight / view.scale - (bottom - top + side)) / 2;
      later();
    };
    const zoom = (factor, px = canvas.clientWidth / 2, py = canvas.clientHeight / 2) => {
      const scale = Math.min(400 / side, Math.max(2 / side, view.scale * factor));
      view.x += px / view.scale - px / scale;
      view.y += py / view.scale - py / scale;
      view.scale = scale;
      later();
    };

    const paint = () => {
      const { data, state } = grid;
      if (box.hidden || !data) return;
      const [dense, wide, high] = [devicePixelRatio, canvas.clientWidth, canvas.clientHeight];
      if (canvas.width !== wide * dense || canvas.height !== high * dense)
        [canvas.width, canvas.height] = [wide * dense, high * dense];
      const context = canvas.getContext("2d");
      context.setTransform(dense, 0, 0, dense, 0, 0);
      context.clearRect(0, 0, wide, high);
      const colour = getComputedStyle(canvas);
      const [attention, contribution, ink] = ["--attention", "--contribution", "--ink"].map((name) =>
        colour.getPropertyValue(name).trim(),
      );
      const c = S.shownClass(data, state);
      const size = side * view.scale;
      for (const i of patches) {
        const [x, y] = [(data.x[i] - view.x) * view.scale, (data.y[i] - view.y) * view.scale];
        if (x + size < 0 || y + size < 0 || x > wide || y > high) continue;
        const image = data.sheet[i] >= 0 && size > 5 ? sheet(data.sheet[i]) : null;
        const { px, columns } = S.study;
        context.globalAlpha = grid.data.place.has(i) ? 1 : 0.25;
        context.fillStyle = colour.getPropertyValue("--empty");
        if (image)
          context.drawImage(
            image,
            (data.cell[i] % columns) * px,
            Math.floor(data.cell[i] / columns) * px,
            px,
            px,
            x,
            y,
            size,
            size,
          );
        else context.fillRect(x, y, size - 0.5, size - 0.5);
        const byContribution = state.colour === "contribution";
        const part = byContribution
          ? data.contribution[c][i] / data.largest.contribution[c]
          : data.weight[i] / data.largest.weight;
        context.globalAlpha *= Math.sqrt(Math.abs(part)) * (image && size > 20 ? 1 : 0.85);
        context.fillStyle = context.strokeStyle = byContribution ? contribution : attention;
        context.lineWidth = Math.max(1, Math.min(4, size / 8));
        if (part < 0 || (image && size > 20)) {
          const inset = context.lineWidth / 2;
          if (part < 0) context.setLineDash([context.lineWidth * 1.5, context.lineWidth]);
          context.strokeRect(x + inset, y + inset, size - 2 * inset, size - 2 * inset);
          context.setLineDash([]);
        } else context.fillRect(x, y, size, size);
      }
      context.globalAlpha = 1;
      context.strokeStyle = ink;
      for (const i of patches) {
        if (!grid.selected.has(i) && i !== grid.active && i !== grid.pointed) continue;
        context.lineWidth = i === grid.pointed || i === grid.active ? 3 : 2;
        const [x, y] = [(data.x[i] - view.x) * view.scale, (data.y[i] - view.y) * view.scale];
        context.strokeRect(x - 1.5, y - 1.5, size + 3, size + 3);
      }
    };
    let asked = 0;
    const later = () => (asked ||= requestAnimationFrame(() => ((asked = 0), paint())));

    const at = (event) => {
      const frame = canvas.getBoundingClientRect();
      const [px, py] = [event.clientX - frame.left, event.clientY - frame.top];
      const [x, y] = [px / view.scale + view.x, py / view.scale + view.y];
      const [column, row] = [Math.floor(x / side), Math.floor(y / side)];
      for (const dx of [0, -1])
        for (const dy of [0, -1])
          for (const i of near.get(`${column + dx} ${row + dy}`) ?? [])
            if (x >= grid.data.x[i] && x < grid.data.x[i] + side && y >= grid.data.y[i] && y < grid.data.y[i] + side)
              return [i, px, py];
      return [null, px, py];
    };

    let [held, moved] = [null, false];
    canvas.addEventListener("pointerdown", (event) => {
      held = [event.clientX, event.clientY, view.x, view.y];
      moved = false;
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      S.current = grid;
      if (held) {
        const [dx, dy] = [event.clientX - held[0], event.clientY - held[1]];
        moved ||= Math.hypot(dx, dy) > 4;
        if (moved) [view.x, view.y] = [held[2] - dx / view.scale, held[3] - dy / view.scale];
        return later();
      }
      const [i] = at(event);
      grid.pointed = i;
      if (i === null) S.tip(null);
      else S.tip(grid.data, i, grid.state, { left: event.clientX - 8, right: event.clientX + 8, top: event.clientY });
      later();
    });
    canvas.addEventListener("pointerup", (event) => {
      const [i] = at(event);
      if (!moved && i !== null && grid.data.place.has(i)) {
        if (event.shiftKey) grid.range(i);
        else if (event.ctrlKey || event.metaKey) grid.toggle(i);
        grid.activate(i);
        if (!event.shiftKey && !event.ctrlKey && !event.metaKey) S.open(grid, i);
      }
      held = null;
    });
    canvas.addEventListener("pointerleave", () => ((grid.pointed = null), S.tip(null), later()));
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const frame = canvas.getBoundingClientRect();
        zoom(Math.exp(-event.deltaY / 400), event.clientX - frame.left, event.clientY - frame.top);
      },
      { passive: false },
    );
    canvas.addEventListener("keydown", (event) => {
      const by = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 }[event.key];
      const pan = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (by) zoom(by);
      else if (event.key === "Home") fit();
      else if (pan) [view.x, view.y] = [view.x + (pan[0] * 40) / view.scale, view.y + (pan[1] * 40) / view.scale];
      else return;
      event.preventDefault();
      event.stopPropagation();
      later();
    });
    new ResizeObserver(later).observe(canvas);

    const options = (select, texts, value) =>
      select.replaceChildren(
        ...texts.map(([key, text]) => el("option", { value: key, selected: key === value }, text)),
      );
    /** Show the slice that is filtered by, else the one with the most attention. */
    const show = (data, state) => {
      const was = [slice, data.case.key].join();
      box.hidden = !state.map || !data.placed;
      if (box.hidden) return;
      const widest = data.slices.reduce((best, one, k) => (one.share > data.slices[best].share ? k : best), 0);
      slice = state.slice === "" ? (slice !== null && box.of === data.case.key ? slice : widest) : Number(state.slice);
      if (box.of !== data.case.key) sheets.clear();
      options(
        slices,
        data.slices.map((one, k) => [String(k), `${one.name} (${S.percent(one.share)})`]),
        String(slice),
      );
      options(
        colours,
        [
          ["", "attention"],
          ["contribution", `contribution to ${S.study.classes[S.shownClass(data, state)]}`],
        ],
        state.colour,
      );
      canvas.setAttribute(
        "aria-label",
        `Map of ${data.slices[slice].name}. Arrow keys move, plus and minus zoom, Home shows all.`,
      );
      patches = data.slice.map((_, i) => i).filter((i) => data.slice[i] === slice);
      side = S.side(data, slice);
      near = new Map();
      for (const i of patches) {
        const key = `${Math.floor(data.x[i] / side)} ${Math.floor(data.y[i] / side)}`;
        near.has(key) ? near.get(key).push(i) : near.set(key, [i]);
      }
      const fresh = box.of !== data.case.key || was !== [slice, data.case.key].join() || !canvas.width;
      box.of = data.case.key;
      fresh ? requestAnimationFrame(fit) : later();
    };
    S.on("pointed", (other) => other === grid && later());
    S.on("selection", (other) => other === grid && later());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", later);
    return { box, show };
  };
})(window.stratamil);
