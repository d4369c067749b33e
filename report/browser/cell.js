"use strict";
// A patch on the light table: thumbnail, frame of attention, bar of contribution, sign of a mark.
((S) => {
  const { el } = S;

  S.newCell = () => el("div.cell", { role: "option" }, el("div.thumb"), el("div.bar", null, el("i")), el("span.badge"));

  /** Make a cell that of a patch, the `at`-th of its grid. */
  S.fillCell = (cell, grid, i, at) => {
    const { data, state, ordered } = grid;
    const [thumb, bar] = cell.children;
    cell.id = `${grid.host.id}-${i}`;
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
    } else cell.style.removeProperty("--w");
    S.signCell(cell, grid, i);
  };

  /** What of a cell changes while it stands: mark, selection, name. */
  S.signCell = (cell, { data, state, selected, active }, i) => {
    const entry = S.marks.of(data.path[i]);
    cell.lastChild.textContent = entry ? S.glyph(entry) : "";
    cell.classList.toggle("gone", data.gone.has(i));
    cell.classList.toggle("selected", selected.has(i));
    cell.classList.toggle("active", active === i);
    cell.setAttribute("aria-selected", String(selected.has(i)));
    cell.setAttribute("aria-label", S.spoken(data, i, state));
  };

  S.groupHead = ({ data }, group) => {
    const slice = data.slices[group.slice];
    const many = S.plural(group.patches.length, "patch", "patches");
    const share = el("span.muted", null, `${many} · ${S.percent(slice.share)} of the weight`);
    return el("div.group", { role: "presentation" }, S.stainTag(slice.stain), el("b", null, slice.id), share);
  };
})(window.stratamil);
