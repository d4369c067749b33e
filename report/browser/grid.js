"use strict";
// The patches of a case on a light table. Only those in sight are elements, so that thousands scroll smoothly.
((S) => {
  const [GAP, STRIP, SPARE, POOL] = [10, 26, 400, 300]; // pixels between cells, below a patch, beyond sight; cells kept
  let ids = 0;

  /** Show rows in `host`: draw() makes the elements that are in sight, and lets go of the others. */
  const table = (grid, scroller) => {
    const { host } = grid;
    const live = new Map(); // patch, or head of a group -> element
    let [pool, soon] = [[], 0];
    const self = { live, laid: S.rows([], 1, 1) };
    const wide = () => S.size + 6 + GAP;

    const release = (element) => {
      if (!element.classList.contains("cell") || pool.length >= POOL) return element.remove();
      element.style.display = "none";
      element.removeAttribute("id");
      pool.push(element);
    };
    const stand = (element, key, r, x) => {
      element.row = r;
      element.style.display = "";
      element.style.transform = `translate(${x}px, ${self.laid.rows[r].top}px)`;
      if (!element.isConnected) host.append(element);
      live.set(key, element);
    };
    self.offset = () => host.getBoundingClientRect().top - scroller.getBoundingClientRect().top;
    self.draw = (spare = SPARE) => {
      if (!grid.data) return;
      const top = -self.offset();
      const wanted = S.rowsWithin(self.laid, top - spare, top + scroller.clientHeight + spare);
      for (const [key, element] of live)
        if (!wanted.has(element.row)) {
          release(element);
          live.delete(key);
        }
      for (const r of wanted) {
        const row = self.laid.rows[r];
        if (row.group && !live.has(row)) stand(S.groupHead(grid, row.group), row, r, 0);
        if (row.group || live.has(row.patches[0])) continue;
        row.patches.forEach((i, column) => {
          const cell = pool.pop() ?? S.newCell();
          stand(cell, i, r, column * wide());
          S.fillCell(cell, grid, i, row.at + column);
        });
      }
    };
    self.layOut = () => {
      grid.scale = S.scale();
      const columns = Math.max(1, Math.floor((host.clientWidth + GAP) / wide()));
      self.laid = S.rows(grid.ordered.groups, columns, wide() + (grid.state.blind ? 0 : STRIP));
      host.style.height = `${self.laid.high}px`;
      host.style.setProperty("--size", `${S.size}px`);
      host.classList.toggle("blind", grid.state.blind === "1");
      live.forEach(release);
      live.clear();
      self.draw(0); // what is seen comes first
      clearTimeout(soon);
      soon = setTimeout(self.draw, 300, SPARE);
    };
    self.clear = () => {
      host.replaceChildren();
      live.clear();
      pool = [];
    };
    /** Scroll so that a patch is in sight. */
    self.reveal = (i) => {
      const at = self.laid.place.get(i);
      if (!at) return;
      const row = self.laid.rows[at.row];
      const [top, bottom] = [self.offset() + row.top - S.titleHeight() - 8, self.offset() + row.top + row.high + 8];
      if (top < 0) scroller.scrollTop += top;
      else if (bottom > scroller.clientHeight) scroller.scrollTop += bottom - scroller.clientHeight;
      self.draw();
    };
    return self;
  };

  /** What is selected: by range from an anchor, one by one, or what is pointed at. */
  const selecting = (grid) => {
    grid.range = (i) => {
      const { patches } = grid.ordered;
      const [from, to] = [patches.indexOf(grid.anchor ?? grid.active ?? i), patches.indexOf(i)];
      grid.anchor = patches[Math.max(0, from)];
      grid.selected = new Set(patches.slice(Math.min(from, to), Math.max(from, to) + 1));
    };
    grid.toggle = (i) => {
      grid.selected.delete(i) || grid.selected.add(i);
      grid.anchor = i;
    };
    /** The one patch that is pointed at, else the active; null without. */
    grid.one = () => grid.pointed ?? grid.active;
    /** The patches that a key marks: the selected, else the one. */
    grid.targets = () => (grid.selected.size ? [...grid.selected] : [grid.one()].filter((i) => i !== null));
  };

  const NOTHING = () => ({ active: null, anchor: null, pointed: null, told: null, selected: new Set() });

  /** A grid in a scroller: of a case once it is shown. */
  S.grid = (scroller, slot) => {
    const named = { role: "listbox", "aria-multiselectable": "true", "aria-label": "Patches", tabindex: 0 };
    const host = S.el("div.grid", { ...named, id: `grid-${ids++}` });
    const grid = { host, slot, data: null, ordered: null, state: null, ...NOTHING() };
    const shown = table(grid, scroller);
    let [asked, width] = [0, 0]; // a frame that is asked for; the width that the rows were laid out for
    selecting(grid);

    grid.show = (data, ordered, state) => {
      if (grid.data !== data) (Object.assign(grid, NOTHING()), grid.point(null));
      Object.assign(grid, { data, ordered, state });
      grid.value = state.blind ? null : S.sortValue(data, state);
      data.place = new Map(ordered.patches.map((i, at) => [i, at + 1]));
      if (grid.active !== null && !data.place.has(grid.active)) {
        grid.active = null;
        grid.untell();
      }
      for (const i of grid.selected) if (!data.place.has(i)) grid.selected.delete(i);
      shown.layOut();
      width = host.clientWidth;
      S.emit("selection", grid);
    };
    grid.clear = () => {
      Object.assign(grid, { data: null }, NOTHING());
      shown.clear();
      S.emit("selection", grid);
    };
    grid.refresh = () => {
      for (const [i, cell] of shown.live) if (typeof i === "number") S.signCell(cell, grid, i);
      const cell = shown.live.get(grid.active);
      if (cell) host.setAttribute("aria-activedescendant", cell.id);
      else host.removeAttribute("aria-activedescendant");
      S.emit("selection", grid);
    };
    grid.layOut = () => grid.data && shown.layOut();
    /** Make a patch the active one, and bring it into sight. */
    grid.activate = (i, reveal = true) => {
      grid.active = i;
      if (reveal) shown.reveal(i);
      grid.refresh();
      if (grid.told !== null) grid.tell(i);
    };
    grid.step = (key) => {
      const page = Math.max(1, Math.floor(scroller.clientHeight / (S.size + 6 + GAP + STRIP)));
      return S.stepped(shown.laid, grid.ordered.patches, grid.active, key, page);
    };

    const scrolled = () => {
      asked = 0;
      shown.draw();
      grid.repoint();
      if (grid.told !== null) grid.tell(grid.told);
    };
    const follow = () => {
      S.tip(null);
      asked ||= requestAnimationFrame(scrolled);
    };
    scroller.addEventListener("scroll", follow, { passive: true });
    const resized = () => {
      if (host.clientWidth !== width && grid.data) shown.layOut();
      else shown.draw(0);
      width = host.clientWidth;
      if (grid.told !== null) grid.activate(grid.told); // the bar of a selection takes room
    };
    const watch = new ResizeObserver(() => requestAnimationFrame(resized));
    watch.observe(host);
    watch.observe(scroller);
    S.pointing(grid);
    return grid;
  };
})(window.stratamil);
