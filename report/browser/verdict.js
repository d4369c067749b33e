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

  /** What a blinded reader can say: a diagnosis, unless the case was opened with its labels before. */
  const diagnosis = (one, said) => {
    if (!S.marks.seen(one.id))
      return choices(
        one,
        "class",
        "Diagnosis",
        S.study.classes.map((name, c) => [name, S.classTag(c)]),
      );
    const given = said.class ? `${said.class}. It stays` : "None, and none can be given";
    return el("p.muted", null, `${given}: the case was opened with its labels.`);
  };

  S.verdict = (one, state) => {
    if (!state.blind) S.marks.see(one.id);
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
    const verdicts = [
      ["agree", ["I agree: ", S.classTag(one.predicted)]],
      ["disagree", "I do not"],
    ];
    return el(
      "section.reading",
      null,
      el("h2", null, state.blind ? "Your diagnosis" : "Your verdict"),
      state.blind ? diagnosis(one, said) : choices(one, "verdict", "Verdict", verdicts),
      !state.blind && said.class && el("p.muted", null, `Your blinded diagnosis: ${said.class}`),
      comment,
    );
  };
})(window.stratamil);
