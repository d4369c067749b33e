"use strict";
// What the pointer does on a grid of patches: hover tells, click opens, Shift selects a range, Ctrl adds one.
((S) => {
  const index = ({ target }) => {
    const cell = target?.closest?.(".grid > .cell");
    return cell ? [Number(cell.dataset.i), cell] : [null, null];
  };

  S.pointing = (grid) => {
    const { host } = grid;
    let touched = null;
    const tell = (i, cell) => S.tip(grid.data, i, grid.state, cell.getBoundingClientRect());
    /** Show the numbers of a patch that keys led to; while it scrolls into sight they follow it. */
    grid.tell = (i) => {
      const cell = document.getElementById(`${host.id}-${i}`);
      grid.told = cell ? i : null;
      if (cell) tell(i, cell);
    };
    S.on("marks", () => grid.told !== null && grid.tell(grid.told));
    let [soon, x, y] = [0, 0, 0]; // a tip to come; where the pointer is
    /** Find what is below the pointer after a scroll. */
    grid.repoint = () => {
      if (grid.pointed !== null) [grid.pointed] = index({ target: document.elementFromPoint(x, y) });
    };
    const later = (i, cell) => {
      clearTimeout(soon); // a pointer on its way wants to see patches, not their numbers
      soon = setTimeout(() => grid.pointed === i && !document.querySelector("dialog[open]") && tell(i, cell), 250);
    };

    let touch = false;
    const point = (event) => {
      const [i, cell] = touch ? [null, null] : index(event);
      [x, y] = [event.clientX, event.clientY];
      if (grid.pointed === i) return;
      grid.told = null;
      grid.pointed = i;
      S.current = grid;
      S.tip(null);
      if (i !== null) later(i, cell);
      S.emit("pointed", grid);
    };
    for (const name of ["pointerdown", "pointermove"])
      host.addEventListener(name, (event) => {
        touch = event.pointerType === "touch";
        point(event);
      });
    host.addEventListener("mouseover", point); // a window that closed left the pointer on a patch, without a move
    host.addEventListener("pointerleave", () => {
      grid.pointed = null;
      S.tip(null);
      S.emit("pointed", grid);
    });
    host.addEventListener("mousedown", (event) => event.shiftKey && event.preventDefault()); // no text is selected
    host.addEventListener("click", (event) => {
      const [i, cell] = index(event);
      if (i === null) return;
      S.current = grid;
      if (event.shiftKey) grid.range(i);
      else if (event.ctrlKey || event.metaKey || S.selecting) grid.toggle(i);
      else if (event.pointerType === "touch" && touched !== i) {
        touched = i; // a first tap tells, a second opens
        grid.anchor = i;
        grid.activate(i, false);
        host.focus({ preventScroll: true });
        return tell(i, cell);
      } else {
        grid.anchor = i;
        grid.selected.clear();
        grid.activate(i, false);
        host.focus({ preventScroll: true });
        return S.open(grid, i);
      }
      grid.activate(i, false);
      host.focus({ preventScroll: true });
    });
    /** Begin with keys: at the active patch, or the first. */
    grid.begin = () => {
      if (!grid.ordered?.patches.length) return;
      grid.activate(grid.active ?? grid.ordered.patches[0]);
      grid.tell(grid.active);
    };
    host.addEventListener("focus", () => {
      S.current = grid;
      if (host.matches(":focus-visible")) grid.begin();
    });
    host.addEventListener("blur", () => {
      grid.told = null;
      S.tip(null);
    });
    host.addEventListener("keydown", (event) => {
      if (!grid.data || event.ctrlKey || event.metaKey || event.altKey || !grid.ordered.patches.length) return;
      const { key } = event;
      if (key.startsWith("Arrow") || ["Home", "End", "PageUp", "PageDown"].includes(key)) {
        event.preventDefault();
        grid.pointed = null;
        if (event.shiftKey) grid.anchor ??= grid.active;
        const i = grid.step(key);
        if (event.shiftKey) grid.range(i);
        else ((grid.anchor = i), grid.selected.clear());
        grid.activate(i);
        grid.tell(i);
      } else if (key === " " && grid.active !== null) {
        event.preventDefault();
        grid.toggle(grid.active);
        grid.refresh();
      } else if (key === "Enter" && grid.active !== null) {
        event.preventDefault();
        S.open(grid, grid.active);
      }
    });
  };
})(window.stratamil);
