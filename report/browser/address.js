"use strict";
// What is seen is in the address after the #, so that a link to a finding can be sent. Only what differs from USUAL is.
((S) => {
  const USUAL = {
    case: "", // key of the case that is open
    beside: "", // key of a second one
    patch: "", // path of the patch that is large; its place in the order while blinded
    sort: "attention", // attention, for, against, disagreement, number
    of: "", // class whose contributions are shown; empty: the predicted one
    group: "", // slice: patches by stain and slice
    top: 100, // per cent of the patches that are shown
    stain: "", // only patches of this stain
    slice: "", // only this slice: its number in the case
    slice2: "", // the same of the case beside
    marks: "", // only patches with (some) or without (none) a mark
    map: "", // 1: the map of a slice
    colour: "", // contribution: of the map
    page: "", // 1: the case as a page to print
    order: "", // of the list of cases
    wrong: "", // 1: only wrong ones; 0: only right ones
    truth: "", // only of this class
    split: "", // only of this split
    lacks: "", // only without this stain; *: without any
    find: "", // only those whose names hold this text
    blind: "", // 1: nothing of what the model said
    seed: 1, // number of the random order while blinded
  };
  // What would tell of labels, predictions or weights. While blinded it is neither obeyed nor in the address.
  const TELLING = [
    "beside",
    "sort",
    "of",
    "group",
    "top",
    "slice",
    "slice2",
    "map",
    "colour",
    "page",
    "order",
    "wrong",
    "truth",
  ];
  const OF_CASE = ["patch", "stain", "slice", "slice2", "of", "beside"]; // what another case has not
  const STEPS = ["case", "beside", "page", "blind"]; // what Back takes back

  const parse = () => {
    const state = S.usual();
    const asked = new URLSearchParams(location.search);
    for (const name of ["blind", "seed"]) if (asked.has(name)) state[name] = asked.get(name);
    for (const [name, value] of new URLSearchParams(location.hash.slice(1))) if (name in USUAL) state[name] = value;
    return clean(state);
  };

  const clean = (state) => {
    state.top = Math.min(100, Math.max(0.1, Number(state.top) || 100));
    state.seed = Math.abs(Math.trunc(Number(state.seed))) || 1;
    if (state.sort === "contribution") state.sort = "for";
    if (!S.sorts().some(([name]) => name === state.sort)) state.sort = USUAL.sort;
    state.blind = state.blind === "1" ? "1" : "";
    if (state.blind) for (const name of TELLING) state[name] = USUAL[name];
    if (state.beside === state.case || !S.byKey.has(state.beside)) state.beside = "";
    return state;
  };

  const written = (state) => {
    const hash = new URLSearchParams();
    const asked = new URLSearchParams(location.search);
    for (const [name, usual] of Object.entries(state.blind ? USUAL : S.usual())) {
      if (state[name] !== usual) hash.set(name, state[name]);
      else if (name === "blind" && asked.get("blind") === "1") hash.set("blind", "0");
    }
    return `#${hash}`;
  };

  // Where patches have no images, a case begins with what there is to see: where they lie, and in which slice.
  S.usual = () => (S.study?.images === false ? { ...USUAL, map: "1", group: "slice" } : { ...USUAL });
  S.state = S.usual();
  S.address = (changes) => written(clean({ ...S.state, ...forCase(changes) }));

  /** A link to what these changes show. It follows the state: a link made before the last change is not stale. */
  S.link = (kind, changes, attributes, ...children) => {
    const fresh = () => (link.href = S.address(changes));
    const follow = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      S.go(changes);
    };
    const link = S.el(
      kind,
      { href: S.address(changes), onclick: follow, onpointerdown: fresh, onfocus: fresh, ...attributes },
      ...children,
    );
    return link;
  };

  const forCase = (changes) => {
    if ("beside" in changes) changes = { slice2: "", ...changes };
    if (!("case" in changes) || changes.case === S.state.case) return changes;
    return { ...Object.fromEntries(OF_CASE.map((name) => [name, USUAL[name]])), ...changes };
  };

  let open = {}; // what was seen before the reading was blinded
  /** Hide what the model said, and with it the case that is open; or show again what was seen. */
  S.blind = (on) => {
    const of = (state, names) => Object.fromEntries(names.map((name) => [name, state[name]]));
    if (on) open = of(S.state, ["case", "stain", ...TELLING]);
    S.go(on ? { blind: "1", case: "" } : { ...of(S.usual(), TELLING), ...open, blind: "" });
  };

  /** Change what is seen. */
  S.go = (changes) => {
    const before = S.state;
    S.state = clean({ ...before, ...forCase(changes) });
    const step = STEPS.some((name) => before[name] !== S.state[name]);
    const hash = written(S.state);
    if (hash !== (location.hash || "#")) history[step ? "pushState" : "replaceState"](null, "", hash);
    S.emit("state", S.state, before);
  };

  S.start = () => {
    const follow = () => {
      const before = S.state;
      S.state = parse();
      const hash = written(S.state); // what is not to be told leaves the address at once
      if (S.state.blind && hash !== location.hash) history.replaceState(null, "", hash);
      S.emit("state", S.state, before);
    };
    addEventListener("hashchange", follow);
    addEventListener("popstate", follow);
    follow();
  };
})(window.stratamil);
