"use strict";
// A patch on the light table: thumbnail, frame of attention, bar of contribution, number, sign of a mark.
((S) => {
  const { el } = S;

  S.newCell = () =>
    el(
      "div.cell",
      { role: "option" },
      el("div.thumb"),
      el("div.bar", null, el("i")),
      el("div.value"),
      el("span.badge"),
    );

  /** Make a cell that of a patch, the `at`-th of its grid. */
  S.fillCell = (cell, grid, i, at) => {
    const { data, state, ordered } = grid;
    const [thumb, bar, value] = cell.children;
    cell.id = `${grid.host.id}-${i}`;
    cell.dataset.i = i;
    cell.setAttribute("aria-posinset", at + 1);
    cell.setAttribute("aria-setsize", ordered.patches.length);
    S.thumb(thumb, data, i, S.size);
    if (!state.blind) {
      const c = S.shownClass(data, state);
      const { scale } = grid;
      const part = data.contribution[c][i] / scale.contribution;
      cell.style.setProperty("--w", Math.sqrt(data.ratio[i] / scale.ratio).toFixed(3)); // small ones are seen, too
      bar.firstChild.style.setProperty("--c", Math.sqrt(Math.abs(part)).toFixed(3));
      bar.firstChild.classList.toggle("against", part < 0);
      value.textContent = grid.value(i);
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

  S.groupHead = ({ data }, { slice: k, patches }) => {
    const slice = data.slices[k];
    const [some, whole] = [S.percent(S.attentionOf(data, patches)), S.percent(slice.share)];
    const text =
      patches.length === slice.n
        ? `${S.plural(slice.n, "patch", "patches")} · ${whole} of the attention`
        : `${S.count(patches.length)} of ${S.plural(slice.n, "patch", "patches")} · ${some} of the attention; the slice has ${whole}`;
    const share = el("span.muted", null, text);
    return el("div.group", { role: "presentation" }, S.stainTag(slice.stain), el("b", null, slice.id), share);
  };
})(window.stratamil);
