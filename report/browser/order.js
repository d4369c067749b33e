"use strict";
// Which patches of a case are shown, in which order, and how much of the attention and of the log odds they carry.
((S) => {
  /** The class whose contributions are shown: the one asked for, else the predicted one. */
  S.shownClass = (data, state) => {
    const asked = S.study.classes.indexOf(state.of);
    return asked < 0 ? data.case.predicted : asked;
  };

  /** What the patches of a case and the bias add up to, of a class: its name, or the parts around it. */
  S.marginParts = () => {
    const mean = S.several ? "mean " : "";
    return S.study.classes.length === 2
      ? [`${mean}log odds of `, ""]
      : [`${mean}logit of `, " less the mean of the others"];
  };
  S.margin = (name) => S.marginParts().join(name);
  /** The classes whose contributions are told of a patch: of two classes one, since the other has the same with a minus. */
  S.toldClasses = (data, state) =>
    S.study.classes.length === 2 ? [S.shownClass(data, state)] : S.study.classes.map((_, c) => c);

  // Name in the address -> what it is called, the value that is largest first, and how it is written.
  const contribution = (data, c) => (i) => data.contribution[c][i];
  const SORTS = {
    attention: { text: "attention", value: (data) => (i) => data.weight[i], written: S.percent },
    for: { text: "contribution for", value: contribution, written: S.signed },
    against: {
      text: "contribution against",
      value: (data, c) => (i) => -data.contribution[c][i],
      written: (value) => S.signed(-value),
    },
    disagreement: {
      text: "disagreement of trainings",
      value: (data) => (i) => data.sd?.[i] ?? 0,
      written: (value) => `SD ${S.percent(value)}`,
    },
    number: { text: "patch number", value: null },
  };
  /** Names of the orders that this study has, and what they are called. */
  S.sorts = () =>
    Object.entries(SORTS)
      .filter(([name]) => name !== "disagreement" || S.several)
      .map(([name, { text }]) => [name, text]);

  /** What a patch is sorted by, as it is written below it. */
  S.sortValue = (data, state) => {
    const { value, written } = SORTS[state.sort];
    if (!value) return (i) => String(data.number[i]);
    const of = value(data, S.shownClass(data, state));
    return (i) => written(of(i));
  };

  /** The patches with the most attention, so many per cent of them, rounded up. */
  const attended = (data, patches, percent) =>
    new Set(
      [...patches]
        .sort((a, b) => data.weight[b] - data.weight[a] || a - b)
        .slice(0, Math.max(1, Math.ceil((patches.length * percent) / 100))),
    );

  /** Return {groups: [{slice, patches}], patches, of}: indices in the order seen; of: how many there are without "Top". */
  S.ordered = (data, state) => {
    const all = Array.from({ length: data.n }, (_, i) => i);
    const within = all.filter((i) => S.within(data, state, i));
    if (state.blind) {
      const shuffled = S.shuffled(all, `${S.study.study} ${state.seed} ${data.case.id}`);
      const patches = shuffled.filter((i) => S.within(data, state, i));
      return { groups: [{ slice: null, patches }], patches, of: patches.length };
    }
    const top = state.top < 100 ? attended(data, within, state.top) : null;
    const patches = top ? within.filter((i) => top.has(i)) : within;
    const of = within.length;
    const value = SORTS[state.sort].value?.(data, S.shownClass(data, state));
    if (value) patches.sort((a, b) => value(b) - value(a) || a - b);
    if (state.group !== "slice") return { groups: [{ slice: null, patches }], patches, of };
    const groups = data.slices.map((_, slice) => ({ slice, patches: patches.filter((i) => data.slice[i] === slice) }));
    const filled = groups.filter((group) => group.patches.length);
    return { groups: filled, patches: filled.flatMap((group) => group.patches), of };
  };

  S.within = (data, state, i) => {
    if (state.stain && S.study.stains[data.stain[i]] !== state.stain) return false;
    if (state.slice && data.slice[i] !== Number(state.slice)) return false;
    if (!state.marks) return true;
    return (S.marks.of(data.path[i]) !== null) === (state.marks === "some");
  };

  const sum = (values, indices) => indices.reduce((total, i) => total + values[i], 0);
  S.attentionOf = (data, patches) => sum(data.weight, patches);
  S.contributionOf = (data, patches, c) => sum(data.contribution[c], patches);

  /** Patches of the same slice next to one: by place where there are places, else by number. */
  S.neighbours = (data, patch, n = 8) => {
    const same = data.slice.map((_, i) => i).filter((i) => data.slice[i] === data.slice[patch] && i !== patch);
    const far = data.placed
      ? (i) => (data.x[i] - data.x[patch]) ** 2 + (data.y[i] - data.y[patch]) ** 2
      : (i) => Math.abs(data.number[i] - data.number[patch]);
    return same
      .sort((a, b) => far(a) - far(b))
      .slice(0, n)
      .sort((a, b) => a - b);
  };
})(window.stratamil);
