"use strict";
// The head of a case: what it is, what the model said, where its attention went, what the reader says.
((S) => {
  const { el } = S;

  const act = (text, label, key, onclick, pressed = null) =>
    el(
      "button.act",
      { type: "button", id: `act-${key}`, "aria-label": label, "aria-keyshortcuts": key, title: label, "aria-pressed": pressed, onclick },
      text,
    );

  const acts = (one, state) => [
    act("‹", "Previous case (k)", "k", () => S.step(-1)),
    act("›", "Next case (j)", "j", () => S.step(1)),
    !state.blind && act("Compare", null, "c", () => S.compare(), String(S.comparing || state.beside !== "")),
    !state.blind && S.link("a.act.print", { case: one.key, page: "1" }, null, "Page to print"),
  ];

  /** The line that stays on top: which case it is, and what can be done with it. */
  S.caseTitle = (one, state, slot) => {
    const words = [
      one.patient && one.patient !== one.id && `patient ${one.patient}`,
      one.split && `split ${one.split}`,
      S.plural(one.n_patches, "patch", "patches"),
    ];
    const beside = slot === "beside";
    return [
      !beside && el("div.back", null, S.link("a", { case: "" }, null, "← Cases")), // its words, not its line
      el("h1", null, "Case ", one.id, " ", el("small", null, words.filter(Boolean).join(" · "))),
      el("div.acts", null, beside ? act("Close", null, "Escape", () => S.go({ beside: "" })) : acts(one, state)),
    ];
  };

  const saidLine = (one) => {
    const predicted = el(
      "span",
      null,
      "The model says ",
      S.classTag(one.predicted),
      " ",
      el("b", null, S.probability(one.probability[one.predicted])),
    );
    if (one.sd)
      predicted.append(
        ` (SD ${S.probability(one.sd[one.predicted])} over ${S.plural(one.members.length, "training")})`,
      );
    const truth = one.truth === null ? null : el("span", null, "True class ", S.classTag(one.truth));
    return el("p.line", null, predicted, truth, S.rightness(one));
  };

  /** Whether the model was right, in a word; null where nobody knows. */
  S.rightness = (one) => {
    if (one.wrong === null) return null;
    return one.wrong ? el("b.wrong", null, "wrong") : el("span.right", null, "right");
  };

  /** A class a row: a dot for each member, a line for their mean. */
  S.probabilities = (one) =>
    el(
      "section.probabilities",
      null,
      el("h2", null, "Probability", S.several && el("small", null, "a dot per training, a line for their mean")),
      one.probability.map((mean, c) =>
        el(
          "div.scale",
          {
            role: "img",
            "aria-label": `${S.study.classes[c]}: ${S.probability(mean)}${S.several ? `; by training ${one.members.map((member) => S.probability(member[c])).join(", ")}` : ""}`,
          },
          S.classTag(c),
          el("b", null, S.probability(mean)),
          el(
            "span.track",
            { vars: { "--hue": S.study.class_colours[c] } },
            el("i.mean", { vars: { "--p": mean } }),
            one.members.length > 1 &&
              one.members.map((member, m) =>
                el("i.member", {
                  vars: { "--p": member[c] },
                  title: `training ${m + 1} (${S.study.seeds[m] ?? ""}): ${S.probability(member[c])}`,
                }),
              ),
          ),
        ),
      ),
    );

  const blindSlices = (data) =>
    el(
      "section",
      null,
      el("h2", null, "Slices"),
      data.slices.map((slice) =>
        el("div.stain-name", null, S.stainTag(slice.stain), `${slice.id}, ${S.plural(slice.n, "patch", "patches")}`),
      ),
    );

  S.caseHeader = (data, one, state, slot) => {
    const choose = (slice) => S.go({ [slot === "beside" ? "slice2" : "slice"]: slice });
    const notes = [...one.flags, one.note].filter(Boolean);
    return el(
      "header.head",
      null,
      !state.blind && saidLine(one),
      !state.blind &&
        notes.length > 0 &&
        el(
          "ul.flags",
          null,
          notes.map((text) => el("li", null, text)),
        ),
      el(
        "div.facts",
        null,
        el("div", null, !state.blind && S.probabilities(one), S.verdict(one, state)),
        data && (state.blind ? blindSlices(data) : S.attention(data, state, choose)),
      ),
    );
  };
})(window.stratamil);
