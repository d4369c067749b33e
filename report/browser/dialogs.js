"use strict";
// Windows over the page: a question with one answer, and the list of keys.
((S) => {
  const { el } = S;

  /** Open a window; what had the focus gets it back. Returns the <dialog>; its Escape key and its cross close it. */
  S.dialog = (title, ...content) => {
    const before = document.activeElement;
    const name = `title-${title.replace(/\W+/g, "-")}`;
    const cross = el("button.cross", { type: "button", "aria-label": "Close", onclick: () => dialog.close() }, "×");
    const dialog = el(
      "dialog.window",
      { "aria-labelledby": name },
      el("div.head", null, el("h2", { id: name }, title), cross),
      ...content,
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus?.();
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    document.body.append(dialog);
    dialog.showModal();
    return dialog;
  };

  /** Ask for a text. Returns a promise of it, or of null. offered: texts to choose from. */
  S.ask = ({ title, label, hint = null, value = "", action, offered = [], empty = false }) =>
    new Promise((resolve) => {
      const field = el("input", {
        type: "text",
        id: "answer",
        value,
        maxlength: 200,
        list: "offered",
        autocomplete: "off",
      });
      const form = el(
        "form.ask",
        {
          onsubmit: (event) => {
            event.preventDefault();
            if (!field.value.trim() && !empty) return field.focus();
            resolve(field.value.trim());
            dialog.close();
          },
        },
        el("label", { for: "answer" }, label),
        field,
        el(
          "datalist",
          { id: "offered" },
          offered.map((text) => el("option", { value: text })),
        ),
        hint && el("p.hint", null, hint),
        el("button.main", { type: "submit" }, action),
      );
      const dialog = S.dialog(title, form);
      dialog.addEventListener("close", () => resolve(null)); // unless it is answered
      field.focus();
      field.select();
    });

  /** Return a promise of the reader's name, which is asked once. */
  S.reader = async (again = false) => {
    if (S.marks.reader && !again) return S.marks.reader;
    const name = await S.ask({
      title: "Who is reading?",
      label: "Your name or initials",
      hint: "It stands beside your marks when you export them. Everything stays in this browser until then.",
      value: S.marks.reader,
      offered: S.marks.readers(),
      action: "Continue",
    });
    if (name) S.marks.reader = name;
    return name;
  };

  const KEYS = [
    ["j  k", "next and previous case"],
    ["/", "search the cases"],
    ["← ↑ → ↓", "move over the patches"],
    ["Shift + arrow or click", "select a range of patches"],
    ["Ctrl + click, Space", "add a patch to the selection"],
    ["Enter", "look at a patch"],
    ["1  2  3", "mark as signal, not signal, artefact"],
    ["4", "mark with a label of your own"],
    ["0", "take the mark off"],
    ["n", "write a note on a patch"],
    ["u", "undo the last mark"],
    ["Esc", "close, or clear the selection"],
    ["?", "these keys"],
  ];
  S.help = () => {
    const rows = KEYS.map(([keys, does]) =>
      el("tr", null, el("th", { scope: "row" }, el("kbd", null, keys)), el("td", null, does)),
    );
    S.dialog("Keys", el("table.keys", null, el("tbody", null, rows)));
  };
})(window.stratamil);
