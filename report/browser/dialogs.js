"use strict";
// Windows over the page: any content, or a question with one answer.
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
      ...content.filter(Boolean),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus?.();
    });
    // A click beside it closes it, unless an answer is being written.
    dialog.addEventListener(
      "click",
      (event) => event.target === dialog && !dialog.querySelector("form") && dialog.close(),
    );
    document.body.append(dialog);
    dialog.showModal();
    return dialog;
  };

  const field = (id, label, value, offered, must) => [
    el("label", { for: id }, label),
    el("input", {
      type: "text",
      id,
      value,
      maxlength: 200,
      list: `${id}-offered`,
      autocomplete: "off",
      required: must,
    }),
    el(
      "datalist",
      { id: `${id}-offered` },
      offered.map((text) => el("option", { value: text })),
    ),
  ];
  const WHO = "Your name or initials";
  const HINT = "Your name stands beside your marks when you export them. Until then all stays in this browser.";

  /** Ask for a text, and for the reader's name where `named`. Returns a promise of both, or of null. */
  const ask = ({ title, label, hint, value = "", action, offered = [], empty = false, named = false }) =>
    new Promise((resolve) => {
      const text = field("answer", label, value, offered, !empty);
      const name = named ? field("reader", WHO, "", S.marks.readers(), true) : [];
      const said = (of) => of[1]?.value.trim();
      const submit = (event) => {
        event.preventDefault();
        if ((!empty && !said(text)) || (named && !said(name))) return;
        resolve({ text: said(text), name: said(name) });
        dialog.close();
      };
      const form = el(
        "form.ask",
        { onsubmit: submit },
        text,
        name,
        hint && el("p.hint", null, hint),
        el("button.main", { type: "submit" }, action),
      );
      const dialog = S.dialog(title, form);
      dialog.addEventListener("close", () => resolve(null)); // unless it is answered
      text[1].focus();
      text[1].select();
    });

  /** Ask for a text; where no reader is known, for the name, too. Returns a promise of the text, or of null. */
  S.askNamed = async (question) => {
    const named = !S.marks.reader;
    const answer = await ask({ ...question, named, hint: named ? HINT : null });
    if (answer?.name) S.marks.reader = answer.name;
    return answer && answer.text;
  };

  /** Ask who is reading. Returns a promise of the name, or of null. */
  S.askReader = async () => {
    const [value, offered] = [S.marks.reader, S.marks.readers()];
    const answer = await ask({ title: "Who is reading?", label: WHO, hint: HINT, value, offered, action: "Continue" });
    if (answer) S.marks.reader = answer.text;
    return answer && answer.text;
  };

  /** Return a promise of the reader's name, which is asked once: `what` waits for it, and is not kept without. */
  S.reader = async (what) => {
    const name = S.marks.reader || (await S.askReader());
    if (!name) S.say(`The ${what} is not kept: it needs your name.`);
    return name;
  };
})(window.stratamil);
