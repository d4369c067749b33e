"use strict";
// Marks and notes on patches: buttons, keys, what is asked, what is said of it.
((S) => {
  const { el } = S;

  /** Buttons of the marks. of: tells the grid and the patches that they mark. */
  S.markButtons = (of) => {
    const [grid, patches] = of();
    const marks = new Set(patches.map((i) => S.marks.of(grid.data.path[i])?.mark ?? ""));
    const one = marks.size === 1 ? [...marks][0] : null;
    const own = one && !S.MARKS.includes(one);
    const press = (key, glyph, text, pressed, disabled = false) =>
      el(
        "button",
        {
          type: "button",
          "aria-pressed": String(pressed),
          "aria-keyshortcuts": key,
          disabled,
          onclick: () => S.mark(...of(), key),
        },
        el("kbd", null, key),
        glyph && el("span.glyph", null, glyph),
        text,
      );
    return el(
      "div.marks",
      { role: "group", "aria-label": "Mark" },
      S.MARKS.map((mark, k) => press(String(k + 1), S.GLYPHS[mark], mark, one === mark)),
      press("4", "★", own ? one : "label …", Boolean(own)),
      press("0", "", "no mark", false, one === ""),
    );
  };

  /** Mark patches by a key from 0 to 4. The reader's name is asked once, a label each time. */
  S.mark = async (grid, patches, key) => {
    if (!grid?.data || !patches.length) return;
    let mark = key === "0" ? "" : S.MARKS[Number(key) - 1];
    if (key === "4")
      mark = await S.askNamed({
        title: "A label of your own",
        label: `Label of ${S.plural(patches.length, "patch", "patches")}`,
        value: S.marks.of(grid.data.path[patches[0]])?.mark ?? "",
        offered: S.marks.labels(),
        action: "Mark",
      });
    else if (!(await S.reader("mark"))) return;
    if (mark === null) return;
    S.marks.set(grid.data, patches, mark);
    const many = S.plural(patches.length, "patch", "patches");
    S.say(`${many} ${mark ? `marked: ${mark}` : "no longer marked"}. u takes it back.`);
  };

  /** Ask for a note on the one patch that is pointed at or active, whatever is selected. */
  S.note = async (grid) => {
    const i = grid.one();
    if (i === null) return S.say("Point at a patch, or move to one with the arrow keys, and press n.");
    const text = await S.askNamed({
      title: "Note",
      label: `Note on ${S.patchName(grid.data, i, grid.state)}`,
      value: S.marks.of(grid.data.path[i])?.note ?? "",
      action: "Save",
      empty: true,
    });
    if (text !== null) S.saveNote(grid.data, i, text);
  };
  S.saveNote = (data, i, text) => {
    S.marks.note(data, i, text);
    S.say(text ? "Note saved." : "Note removed.");
  };

  S.undo = () => S.say(S.marks.undo() ? "Taken back." : "Nothing to take back.");
})(window.stratamil);
