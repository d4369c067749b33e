"use strict";
// Keys of the whole page. A window that is open has its own.
((S) => {
  const main = document.getElementById("main");
  const grid = () => (S.current?.data ? S.current : S.panes.case?.grid);
  const pointing = () => Object.values(S.panes).some((pane) => pane.grid.pointed !== null);
  const ARROWS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];

  const step = (by) => {
    S.step(by);
    main.focus(); // the next arrow key enters the patches, the next Tab the tools above them
  };
  const mark = (key) => {
    const of = grid();
    if (!of?.data) return;
    const patches = of.targets();
    if (patches.length) S.mark(of, patches, key);
    else S.say(`Point at a patch, or move to one with the arrow keys, and press ${key}.`);
  };
  const enter = (key) => {
    const of = grid();
    if (!of?.data || !of.ordered.patches.length) return;
    const begun = of.active !== null;
    of.host.focus({ preventScroll: true });
    if (begun) of.host.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
    else of.begin();
  };
  const scroll = (key) => {
    const [panes, page] = [document.querySelector(".panes"), document.querySelector(".panes").clientHeight * 0.85];
    const by = { PageDown: page, " ": page, PageUp: -page, Home: -panes.scrollTop, End: panes.scrollHeight }[key];
    panes.scrollBy({ top: by });
  };
  /** Step back once: close the box on a patch and end the selection, else end a comparison, else leave the patches. */
  const escape = () => {
    const of = Object.values(S.panes).map((pane) => pane.grid);
    const open = of.map((one) => one.untell()).some(Boolean);
    const selected = of.filter((one) => one.selected.size);
    for (const one of selected) (one.selected.clear(), one.refresh());
    if (S.endSelecting() || open || selected.length) return;
    if (S.endCompare()) main.focus();
    else if (of.some((one) => one.host === document.activeElement)) S.toTools();
  };

  const act = {
    j: () => step(1),
    k: () => step(-1),
    c: () => S.compare(),
    "/": () => {
      if (S.state.case && getComputedStyle(document.getElementById("list")).display === "none") S.go({ case: "" });
      document.getElementById("find").focus();
    },
    n: () => grid()?.data && S.note(grid()),
    u: () => S.undo(),
    "?": () => S.help(),
    Escape: escape,
  };
  for (const key of ["0", "1", "2", "3", "4"]) act[key] = () => mark(key);
  for (const key of ARROWS) act[key] = () => enter(key);
  for (const key of ["PageDown", "PageUp", "Home", "End", " "]) act[key] = () => S.state.case && scroll(key);

  /** Whether the key belongs to the element that has the focus. */
  const taken = ({ target, key }) => {
    if (target.matches("textarea, input:not([type=range])")) return true;
    if (target.matches("select")) return !pointing() && !/^[0-4/?]$/.test(key); // letters choose in it
    if (target.matches("input[type=range]"))
      return ARROWS.includes(key) || ["Home", "End", "PageUp", "PageDown"].includes(key);
    return key === " " && target.matches("button, a, summary");
  };

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (S.state.page || document.querySelector("dialog[open]") || !event.target.matches) return;
    if (event.key === "Escape" && event.target.matches("select, textarea")) return main.focus();
    if (!act[event.key] || taken(event)) return;
    event.preventDefault();
    act[event.key]();
  });
})(window.stratamil);
