"use strict";
// The patches of a case on a light table. Only those in sight are elements, so that thousands scroll smoothly.
((S) => {
  const { el } = S;
  const [GAP, STRIP, HEAD, SPARE] = [10, 10, 46, 400]; // pixels: between cells, bar below, head of a group, beyond sight
  let ids = 0;

  S.grid = (scroller, slot) => {
    const id = `grid-${ids++}`;
    const host = el("div.grid", {
      role: "listbox",
      "aria-multiselectable": "true",
      "aria-label": "Patches",
      tabindex: 0,
      id,
    });
    const grid = {
      host,
      slot,
      data: null,
      ordered: null,
      state: null,
      active: null,
      pointed: null,
      anchor: null,
      selected: new Set(),
    };
    let [rows, columns, place, pool] = [[], 1, new Map(), []];
    const live = new Map(); // key -> element

    const newCell = () => {
      const cell = el("div.cell", { role: "option" }, el("div.thumb"), el("div.bar", null, el("i")), el("span.badge"));
      host.append(cell);
      return cell;
    };
    const fill = (cell, i, at) => {
      const { data, state, ordered } = grid;
      const [thumb, bar, badge] = cell.children;
      cell.id = `${id}-${i}`;
      cell.dataset.i = i;
      cell.setAttribute("aria-posinset", at + 1);
      cell.setAttribute("aria-setsize", ordered.patches.length);
      S.thumb(thumb, data, i, S.size);
      if (!state.blind) {
        const c = S.shownClass(data, state);
        const part = data.contribution[c][i] / data.largest.contribution[c];
        cell.style.setProperty("--w", Math.sqrt(data.weight[i] / data.largest.weight).toFixed(3));
        bar.firstChild.style.setProperty("--c", Math.abs(part).toFixed(3));
        bar.firstChild.classList.toggle("against", part < 0);
      }
      sign(cell, badge, i);
    };
    const sign = (cell, badge, i) => {
      const { data, state } = grid;
      const entry = S.marks.of(data.path[i]);
      badge.textContent = entry ? S.glyph(entry) : "";
      cell.classList.toggle("gone", data.gone.has(i));
      cell.classList.toggle("selected", grid.selected.has(i));
      cell.classList.toggle("active", grid.active === i);
      cell.setAttribute("aria-selected", String(grid.selected.has(i)));
      cell.setAttribute("aria-label", S.spoken(data, i, state));
    };
    const groupHead = (group) => {
      const slice = grid.data.slices[group.slice];
      return el(
        "div.group",
        { role: "presentation" },
        S.stainTag(slice.stain),
        el("b", null, slice.id),
        el(
          "span.muted",
          null,
          `${S.plural(group.patches.length, "patch", "patches")} · ${S.percent(slice.share)} of the attention`,
        ),
      );
    };

    /** Lay out rows of cells, and a head above each group. */
    const layOut = () => {
      const { ordered } = grid;
      const [wide, high] = [S.size + 6 + GAP, S.size + 6 + (grid.state.blind ? 0 : STRIP) + GAP];
      columns = Math.max(1, Math.floor((host.clientWidth + GAP) / wide));
      rows = [];
      place = new Map();
      let [top, at] = [0, 0];
      for (const group of ordered.groups) {
        if (group.slice !== null) {
          rows.push({ top, high: HEAD, group });
          top += HEAD;
        }
        for (let k = 0; k < group.patches.length; k += columns) {
          const patches = group.patches.slice(k, k + columns);
          patches.forEach((i, column) => place.set(i, { row: rows.length, column, at: at + column }));
          rows.push({ top, high, patches, at });
          at += patches.length;
          top += high;
        }
      }
      host.style.height = `${top}px`;
      host.classList.toggle("blind", grid.state.blind === "1");
      host.style.setProperty("--size", `${S.size}px`);
      for (const element of live.values()) release(element);
      live.clear();
      draw();
    };
    const release = (element) => {
      if (element.classList.contains("cell") && pool.length < 300) {
        element.style.display = "none";
        element.removeAttribute("id");
        pool.push(element);
      } else element.remove();
    };
    const firstRow = (top) => {
      let [low, high] = [0, rows.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        rows[middle].top + rows[middle].high < top ? (low = middle + 1) : (high = middle);
      }
      return low;
    };
    const offset = () => host.getBoundingClientRect().top - scroller.getBoundingClientRect().top;

    /** Make the cells in sight, and let go of the others. */
    const draw = () => {
      if (!grid.data) return;
      const top = -offset();
      const wanted = new Set();
      for (let r = firstRow(top - SPARE); r < rows.length && rows[r].top < top + scroller.clientHeight + SPARE; r++)
        wanted.add(r);
      for (const [key, element] of live) if (!wanted.has(element.row)) (release(element), live.delete(key));
      for (const r of wanted) {
        const row = rows[r];
        if (row.group) {
          if (live.has(`g${r}`)) continue;
          const head = groupHead(row.group);
          head.row = r;
          head.style.transform = `translateY(${row.top}px)`;
          host.append(head);
          live.set(`g${r}`, head);
        } else if (!live.has(row.patches[0]))
          row.patches.forEach((i, column) => {
            const cell = pool.pop() ?? newCell();
            cell.row = r;
            cell.style.display = "";
            cell.style.transform = `translate(${column * (S.size + 6 + GAP)}px, ${row.top}px)`;
            fill(cell, i, row.at + column);
            live.set(i, cell);
          });
      }
    };

    grid.show = (data, ordered, state) => {
      const other = grid.data !== data;
      Object.assign(grid, { data, ordered, state });
      data.place = new Map(ordered.patches.map((i, at) => [i, at + 1]));
      if (other) Object.assign(grid, { active: null, anchor: null, pointed: null, selected: new Set() });
      if (!data.place.has(grid.active)) grid.active = null;
      for (const i of grid.selected) if (!data.place.has(i)) grid.selected.delete(i);
      layOut();
    };
    grid.clear = () => {
      grid.data = null;
      host.replaceChildren();
      live.clear();
      pool = [];
    };
    grid.refresh = () => {
      for (const [i, cell] of live) if (cell.classList.contains("cell")) sign(cell, cell.children[2], i);
      const cell = live.get(grid.active);
      cell ? host.setAttribute("aria-activedescendant", cell.id) : host.removeAttribute("aria-activedescendant");
      S.emit("selection", grid);
    };
    grid.draw = draw;
    grid.layOut = () => grid.data && layOut();

    /** Bring a patch into sight and make it the active one. */
    grid.activate = (i, reveal = true) => {
      grid.active = i;
      const at = place.get(i);
      if (at && reveal) {
        const row = rows[at.row];
        const top = offset() + row.top;
        if (top < 8) scroller.scrollTop += top - 8;
        else if (top + row.high > scroller.clientHeight - 8)
          scroller.scrollTop += top + row.high - scroller.clientHeight + 8;
        draw();
      }
      grid.refresh();
    };
    grid.step = (key) => {
      const at = place.get(grid.active);
      const { patches } = grid.ordered;
      if (!at) return patches[0];
      const sideways = { ArrowLeft: -1, ArrowRight: 1 }[key];
      if (sideways) return patches[Math.min(patches.length - 1, Math.max(0, at.at + sideways))];
      if (key === "Home") return patches[0];
      if (key === "End") return patches[patches.length - 1];
      const pages = { PageUp: -1, PageDown: 1 }[key];
      const step =
        { ArrowUp: -1, ArrowDown: 1 }[key] ?? pages * Math.max(1, Math.floor(scroller.clientHeight / (S.size + 26)));
      const lines = rows.flatMap((row, r) => (row.patches ? [r] : []));
      const line = Math.min(lines.length - 1, Math.max(0, lines.indexOf(at.row) + step));
      const row = rows[lines[line]].patches;
      return row[Math.min(at.column, row.length - 1)];
    };
    /** Select from the anchor to a patch. */
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
    /** The patches that a key marks: the selected, else the one pointed at, else the active. */
    grid.targets = () => {
      if (grid.selected.size) return [...grid.selected];
      const one = grid.pointed ?? grid.active;
      return one === null ? [] : [one];
    };

    let asked = 0;
    const later = () => (asked ||= requestAnimationFrame(() => ((asked = 0), draw())));
    scroller.addEventListener("scroll", () => (S.tip(null), later()), { passive: true });
    let width = 0;
    new ResizeObserver(() => {
      if (host.clientWidth !== width && grid.data) ((width = host.clientWidth), layOut());
      else later();
    }).observe(host);
    new ResizeObserver(later).observe(scroller);
    S.pointing(grid);
    return grid;
  };
})(window.stratamil);
