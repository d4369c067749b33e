"use strict";
// The map of a slice, where patches have places: drag to move, wheel or + and - to zoom, linked with the grid.
((S) => {
  const { el } = S;

  /** The canvas of a map, which follows pointer and keys. map: {grid, places, view, later}. */
  const listen = (canvas, map) => {
    const { grid, view, later } = map;
    const pixel = (event) => {
      const frame = canvas.getBoundingClientRect();
      return [event.clientX - frame.left, event.clientY - frame.top];
    };
    const patch = (event) => map.places.at(...view.place(...pixel(event)));
    const point = (i) => {
      grid.pointed = i;
      later();
    };
    let [held, moved] = [null, false];
    canvas.addEventListener("pointerdown", (event) => {
      [held, moved] = [pixel(event), false];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      S.current = grid;
      const [x, y] = pixel(event);
      if (held) {
        moved ||= Math.hypot(x - held[0], y - held[1]) > 4;
        if (moved) view.move(held[0] - x, held[1] - y);
        if (moved) held = [x, y];
        return later();
      }
      const i = patch(event);
      if (i === null) S.tip(null);
      else
        S.tip(grid.data, i, grid.state, { left: event.clientX + 8, top: event.clientY - 8, bottom: event.clientY + 8 });
      point(i);
    });
    canvas.addEventListener("pointerup", (event) => {
      held = null;
      const i = patch(event);
      if (moved || i === null || !grid.data.place.has(i)) return;
      const [range, one] = [event.shiftKey, event.ctrlKey || event.metaKey];
      if (range) grid.range(i);
      else if (one) grid.toggle(i);
      grid.activate(i);
      if (!range && !one) S.open(grid, i);
    });
    canvas.addEventListener("pointerleave", () => (S.tip(null), point(null)));
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        view.zoom(Math.exp(-event.deltaY / 400), map.places.side, ...pixel(event));
        later();
      },
      { passive: false },
    );
    canvas.addEventListener("keydown", (event) => {
      const by = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 }[event.key];
      const pan = { ArrowLeft: [-40, 0], ArrowRight: [40, 0], ArrowUp: [0, -40], ArrowDown: [0, 40] }[event.key];
      if (by) view.zoom(by, map.places.side);
      else if (pan) view.move(...pan);
      else if (event.key === "Home") view.fit(map.places);
      else return;
      event.preventDefault();
      event.stopPropagation();
      later();
    });
  };

  const options = (select, texts, value) => {
    select.replaceChildren(...texts.map(([key, text]) => el("option", { value: key }, text)));
    select.value = value;
  };

  /** Sheets of thumbnails as images, each asked for once. */
  const sheetsOf = (data, come) => {
    const images = new Map();
    return (k) => {
      if (!images.has(k)) {
        const image = el("img", { src: S.sheetAddress(data, k) });
        image.addEventListener("load", come);
        images.set(k, image);
      }
      const image = images.get(k);
      return image.complete && image.naturalWidth ? image : null;
    };
  };

  /** The slice that is filtered by, else the one on the map, else the one with the most attention. */
  const chosen = (data, state, places) => {
    if (state.slice !== "" && data.slices[state.slice]) return Number(state.slice);
    if (places?.data === data) return places.slice;
    return data.slices.reduce((best, one, k) => (one.share > data.slices[best].share ? k : best), 0);
  };

  S.map = (grid) => {
    const canvas = el("canvas", { tabindex: 0, role: "img" });
    const choose = (name, label) =>
      el("select", { "aria-label": label, onchange: (event) => S.go({ [name]: event.target.value }) });
    const slices = choose(grid.slot === "beside" ? "slice2" : "slice", "Slice on the map");
    const colours = choose("colour", "Colour of the map");
    let asked = 0;
    const paint = () => {
      asked = 0;
      if (!box.hidden && grid.data && map.places) S.paintMap(canvas, grid, map.places, map.view, map.sheet);
    };
    const later = () => (asked ||= requestAnimationFrame(paint));
    const map = { grid, places: null, view: S.view(canvas), sheet: null, later };
    const tool = (text, label, act) =>
      el("button", { type: "button", "aria-label": label, title: label, onclick: () => (act(), later()) }, text);
    const tools = [
      slices,
      colours,
      tool("−", "Zoom out", () => map.view.zoom(1 / 1.5, map.places.side)),
      tool("+", "Zoom in", () => map.view.zoom(1.5, map.places.side)),
      tool("⤢", "Whole slice", () => map.view.fit(map.places)),
      tool("GeoJSON", "Save this slice for QuPath (GeoJSON)", () => S.saveGeojson(grid.data, map.places.slice)),
    ];
    const box = el("div.map", { hidden: true }, el("div.map-tools", null, tools), canvas);

    const show = (data, state) => {
      const hidden = !state.map || !data.placed;
      const opened = box.hidden && !hidden;
      box.hidden = hidden;
      if (hidden) return;
      const [slice, before] = [chosen(data, state, map.places), map.places];
      if (before?.data !== data) map.sheet = sheetsOf(data, later);
      if (before?.data !== data || before.slice !== slice) map.places = S.places(data, slice);
      const name = S.study.classes[S.shownClass(data, state)];
      const shares = data.slices.map((one, k) => [String(k), `${one.name} (${S.percent(one.share)})`]);
      options(slices, shares, String(slice));
      options(
        colours,
        [
          ["", "attention"],
          ["contribution", `contribution to ${name}`],
        ],
        state.colour,
      );
      const keys = "Arrow keys move, plus and minus zoom, Home shows all.";
      canvas.setAttribute("aria-label", `Map of ${data.slices[slice].name}. ${keys}`);
      if (map.places !== before || opened) map.view.fit(map.places);
      later();
    };
    listen(canvas, map);
    new ResizeObserver(later).observe(canvas);
    for (const name of ["pointed", "selection"]) S.on(name, (other) => other === grid && later());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", later);
    return { box, show };
  };
})(window.stratamil);
