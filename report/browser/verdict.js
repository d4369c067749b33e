"use strict";
// What the reader says of a case: a verdict on the model or, blinded, a diagnosis; and a comment.
((S) => {
  const { el } = S;

  const press = (one, pressed, changes, text) =>
    el(
      "button",
      {
        type: "button",
        "aria-pressed": String(pressed),
        onclick: async () => (await S.reader("verdict")) && S.marks.judge(one.id, changes),
      },
      text,
    );

  /** The buttons of one choice; the one that is chosen takes it back. */
  const choices = (one, name, label, texts) => {
    const chosen = S.marks.verdict(one.id)[name];
    const buttons = texts.map(([value, text]) =>
      press(one, chosen === value, { [name]: chosen === value ? "" : value }, text),
    );
    return el("div.press", { role: "group", "aria-label": label }, buttons);
  };

  S.verdict = (one, state) => {
    const said = S.marks.verdict(one.id);
    const comment = el("textarea", {
      rows: 1,
      "aria-label": `Comment on case ${one.id}`,
      placeholder: "Comment",
      value: said.comment,
    });
    comment.addEventListener("change", async () => {
      if (!(await S.reader("comment"))) return;
      S.marks.judge(one.id, { comment: comment.value.trim() });
      S.say("Comment saved.");
    });
    const classes = S.study.classes.map((name, c) => [name, S.classTag(c)]);
    const verdicts = [
      ["agree", "I agree"],
      ["disagree", "I do not"],
    ];
    return el(
      "section.reading",
      null,
      el("h2", null, state.blind ? "Your diagnosis" : "Your verdict"),
      state.blind ? choices(one, "class", "Diagnosis", classes) : choices(one, "verdict", "Verdict", verdicts),
      !state.blind && said.class && el("p.muted", null, `Your blinded diagnosis: ${said.class}`),
      comment,
    );
  };
})(window.stratamil);
