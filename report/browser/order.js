"use strict";
// Which patches of a case are shown, in which order, and how much of the attention and of the logit they carry.
((S) => {
  /** The class whose contributions are shown: the one asked for, else the predicted one. */
  S.shownClass = (data, state) => {
    const asked = S.study.classes.indexOf(state.of);
    return asked < 0 ? data.case.predicted : asked;
  };

  const SORTS = [
    ["attention", "weight"],
    ["for", "contribution for"],
    ["against", "contribution against"],
    ["disagreement", "disagreement of seeds"],
    ["number", "patch number"],
  ];
  /** Names of the orders that this study has, and what they are called. */
  S.sorts = () => SORTS.filter(([name]) => name !== "disagreement" || S.several);

  const VALUE = {
    attention: (data) => (i) => data.weight[i],
    for: (data, c) => (i) => data.contribution[c][i],
    against: (data, c) => (i) => -data.contribution[c][i],
    disagreement: (data) => (i) => (data.sd ? data.sd[i] : data.weight[i]),
  };

  /** Return {groups: [{slice, patches}], patches, shown}: indices in the order seen, all and by group. */
  S.ordered = (data, state) => {
    const all = Array.from({ length: data.n }, (_, i) => i);
    let patches = all.filter((i) => S.within(data, state, i));
    if (state.blind) {
      patches = S.shuffled(patches, `${S.study.study} ${state.seed} ${data.case.id}`);
      return { groups: [{ slice: null, patches }], patches, of: patches.length };
    }
    const of = patches.length;
    const value = VALUE[state.sort]?.(data, S.shownClass(data, state));
    const best = value ?? VALUE.attention(data);
    if (state.top < 100) {
      patches = [...patches].sort((a, b) => best(b) - best(a)).slice(0, Math.max(1, Math.ceil((of * state.top) / 100)));
      if (!value) patches.sort((a, b) => a - b);
    } else if (value) patches = patches.sort((a, b) => value(b) - value(a) || a - b);
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
  S.carried = (data, patches, c) => ({
    attention: sum(data.weight, patches),
    contribution: sum(data.contribution[c], patches),
    all:
      sum(
        data.contribution[c],
        data.slice.map((_, i) => i),
      ) + (data.left_out?.contribution?.[c] ?? 0),
  });

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
