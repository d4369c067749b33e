"use strict";
// Where the attention of a case went: bars of its stains and slices.
((S) => {
  const { el } = S;

  const stains = (data) => {
    const shares = data.stains.filter(({ weight }) => weight > 0);
    const label = shares.map(({ stain, weight }) => `${S.study.stains[stain]} ${S.percent(weight)}`).join(", ");
    return el(
      "div.stack",
      { role: "img", "aria-label": `Attention by stain: ${label}` },
      shares.map(({ stain, weight }) =>
        el("i", {
          vars: { "--p": weight, "--hue": S.study.stain_colours[stain] },
          title: `${S.study.stains[stain]} ${S.percent(weight)}`,
        }),
      ),
    );
  };

  const shares = ({ share, part, n }) =>
    `${S.percent(share)} of the attention, ${S.percent(part)} of the patches (${S.count(n)}): ${S.times(share / part)}`;

  const sliceRow = (data, k, state, choose) => {
    const slice = data.slices[k];
    const parts = [
      el("span.name", null, slice.id),
      el(
        "span.track",
        { vars: { "--hue": S.study.stain_colours[slice.stain] } },
        el("i.fill", { vars: { "--p": slice.share } }),
        el("i.part", { vars: { "--p": slice.part } }),
      ),
      el("b", null, S.percent(slice.share)),
      data.slices.length > 1 && el("span.muted.ratio", null, S.times(slice.share / slice.part)),
    ];
    if (!choose) return el("div.slice", null, parts);
    const pressed = state.slice === String(k);
    return el(
      "button.slice",
      {
        type: "button",
        "aria-pressed": String(pressed),
        "aria-label": `Only slice ${slice.name}: ${shares(slice)}`,
        title: shares(slice),
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
        "aria-label": `Only stain ${name}: ${S.percent(weight)} of the attention`,
        onclick: () => S.go({ stain: pressed ? "" : name }),
      },
      text,
    );
  };

  const most = (data) => {
    if (data.slices.length < 2) return null;
    const first = data.slices.reduce((best, slice) => (slice.share > best.share ? slice : best));
    return el(
      "p.most",
      null,
      el("b", null, first.name),
      " has the most: ",
      el("b", null, S.percent(first.share)),
      ` of the attention, on ${S.percent(first.part)} of the patches.`,
    );
  };

  /** Bars of stains and of their slices, from 0 to 100% in every case; a line for the share of the patches. */
  S.attention = (data, state, choose = null) => {
    const groups = data.stains.map(({ stain, weight }) =>
      el(
        "div.stain",
        null,
        stainName(stain, weight, state, choose),
        data.slices.map((slice, k) => (slice.stain === stain ? sliceRow(data, k, state, choose) : null)),
      ),
    );
    const missing = data.case.missing.map((stain) => el("div.stain-name.muted", null, S.stainTag(stain), "no slice"));
    return el(
      "section.attention",
      null,
      el("h2", null, "Attention by stain and slice", el("small", null, "the line is the share of the patches")),
      most(data),
      stains(data),
      el("div.slices", null, groups, missing),
    );
  };
})(window.stratamil);
