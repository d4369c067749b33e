"use strict";
// Keys of the whole page. A window that is open has its own.
((S) => {
  const step = (by) => {
    const keys = S.listed(S.state).map((one) => one.key);
    const at = keys.indexOf(S.state.case);
    const next = at < 0 ? keys[by > 0 ? 0 : keys.length - 1] : keys[at + by];
    if (next !== undefined) S.go({ case: next });
  };
  S.undo = () => S.say(S.marks.undo() ? "Taken back." : "Nothing to take back.");

  const note = async (grid) => {
    const [i] = grid.targets();
    if (i === undefined || !(await S.reader())) return;
    const before = S.marks.of(grid.data.path[i])?.note ?? "";
    const text = await S.ask({
      title: "Note",
      label: `Note on ${S.patchName(grid.data, i, grid.state)}`,
      value: before,
      action: "Keep",
      empty: true,
    });
    if (text !== null) S.marks.note(grid.data, i, text);
  };

  const grid = () => (S.current?.data ? S.current : S.panes.case?.grid);
  const act = {
    j: () => step(1),
    k: () => step(-1),
    "/": () => {
      if (S.state.case && matchMedia("(max-width: 52rem)").matches) S.go({ case: "" });
      document.getElementById("find").focus();
    },
    n: () => grid()?.data && note(grid()),
    u: () => S.undo(),
    "?": () => S.help(),
    Escape: () => {
      const of = grid();
      if (!of?.data) return;
      of.selected.clear();
      of.refresh();
    },
  };
  for (const key of ["0", "1", "2", "3", "4"]) act[key] = () => grid()?.data && S.mark(grid(), grid().targets(), key);

  addEventListener("keydown", (event) => {
    if (
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      event.defaultPrevented ||
      document.querySelector("dialog[open]")
    )
      return;
    const writing = event.target.matches?.("input:not([type=range]), textarea, select");
    if (writing) {
      if (event.key === "Escape") event.target.blur();
      if (event.key === "Enter" && event.target.id === "find") step(S.state.case ? 1 : 1);
      return;
    }
    if (!act[event.key] || S.state.page) return;
    event.preventDefault();
    act[event.key]();
  });
})(window.stratamil);
