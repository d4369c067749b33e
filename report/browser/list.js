"use strict";
// The list of cases: search, filters, order.
((S) => {
  const { el } = S;
  const natural = (a, b) => a.id.localeCompare(b.id, "en", { numeric: true }) || (a.key < b.key ? -1 : 1);
  const ORDERS = {
    misleading: ["Most misleading first", (a, b) => (a.ofTruth ?? 2) - (b.ofTruth ?? 2) || natural(a, b)],
    id: ["By name", natural],
    sure: ["Surest first", (a, b) => b.probability[b.predicted] - a.probability[a.predicted] || natural(a, b)],
    unsure: ["Least sure first", (a, b) => a.probability[a.predicted] - b.probability[b.predicted] || natural(a, b)],
    disagreement: [null, (a, b) => (b.sd?.[b.predicted] ?? 0) - (a.sd?.[a.predicted] ?? 0) || natural(a, b)],
    patches: ["Most patches first", (a, b) => b.n_patches - a.n_patches || natural(a, b)],
  };
  const told = () => S.study.cases.some((one) => one.truth !== null);
  const usual = () => (told() ? "misleading" : "id");

  /** The cases that the state lets through, in its order. */
  S.listed = (state) => {
    const { cases, classes, stains } = S.study;
    const words = state.find
      .toLowerCase()
      .split(/\s+/)
      .filter((word) => word);
    const passes = (one) =>
      words.every((word) => one.text.includes(word)) &&
      (!state.wrong || one.wrong) &&
      (!state.truth || classes[one.truth] === state.truth) &&
      (!state.split || one.split === state.split) &&
      (!state.lacks || one.missing.some((stain) => stains[stain] === state.lacks));
    const found = cases.filter(passes);
    if (state.blind) return S.shuffled(found.sort(natural), `${S.study.study} ${state.seed}`);
    return found.sort((ORDERS[state.order] ?? ORDERS[usual()])[1]);
  };

  const row = (one, state, counts) => {
    const c = one.predicted;
    const here = [state.case, state.beside].includes(one.key);
    const judged = S.marks.verdict(one.id).verdict;
    const marked = counts.get(one.id) ?? 0;
    const beside = state.case && one.key !== state.case && !state.blind;
    const link = S.link(
      "a.case",
      { case: one.key },
      { "aria-current": one.key === state.case ? "true" : null, "data-key": one.key },
      el("span.id", null, one.id, one.key !== one.id && el("span.muted", null, ` split ${one.split}`)),
      state.blind
        ? el("span.sure", null, S.plural(one.n_patches, "patch", "patches"))
        : el(
            "span.sure",
            null,
            S.probability(one.probability[c]),
            one.sd && el("span.muted", null, ` ± ${S.probability(one.sd[c])}`),
          ),
      !state.blind && el("span.said", null, one.wrong ? [S.classTag(one.truth), " → "] : null, S.classTag(c)),
      el(
        "span.signs",
        null,
        one.wrong && !state.blind && el("b.wrong", null, "wrong"),
        one.flags.length && !state.blind
          ? el("span.flag", { title: one.flags.join("\n"), "aria-label": one.flags.join(" ") }, "⚑")
          : null,
        judged &&
          !state.blind &&
          el(
            "span.judged",
            { title: judged === "agree" ? "You agree" : "You do not agree" },
            judged === "agree" ? "✓" : "✕",
          ),
        marked > 0 && el("span.count", { title: `${S.plural(marked, "patch", "patches")} marked` }, `✎ ${marked}`),
      ),
      one.missing.length > 0 &&
        el("span.lacks", null, "no ", one.missing.map((stain) => S.study.stains[stain]).join(", ")),
      !state.blind && el("i.sureness", { vars: { "--p": one.probability[c], "--hue": S.study.class_colours[c] } }),
    );
    const button =
      beside &&
      el(
        "button.beside",
        {
          type: "button",
          title: "Show beside the open case",
          "aria-label": `Show ${one.id} beside the open case`,
          onclick: () => S.go({ beside: one.key === state.beside ? "" : one.key }),
        },
        one.key === state.beside ? "−" : "◫",
      );
    return el("li", here ? { class: "here" } : null, link, button);
  };

  const choice = (label, name, options, value = S.state[name]) => {
    const select = el(
      "select",
      { id: `by-${name}`, onchange: () => S.go({ [name]: select.value }) },
      options.map(([key, text]) => el("option", { value: key, selected: key === value }, text)),
    );
    return el("label.choice", { for: `by-${name}` }, el("span", null, label), select);
  };

  const filters = (state) => {
    const { cases, classes, stains } = S.study;
    const splits = [...new Set(cases.map((one) => one.split))].filter((split) => split !== null);
    const missing = stains.filter((_, stain) => cases.some((one) => one.missing.includes(stain)));
    const any = (items) => [["", "any"], ...items.map((text) => [text, text])];
    return [
      !state.blind && told() && choice("True class", "truth", any(classes)),
      splits.length > 1 && choice("Split", "split", any(splits)),
      missing.length > 0 && choice("Without stain", "lacks", any(missing)),
    ].filter(Boolean);
  };

  const orders = () => {
    const shown = Object.entries(ORDERS).filter(([name]) => told() || name !== "misleading");
    const named = shown.map(([name, [text]]) => [name, text ?? "Seeds disagree most first"]);
    return named.filter(([name]) => name !== "disagreement" || S.several);
  };

  let parts = null;
  const build = (nav) => {
    const search = el("input", {
      type: "search",
      id: "find",
      placeholder: "Search cases",
      "aria-label": "Search cases",
      "aria-keyshortcuts": "/",
      oninput: () => S.go({ find: search.value }),
    });
    parts = {
      search,
      kinds: el("div.kinds", { role: "group", "aria-label": "Cases shown" }),
      more: el("div.more"),
      rows: el("ul.rows"),
      none: el("p.none"),
      how: el("p.how"),
    };
    const fold = el("details.filters", null, el("summary", null, "Filter and sort"), parts.more);
    parts.fold = fold;
    nav.replaceChildren(search, parts.kinds, fold, parts.how, parts.rows, parts.none);
  };

  S.showList = (nav, state) => {
    if (!parts) build(nav);
    const [found, counts] = [S.listed(state), S.marks.byCase()];
    if (parts.search.value !== state.find) parts.search.value = state.find;
    const wrong = S.study.cases.filter((one) => one.wrong).length;
    const kind = (text, n, value) =>
      el(
        "button",
        { type: "button", "aria-pressed": String(state.wrong === value), onclick: () => S.go({ wrong: value }) },
        `${text} `,
        el("span.muted", null, S.count(n)),
      );
    parts.kinds.replaceChildren(
      ...(state.blind || !told() ? [] : [kind("All", S.study.cases.length, ""), kind("Wrong", wrong, "1")]),
    );
    const order = ORDERS[state.order] ? state.order : usual();
    const held = document.activeElement?.id;
    parts.more.replaceChildren(...filters(state), ...(state.blind ? [] : [choice("Order", "order", orders(), order)]));
    const narrowed = state.truth || state.split || state.lacks || (state.order && state.order !== usual());
    parts.fold.hidden = !parts.more.children.length;
    parts.fold.querySelector("summary").textContent = narrowed ? "Filter and sort •" : "Filter and sort";
    const focused = document.activeElement?.dataset?.key;
    parts.rows.replaceChildren(...found.map((one) => row(one, state, counts)));
    parts.how.textContent = state.blind
      ? "In random order"
      : told()
        ? "Predicted; true → predicted if wrong"
        : "Predicted class with its probability";
    parts.none.textContent = found.length ? "" : "No case is like this.";
    if (focused !== undefined) parts.rows.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
    else if (held?.startsWith("by-")) document.getElementById(held)?.focus();
    parts.rows.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  };
})(window.stratamil);
