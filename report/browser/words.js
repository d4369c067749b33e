"use strict";
// What is said of one patch: in a line for a screen reader, in a tip, beside the large image.
((S) => {
  const { el } = S;
  const gone = (data, i) => data.gone.has(i);

  S.patchName = (data, i, state) => (state.blind ? `Patch ${data.place?.get(i) ?? ""}` : data.name[i]);

  const missing = (data, i) => {
    if (data.images === null) return null;
    if (data.sheet[i] < 0) return "This image could not be read.";
    return gone(data, i) ? "The image file is gone; this is its thumbnail." : null;
  };

  /** What the model made of a patch: rows of [what, value]. */
  const weighed = (data, i, state) => {
    const [n, predicted] = [data.case.n_patches, data.case.predicted];
    const sd = data.sd ? ` (SD ${S.percent(data.sd[i])} over ${S.plural(S.study.seeds.length, "training")})` : "";
    const [before, after] = S.marginParts();
    const contribution = (c, k) => [
      k === 0 ? "Contribution" : "",
      el(
        "span",
        null,
        el("b", null, S.signed(data.contribution[c][i])),
        ` to the ${before}`,
        S.classTag(c),
        c === predicted && " (predicted)",
        after,
      ),
    ];
    return [
      ["Attention", el("span", null, el("b", null, S.percent(data.weight[i])), ` of the case${sd}`)],
      [
        "",
        `${S.times(data.ratio[i])} the equal share of ${S.percent(1 / n)}, rank ${S.count(data.rank[i])} of ${S.count(n)}`,
      ],
      ...S.toldClasses(data, state).map(contribution),
    ];
  };

  const marked = (data, i) => {
    const entry = S.marks.of(data.path[i]);
    return [
      ["Mark", entry?.mark && `${S.GLYPHS[entry.mark] ?? "★"} ${entry.mark}`],
      ["Note", entry?.note],
    ];
  };

  /** What is known of a patch, as a list; nothing of the model while blinded. */
  S.factList = (data, i, state, marks = true) => {
    const slice = data.slices[data.slice[i]];
    const share = state.blind || data.slices.length < 2 ? "" : `, which has ${S.percent(slice.share)} of the attention`;
    const rows = [
      ...(state.blind ? [] : weighed(data, i, state)),
      ["Slice", el("span", null, S.stainTag(slice.stain), ` ${slice.id}${share}`)],
      ["Image", missing(data, i)],
      ["Place", data.placed && `${Math.round(data.x[i])}, ${Math.round(data.y[i])}`],
      ...(marks ? marked(data, i) : []),
    ].filter(([, value]) => value);
    return el(
      "dl.facts-of",
      null,
      rows.map(([what, value]) => [el("dt", null, what), el("dd", null, value)]),
    );
  };

  S.spoken = (data, i, state) => {
    const slice = data.slices[data.slice[i]];
    const c = S.shownClass(data, state);
    const entry = S.marks.of(data.path[i]);
    const words = [S.patchName(data, i, state), slice.name];
    if (!state.blind) {
      words.push(`attention ${S.percent(data.weight[i])}, ${S.times(data.ratio[i])} the equal share`);
      words.push(`contribution ${S.signed(data.contribution[c][i])} to the ${S.margin(S.study.classes[c])}`);
    }
    if (missing(data, i)) words.push(missing(data, i));
    if (entry) words.push(`marked ${entry.mark || "with a note"}`);
    return words.join(", ");
  };

  // The tip beside the pointer.
  let [shown, last] = [null, null];
  S.on("marks", () => {
    shown = null;
    if (last) S.tip(...last);
  });
  S.tip = (data, i, state, at) => {
    const tip = document.getElementById("tip");
    last = data === null ? null : [data, i, state, at];
    if (data === null) {
      tip.hidden = true;
      shown = null;
      return;
    }
    if (shown !== `${data.case.key} ${i}`) {
      tip.replaceChildren(el("strong", null, S.patchName(data, i, state)), S.factList(data, i, state));
      tip.hidden = false;
      shown = `${data.case.key} ${i}`;
    }
    const [wide, high] = [tip.offsetWidth, tip.offsetHeight];
    // Below the patch or above it: its neighbours in the row stay in sight.
    const left = Math.max(8, Math.min(at.left, innerWidth - wide - 8));
    const top = at.bottom + 6 + high < innerHeight ? at.bottom + 6 : Math.max(8, at.top - high - 6);
    tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  };

  /** How many patches are shown, and how much of the attention and of the log odds they carry: the line above the grid. */
  S.carried = (data, ordered, state) => {
    const [n, total] = [ordered.patches.length, data.case.n_patches];
    const some =
      n === total
        ? `All ${S.plural(n, "patch", "patches")}`
        : `${S.count(n)} of ${S.plural(total, "patch", "patches")}`;
    if (state.blind) return [`${some}, in random order ${state.seed}`];
    const c = S.shownClass(data, state);
    const of = ordered.of === total ? "" : ` of ${S.count(ordered.of)}`;
    const top = state.top < 100 ? `${some}: the top ${state.top}%${of} by attention` : some;
    const words = [
      top,
      `${S.percent(S.attentionOf(data, ordered.patches))} of the attention`,
      ofMargin(data, ordered, c),
    ];
    const against = ordered.patches.some((i) => data.contribution[c][i] < 0);
    if (state.sort === "against" && !against) words.push(`no patch${n < total ? " of those shown" : ""} counts against ${S.study.classes[c]}`);
    if (data.left_out)
      words.push(
        `${S.plural(data.left_out.n, "patch is", "patches are")} not in this browser, with ${S.percent(data.left_out.weight)} of the attention`,
      );
    return words;
  };

  const ofMargin = (data, ordered, c) => {
    const name = S.margin(S.study.classes[c]);
    const all = data.margin[c] - data.bias[c];
    if (ordered.patches.length < data.case.n_patches)
      return `${S.signed(S.contributionOf(data, ordered.patches, c))} to the ${name}; all patches add ${S.signed(all)}`;
    const [patches, bias, sum] = S.summed(all, data.bias[c]);
    return `${name} ${sum}: patches ${patches}, bias ${bias}`;
  };
})(window.stratamil);
