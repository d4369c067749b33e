"use strict";
// Where each patch of a grid stands: rows of cells, and a head above each group.
((S) => {
  const HEAD = 46; // pixels of the head of a group

  /**
   * Return {rows, place, high}. rows: {top, high, group} of a head, {top, high, patches, at} of cells, `at` the number of
   * patches before; place: patch -> {row, column, at}; high: pixels of all.
   */
  S.rows = (groups, columns, high) => {
    const [rows, place] = [[], new Map()];
    let [top, at] = [0, 0];
    for (const group of groups) {
      if (group.slice !== null) {
        rows.push({ top, high: HEAD, group });
        top += HEAD;
      }
      for (let k = 0; k < group.patches.length; k += columns) {
        const [patches, before] = [group.patches.slice(k, k + columns), at];
        patches.forEach((i, column) => place.set(i, { row: rows.length, column, at: before + column }));
        rows.push({ top, high, patches, at });
        at += patches.length;
        top += high;
      }
    }
    return { rows, place, high: top };
  };

  /** The numbers of the rows that reach into a stretch of pixels. */
  S.rowsWithin = ({ rows }, from, to) => {
    let [low, high] = [0, rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle].top + rows[middle].high < from) low = middle + 1;
      else high = middle;
    }
    const within = new Set();
    for (let r = low; r < rows.length && rows[r].top < to; r++) within.add(r);
    return within;
  };

  /** The patch that a key leads to from another. page: rows that Page Up and Page Down pass over. */
  S.stepped = ({ rows, place }, patches, from, key, page) => {
    const at = place.get(from);
    const last = patches.length - 1;
    if (!at || key === "Home") return patches[0];
    if (key === "End") return patches[last];
    const sideways = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (sideways) return patches[Math.min(last, Math.max(0, at.at + sideways))];
    const step = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page }[key];
    const lines = rows.flatMap((row, r) => (row.patches ? [r] : []));
    const line = Math.min(lines.length - 1, Math.max(0, lines.indexOf(at.row) + step));
    const row = rows[lines[line]].patches;
    return row[Math.min(at.column, row.length - 1)];
  };
})(window.stratamil);
