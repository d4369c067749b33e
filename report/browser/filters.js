"use strict";
// Above the list of cases: search, right or wrong, filters, order.
((S) => {
  const { el } = S;
  let parts = null;

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
    const all = (items) => [["", "all"], ...items.map((text) => [text, text])];
    const lacks = [["", "all cases"], ["*", "a stain missing"], ...missing.map((name) => [name, `${name} missing`])];
    return [
      !state.blind && S.told() && choice("True class", "truth", all(classes)),
      splits.length > 1 && choice("Split", "split", all(splits)),
      missing.length > 0 && choice("Stains", "lacks", lacks),
    ].filter(Boolean);
  };

  /** Buttons for all, wrong and right cases, with the numbers that the other filters leave. */
  const kinds = (state) => {
    if (state.blind || !S.told()) return [];
    const button = ([text, value]) =>
      el(
        "button",
        {
          type: "button",
          id: `by-wrong-${value}`,
          "aria-pressed": String(state.wrong === value),
          onclick: () => S.go({ wrong: value }),
        },
        `${text} `,
        el("span.muted", null, S.count(S.listed({ ...state, wrong: value }).length)),
      );
    return [
      ["All", ""],
      ["Wrong", "1"],
      ["Right", "0"],
    ].map(button);
  };

  const search = () => {
    const field = el("input", {
      type: "search",
      id: "find",
      placeholder: "Search cases",
      "aria-label": "Search cases",
      "aria-keyshortcuts": "/",
      oninput: () => S.go({ find: field.value }),
    });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && field.value) S.go({ find: "" });
      else if (event.key === "Escape") document.getElementById("main").focus();
      else if (event.key === "Enter") S.openFirst();
      else if (event.key === "ArrowDown") S.focusList();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    return field;
  };

  const build = (host) => {
    parts = {
      search: search(),
      kinds: el("div.kinds", { role: "group", "aria-label": "Cases shown" }),
      order: el("div.order"),
      more: el("div.more"),
      summary: el("summary"),
    };
    parts.fold = el("details.filters", null, parts.summary, parts.more);
    host.replaceChildren(parts.search, parts.kinds, parts.fold, parts.order);
  };

  S.showFilters = (host, state) => {
    if (!parts) build(host);
    if (parts.search.value !== state.find) parts.search.value = state.find;
    S.fill(parts.kinds, kinds(state));
    S.fill(parts.more, filters(state));
    S.fill(parts.order, !state.blind && choice("Order", "order", S.orders(), S.orderOf(state)));
    parts.fold.hidden = !parts.more.children.length;
    const narrowed = [state.truth, state.split, state.lacks].filter(Boolean).length;
    parts.summary.textContent = narrowed ? `Filter (${narrowed} set)` : "Filter";
  };
})(window.stratamil);
