"use strict";
// A case on paper, for a tumour board: probability, stains and slices, ten patches, what is not to be read from them.
((S) => {
  const { el } = S;
  const limits = () => [
    "Attention says how much of the case's representation a patch makes up. It does not say why, nor that the patch shows tumour.",
    `The signed number is a patch's contribution to the ${S.margin("the class")}. All contributions and a bias add up to it exactly. They describe the model, not the tissue.`,
  ];
  const KIND = {
    study:
      "This case was not in the training set of the models that read it. The result is for research, it is no diagnosis.",
    predict: "The result is for research, it is no diagnosis.",
    validate: "The result is for research, it is no diagnosis.",
  };

  const figure = (data, i, state) => {
    const frame = el("div.picture", null, S.thumb(el("div.thumb"), data, i, 138));
    const address = S.image(data, i);
    if (address !== null && data.sheet[i] >= 0) {
      const image = el("img", { alt: "", src: address });
      image.addEventListener("error", () => image.remove());
      frame.append(image);
    }
    const slice = data.slices[data.slice[i]];
    const entry = S.marks.of(data.path[i]);
    return el(
      "figure",
      null,
      frame,
      el(
        "figcaption",
        null,
        el("b", null, `${data.rank[i]}. ${data.name[i]}`),
        el("span", null, S.stainTag(slice.stain), " ", slice.id),
        el("span", null, `attention ${S.percent(data.weight[i])} (${S.times(data.ratio[i])})`),
        S.toldClasses(data, state).map((c) => el("span", null, S.classTag(c), " ", S.signed(data.contribution[c][i]))),
        entry?.mark && el("span", null, `${S.glyph(entry)} ${entry.mark}`),
        entry?.note && el("span", null, entry.note),
      ),
    );
  };

  const verdicts = (one) =>
    S.marks.readers().flatMap((reader) => {
      const said = S.marks.table("verdicts", reader).get(one.id);
      if (!said) return [];
      const words =
        { agree: "agrees with the model", disagree: "does not agree with the model" }[said.verdict] ??
        (said.class ? `says ${said.class}, blinded` : "comments");
      return [el("p", null, el("b", null, reader), ` ${words}`, said.comment && `: ${said.comment}`)];
    });

  /** Fill the page to print with the case of a pane. */
  S.fillBoard = (board, data, state) => {
    const one = data.case;
    const top = data.weight
      .map((_, i) => i)
      .sort((a, b) => data.rank[a] - data.rank[b])
      .slice(0, 10);
    const said = verdicts(one);
    S.fill(
      board,
      el(
        "div.sheet",
        null,
        el(
          "div.acts.no-print",
          null,
          el("button.main", { type: "button", onclick: () => print() }, "Print"),
          S.link("a.act", { page: "" }, null, "Back to the case"),
        ),
        el(
          "p.study",
          null,
          S.study.title,
          one.split !== null && ` · split ${one.split}`,
          one.patient && ` · patient ${one.patient}`,
        ),
        el("h1", null, `Case ${one.id}`),
        el(
          "p.lead",
          null,
          "The model says ",
          S.classTag(one.predicted),
          ` with probability ${S.probability(one.probability[one.predicted])}`,
          one.sd && ` (SD ${S.probability(one.sd[one.predicted])} over ${S.plural(one.members.length, "training")})`,
          one.truth !== null && ["; the true class is ", S.classTag(one.truth), ": ", S.rightness(one)],
          ".",
        ),
        one.flags.length > 0 &&
          el(
            "ul.flags",
            null,
            one.flags.map((text) => el("li", null, text)),
          ),
        el("div.facts", null, S.probabilities(one), S.attention(data, state)),
        el(
          "h2",
          null,
          `The ${top.length} patches with the most attention`,
          el(
            "small",
            null,
            `of ${S.count(one.n_patches)}; they carry ${S.percent(top.reduce((sum, i) => sum + data.weight[i], 0))} of it; in brackets, times the equal share`,
          ),
        ),
        el(
          "div.figures",
          null,
          top.map((i) => figure(data, i, state)),
        ),
        said.length > 0 && el("div.verdicts", null, el("h2", null, "Readers"), said),
        el("p.limits", null, el("b", null, "Limits: "), [...limits(), KIND[S.study.kind] ?? KIND.predict].join(" ")),
      ),
    );
    board.dataset.of = one.key;
  };
})(window.stratamil);
