"use strict";
// The head of a case: what it is, what the model said, where its attention went, what the reader says.
((S) => {
  const { el } = S;

  const title = (one, state, slot) => {
    const words = [
      one.patient && one.patient !== one.id && `patient ${one.patient}`,
      one.split && `split ${one.split}`,
      S.plural(one.n_patches, "patch", "patches"),
    ];
    return el(
      "div.title",
      null,
      slot === "case" && S.link("a.back", { case: "" }, null, "← Cases"),
      el("h1", null, "Case ", one.id, " ", el("small", null, words.filter(Boolean).join(" · "))),
      el(
        "div.acts",
        null,
        !state.blind && S.link("a.act", { case: one.key, page: "1" }, null, "Page to print"),
        slot === "beside" && el("button.act", { type: "button", onclick: () => S.go({ beside: "" }) }, "Close"),
      ),
    );
  };

  const verdictLine = (one) => {
    const predicted = el(
      "span",
      null,
      "The model says ",
      S.classTag(one.predicted),
      " ",
      el("b", null, S.probability(one.probability[one.predicted])),
    );
    if (one.sd)
      predicted.append(` (SD ${S.probability(one.sd[one.predicted])} over ${S.plural(one.members.length, "seed")})`);
    const truth = one.truth === null ? null : el("span", null, "True class ", S.classTag(one.truth));
    return el(
      "p.line",
      null,
      predicted,
      truth,
      one.wrong === null ? null : one.wrong ? el("b.wrong", null, "wrong") : el("span.right", null, "right"),
    );
  };

  /** A class a row: a dot for each member, a line for their mean. */
  S.probabilities = (one) =>
    el(
      "section.probabilities",
      null,
      el("h2", null, "Probability", S.several && el("small", null, "a dot per seed, a line for the ensemble")),
      one.probability.map((mean, c) =>
        el(
          "div.scale",
          {
            role: "img",
            "aria-label": `${S.study.classes[c]}: ${S.probability(mean)}${S.several ? `; by seed ${one.members.map((member) => S.probability(member[c])).join(", ")}` : ""}`,
          },
          S.classTag(c),
          el(
            "span.track",
            { vars: { "--hue": S.study.class_colours[c] } },
            el("i.mean", { vars: { "--p": mean } }),
            one.members.length > 1 &&
              one.members.map((member, m) =>
                el("i.member", {
                  vars: { "--p": member[c] },
                  title: `${S.study.seeds[m] ?? ""} ${S.probability(member[c])}`,
                }),
              ),
          ),
          el("b", null, S.probability(mean)),
        ),
      ),
    );

  const stains = (data) => {
    const shares = data.stains.filter(({ weight }) => weight > 0);
    const label = shares.map(({ stain, weight }) => `${S.study.stains[stain]} ${S.percent(weight)}`).join(", ");
    return el(
      "div.stack",
      { role: "img", "aria-label": `Weight by stain: ${label}` },
      shares.map(({ stain, weight }) =>
        el("i", {
          vars: { "--p": weight, "--hue": S.study.stain_colours[stain] },
          title: `${S.study.stains[stain]} ${S.percent(weight)}`,
        }),
      ),
    );
  };

  const sliceRow = (data, k, widest, state, choose) => {
    const slice = data.slices[k];
    const text = `${S.percent(slice.share)} of the weight, ${S.times(slice.share / slice.equal)} the equal share of its stain's slices, ${S.plural(slice.n, "patch", "patches")}`;
    const parts = [
      el("span.name", null, slice.id),
      el(
        "span.track",
        { vars: { "--hue": S.study.stain_colours[slice.stain] } },
        el("i.fill", { vars: { "--p": slice.share / widest } }),
        el("i.equal", { vars: { "--p": slice.equal / widest } }),
      ),
      el("b", null, S.percent(slice.share)),
      el("span.muted.ratio", null, S.times(slice.share / slice.equal)),
    ];
    if (!choose) return el("div.slice", null, parts);
    const pressed = state.slice === String(k);
    return el(
      "button.slice",
      {
        type: "button",
        "aria-pressed": String(pressed),
        "aria-label": `Only slice ${slice.name}: ${text}`,
        title: text,
        onclick: () => choose(pressed ? "" : String(k)),
      },
      parts,
    );
  };

  const stainName = (stain, weight, state, choose) => {
    const [name, text] = [S.study.stains[stain], [S.stainTag(stain), " ", el("b", null, S.percent(weight))]];
    if (!choose) return el("div.stain-name", null, text);
    const pressed = state.stain === name;
    return el(
      "button.stain-name",
      {
        type: "button",
        "aria-pressed": String(pressed),
        "aria-label": `Only stain ${name}: ${S.percent(weight)} of the weight`,
        onclick: () => S.go({ stain: pressed ? "" : name }),
      },
      text,
    );
  };

  const most = (data) => {
    const first = data.slices.reduce((best, slice) => (slice.share > best.share ? slice : best));
    return data.slices.length > 1
      ? el(
          "p.most",
          null,
          "The largest share, ",
          el("b", null, S.percent(first.share)),
          ", is on ",
          el("b", null, first.name),
          ".",
        )
      : null;
  };

  /** Bars of stains and of their slices, each against the share it had if its stain's slices were equal. */
  S.attention = (data, state, choose = null) => {
    const widest = Math.max(...data.slices.map((slice) => Math.max(slice.share, slice.equal)), 1e-9);
    const groups = data.stains.map(({ stain, weight }) =>
      el(
        "div.stain",
        null,
        stainName(stain, weight, state, choose),
        data.slices.map((slice, k) => (slice.stain === stain ? sliceRow(data, k, widest, state, choose) : null)),
      ),
    );
    const missing = data.case.missing.map((stain) => el("div.stain-name.muted", null, S.stainTag(stain), "no slice"));
    const hint = choose ? "click a stain or slice to see only its patches; " : "";
    return el(
      "section.attention",
      null,
      el("h2", null, "Weight by stain and slice", el("small", null, `${hint}the line is the equal share`)),
      most(data),
      stains(data),
      el("div.slices", null, groups, missing),
    );
  };

  const reading = (one, state) => {
    const said = S.marks.verdict(one.id);
    const press = (verdict, text) =>
      el(
        "button",
        {
          type: "button",
          "aria-pressed": String(said.verdict === verdict),
          onclick: async () =>
            (await S.reader()) &&
            S.marks.judge(one.id, { verdict: S.marks.verdict(one.id).verdict === verdict ? "" : verdict }),
        },
        text,
      );
    const comment = el("textarea", {
      rows: 1,
      "aria-label": `Comment on case ${one.id}`,
      placeholder: "Comment",
      value: said.comment,
    });
    comment.addEventListener(
      "change",
      async () => (await S.reader()) && S.marks.judge(one.id, { comment: comment.value.trim() }),
    );
    return el(
      "section.reading",
      null,
      el("h2", null, "Your reading"),
      !state.blind &&
        el(
          "div.press",
          { role: "group", "aria-label": "Verdict" },
          press("agree", "I agree"),
          press("disagree", "I do not"),
        ),
      comment,
    );
  };

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
      title(one, state, slot),
      !state.blind && verdictLine(one),
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
        el("div", null, !state.blind && S.probabilities(one), reading(one, state)),
        data && (state.blind ? blindSlices(data) : S.attention(data, state, choose)),
      ),
    );
  };
})(window.stratamil);
