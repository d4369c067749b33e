"use strict";
// The list of cases: which, in which order, and how each is told of.
((S) => {
  const { el } = S;
  const natural = (a, b) => a.id.localeCompare(b.id, "en", { numeric: true }) || (a.key < b.key ? -1 : 1);
  const ORDERS = {
    misleading: ["Most misleading first", (a, b) => (a.ofTruth ?? 2) - (b.ofTruth ?? 2) || natural(a, b)],
    id: ["By name", natural],
    sure: ["Surest first", (a, b) => b.probability[b.predicted] - a.probability[a.predicted] || natural(a, b)],
    unsure: ["Least sure first", (a, b) => a.probability[a.predicted] - b.probability[b.predicted] || natural(a, b)],
    disagreement: [
      "Largest SD first",
      (a, b) => (b.sd?.[b.predicted] ?? 0) - (a.sd?.[a.predicted] ?? 0) || natural(a, b),
    ],
    patches: ["Most patches first", (a, b) => b.n_patches - a.n_patches || natural(a, b)],
  };
  /** Whether any true class is known. */
  S.told = () => S.study.cases.some((one) => one.truth !== null);
  const usual = () => (S.told() ? "misleading" : "id");
  S.orderOf = (state) => (ORDERS[state.order] ? state.order : usual());
  S.orders = () =>
    Object.entries(ORDERS)
      .filter(([name]) => (name !== "misleading" || S.told()) && (name !== "disagreement" || S.several))
      .map(([name, [text]]) => [name, text]);

  const lacking = (one, lacks) => {
    if (lacks === "*") return one.missing.length > 0;
    return !lacks || one.missing.some((stain) => S.study.stains[stain] === lacks);
  };

  /** The cases that the state lets through, in its order. */
  S.listed = (state) => {
    const { cases, classes } = S.study;
    const words = state.find
      .toLowerCase()
      .split(/\s+/)
      .filter((word) => word);
    const passes = (one) =>
      words.every((word) => one.text.includes(word)) &&
      (!state.wrong || one.wrong === (state.wrong === "1")) &&
      (!state.truth || classes[one.truth] === state.truth) &&
      (!state.split || one.split === state.split) &&
      lacking(one, state.lacks);
    // a filter leaves cases out of a random order, it does not change it: readers with one number read one order
    if (state.blind) return S.shuffled([...cases].sort(natural), `${S.study.study} ${state.seed}`).filter(passes);
    return cases.filter(passes).sort(ORDERS[S.orderOf(state)][1]);
  };

  /** Whether the model was right, and how sure it was. */
  const sure = (one) => {
    const sd = one.sd && el("span.muted", null, ` ± ${S.probability(one.sd[one.predicted])}`);
    return el("span.sure", null, S.rightness(one), S.probability(one.probability[one.predicted]), sd);
  };

  const said = (one) => [one.wrong ? [S.classTag(one.truth), " → "] : null, S.classTag(one.predicted)];

  const signs = (one, blind, marked) => {
    const judged = S.marks.verdict(one.id);
    const agree = judged.verdict === "agree";
    return el(
      "span.signs",
      null,
      !blind &&
        one.flags.length > 0 &&
        el("span.flag", { title: one.flags.join("\n"), "aria-label": one.flags.join(" ") }, "⚑"),
      !blind && judged.verdict && el("span", { title: agree ? "You agree" : "You do not agree" }, agree ? "✓" : "✕"),
      blind && judged.class && el("span", { title: "You gave a diagnosis" }, "✓"),
      marked > 0 && el("span.count", { title: `${S.plural(marked, "patch", "patches")} marked` }, `✎ ${marked}`),
    );
  };

  const row = (one, state, marked) => {
    const blind = state.blind === "1";
    const here = [state.case, state.beside].includes(one.key);
    const attributes = { "aria-current": one.key === state.case ? "true" : null, "data-key": one.key, tabindex: -1 };
    const link = S.link(
      "a.case",
      S.toCase(one.key),
      attributes,
      el("span.id", null, one.id, one.key !== one.id && el("span.muted", null, ` split ${one.split}`)),
      blind ? el("span.sure", null, S.plural(one.n_patches, "patch", "patches")) : sure(one),
      el("span.about", null, el("span.said", null, blind ? null : said(one)), signs(one, blind, marked)),
      one.missing.length > 0 &&
        el("span.lacks", null, "no ", one.missing.map((stain) => S.study.stains[stain]).join(", ")),
      !blind &&
        el("i.sureness", {
          vars: { "--p": one.probability[one.predicted], "--hue": S.study.class_colours[one.predicted] },
        }),
    );
    return el("li", here ? { class: "here" } : null, link);
  };

  /** What a row says, in a line. */
  const how = (state) => {
    if (state.blind) return `In random order ${state.seed}.`;
    const n = S.study.seeds.length;
    const sd = S.several ? ` ± SD over ${S.plural(n, "training")}` : "";
    const flags = S.study.cases.some((one) => one.flags.length) ? "; ⚑ note" : "";
    return `${S.told() ? "True → predicted" : "Predicted"}, probability${sd}${flags}`;
  };

  const choosing = () =>
    S.comparing && [
      "Compare with which case? ",
      el("button", { type: "button", onclick: () => S.endCompare() }, "Cancel"),
    ];
  const NO_FILTER = { wrong: "", truth: "", split: "", lacks: "" };
  const NONE = { ...NO_FILTER, find: "" };
  /** The cases that the search finds, if no filter were set. */
  const hidden = (state) => S.listed({ ...state, ...NO_FILTER });
  /** Why no case is shown. */
  const nothing = (state) => {
    const n = state.find ? hidden(state).length : 0;
    if (!n) return "No case is like this.";
    const kind = { 1: "“Wrong”", 0: "“Right”" }[state.wrong];
    const by = [kind, (state.truth || state.split || state.lacks) && "the filter"].filter(Boolean).join(" and ");
    return `${S.plural(n, "case")} found, hidden by ${by}.`;
  };

  let parts = null;
  const build = (nav) => {
    parts = {
      choosing: el("p.choosing", { role: "status" }),
      filters: el("div.above-list"),
      rows: el("ul.rows"),
      none: el("p.none"),
      how: el("p.how"),
    };
    parts.rows.addEventListener("keydown", stepping);
    parts.rows.addEventListener("focusin", ({ target }) => rove(target.closest("a")));
    nav.replaceChildren(parts.choosing, parts.filters, parts.how, parts.rows, parts.none);
  };

  // The list is one stop of the Tab key; arrows move in it.
  const rove = (link) => {
    for (const other of parts.rows.querySelectorAll('a[tabindex="0"]')) other.tabIndex = -1;
    if (link) link.tabIndex = 0;
  };
  const links = () => [...parts.rows.querySelectorAll("a")];
  const stepping = (event) => {
    const [all, at] = [links(), links().indexOf(event.target.closest("a"))];
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    all[Math.min(all.length - 1, Math.max(0, to))]?.focus();
  };
  S.focusList = () => parts.rows.querySelector('a[tabindex="0"]')?.focus();
  S.openFirst = () => {
    const [first] = S.listed(S.state);
    if (!first) return S.say(nothing(S.state));
    S.go({ ...S.toCase(first.key), find: "" }); // j and k then go through the whole list
    document.getElementById("main").focus();
  };
  /** Open the next case of the list, or one before. */
  S.step = (by) => {
    const keys = S.listed(S.state).map((one) => one.key);
    const at = keys.indexOf(S.state.case);
    const next = at < 0 ? keys[by > 0 ? 0 : keys.length - 1] : keys[at + by];
    if (next !== undefined) S.go({ case: next });
    else S.say(`This is the ${by > 0 ? "last" : "first"} of ${S.plural(keys.length, "case")} in the list.`);
  };

  S.showList = (nav, state) => {
    if (!parts) build(nav);
    S.showFilters(parts.filters, state);
    const [found, counts] = [S.listed(state), S.marks.byCase()];
    const focused = parts.rows.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    parts.rows.replaceChildren(...found.map((one) => row(one, state, counts.get(one.id) ?? 0)));
    S.fill(parts.choosing, choosing());
    parts.how.textContent = how(state);
    parts.rows.hidden = !found.length;
    const shown = state.find && hidden(state).length ? NO_FILTER : NONE;
    const link = S.link("a", shown, null, shown === NONE ? "Show all cases" : "Remove the filter");
    S.fill(parts.none, !found.length && [`${nothing(state)} `, link]);
    const current = parts.rows.querySelector("[aria-current]");
    rove(current ?? parts.rows.querySelector("a"));
    if (focused !== undefined) parts.rows.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
    current?.scrollIntoView({ block: "nearest" });
  };
})(window.stratamil);
