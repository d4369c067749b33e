"use strict";
// Puts the page together: what of it changes when the address does.
((S) => {
  const { el } = S;
  const at = (id) => document.getElementById(id);
  const [main, nav, board, top] = [at("main"), at("list"), at("board"), at("top")];

  if (!S.study) {
    main.append(el("p.alone", null, "data/cases.js is missing. Copy the whole folder of the case browser."));
    return;
  }
  const style = document.documentElement.style;
  S.study.class_colours.forEach((colour, c) => style.setProperty(`--class-${c}`, colour));

  const tools = el("div.tools", { role: "toolbar", "aria-label": "Patches" });
  const panes = el("div.panes");
  const marking = el("div.marking", { role: "region", "aria-label": "Selected patches", hidden: true });
  const welcome = el("div.welcome");
  main.append(tools, welcome, panes, marking);
  for (const slot of ["case", "beside"]) {
    S.panes[slot] = S.pane(slot, panes);
    panes.append(S.panes[slot].box);
  }
  S.level();

  // The study's first page lies beside this folder, unless the folder was copied alone: it is asked for, not run.
  let first = null;
  const findFirst = (href) => {
    const asked = el("link", { rel: "preload", as: "script", href });
    asked.addEventListener("load", () => {
      first = href;
      showTop(S.state);
    });
    if (S.study.kind === "study") document.head.append(asked);
  };

  const showTop = (state) => {
    const blind = state.blind === "1";
    const seed = el("input", {
      type: "number",
      id: "seed",
      min: 1,
      step: 1,
      value: state.seed,
      onchange: () => S.go({ seed: seed.value, patch: "" }),
      onkeydown: (event) => event.key === "Enter" && main.focus(), // digits are marks again
    });
    S.fill(
      top,
      first && !blind && el("a.home", { id: "home", href: first, title: "All pages of the study" }, "← All pages"),
      S.link("a.name", { case: "", page: "", patch: "", beside: "" }, null, S.study.title),
      el(
        "span.kind",
        null,
        { study: "Case browser", predict: "New cases", validate: "Validation" }[S.study.kind] ?? "",
      ),
      el("span.space"),
      blind && el("label.seed", { for: "seed" }, "Random order ", seed),
      el(
        "button",
        {
          type: "button",
          id: "blinded",
          "aria-pressed": String(blind),
          title: "Hide labels, predictions and weights; patches in random order",
          onclick: () => S.blind(!blind),
        },
        "Blinded",
      ),
      el(
        "button",
        { type: "button", id: "marks", onclick: () => S.handback() },
        S.marks.reader ? `Marks of ${S.marks.reader}: ${S.count(S.marks.count())}` : "Marks",
      ),
      el(
        "button.help",
        { type: "button", id: "help", "aria-label": "Help", title: "Words and keys", onclick: () => S.help() },
        "?",
      ),
    );
  };

  /** What the study found, and where to begin. */
  const findings = (state) => {
    const wrong = S.listed({ ...S.usual(), wrong: "1" });
    if (state.blind || S.study.cases.every((one) => one.truth === null)) return null;
    if (!wrong.length) return el("p", null, "The model is right on all.");
    const [first] = wrong;
    const probability = S.probability(first.probability[first.predicted]);
    const link = S.link("a", { case: first.key }, null, `case ${first.id}`);
    const many = `The model is wrong on ${S.plural(wrong.length, "case")}. The most misleading is `;
    return el("p", null, many, link, `: wrong with a probability of ${probability}.`);
  };

  const showWelcome = (state) => {
    welcome.hidden = Boolean(state.case);
    if (state.case) return;
    const patches = S.study.cases.reduce((sum, one) => sum + one.n_patches, 0);
    S.fill(
      welcome,
      el("h1", null, S.study.title),
      el("p", null, `${S.plural(S.study.cases.length, "case")}, ${S.plural(patches, "patch", "patches")}.`),
      findings(state),
      el(
        "ul.ways",
        null,
        el("li", null, "Choose a case from the list."),
        el("li", null, "Point at a patch for its numbers; click to see it large."),
        el("li", null, "Keys 1 to 4 mark what you see; Marks saves it as a file."),
        el("li", null, el("kbd", null, "?"), " explains words and keys."),
      ),
    );
  };

  const showBoard = () => {
    const { data, state } = S.panes.case.grid;
    document.body.classList.toggle("printing", Boolean(S.state.page && S.state.case));
    if (data && data.case.key === S.state.case && !S.state.blind) S.fillBoard(board, data, state);
    else
      board.replaceChildren(
        el("p.alone", null, S.state.blind ? "A blinded reading is not printed." : "Open a case to print it."),
      );
  };

  const LIST = ["case", "beside", "order", "wrong", "truth", "split", "lacks", "find", "blind", "seed"];
  const TOP = ["blind", "seed"];
  let begun = false;
  const changed = (names, state, before) => !begun || names.some((name) => state[name] !== before[name]);

  S.on("state", (state, before) => {
    const one = S.byKey.get(state.case) ?? null;
    if (state.case && !one) S.say(`This study has no case ${state.case}.`);
    if (changed(LIST, state, before)) S.showList(nav, state);
    if (changed(TOP, state, before)) showTop(state);
    document.title = one ? `Case ${one.id} · ${S.study.title}` : S.study.title;
    document.body.classList.toggle("opened", Boolean(one));
    document.body.classList.toggle("blinded", state.blind === "1");
    S.showTools(tools, { ...state, case: one ? state.case : "" }, one);
    showWelcome({ ...state, case: one ? state.case : "" });
    panes.hidden = !one;
    const only = (name) => name === "patch" || name === "page" || LIST.slice(2, 8).includes(name);
    const same = begun && Object.keys(state).every((name) => state[name] === before[name] || only(name));
    const first = !begun;
    begun = true;
    for (const slot of ["case", "beside"]) {
      const pane = S.panes[slot];
      const shown = one ? S.byKey.get(state[slot]) : null;
      pane.box.hidden = !shown;
      if (!shown) pane.close();
      else if (!same) pane.show(shown, state);
    }
    panes.classList.toggle("two", Boolean(one && state.beside));
    if (!first && state.beside && before.beside !== state.beside) S.panes.beside.title.querySelector("button")?.focus();
    if (same || !one) S.showLarge(state);
    if (state.page !== before.page || !one) showBoard();
  });

  S.on("filled", (pane) => {
    for (const other of Object.values(S.panes)) if (other !== pane) other.grid.layOut(); // on the scale of both
    const one = S.byKey.get(S.state.case);
    S.showTools(tools, S.state, one);
    S.showLarge(S.state);
    if (S.state.page) showBoard();
  });

  S.on("comparing", () => {
    S.showList(nav, S.state);
    for (const pane of Object.values(S.panes)) pane.entitle();
  });

  S.on("marks", () => {
    showTop(S.state);
    S.showList(nav, S.state);
    for (const pane of Object.values(S.panes)) pane.marked();
  });

  S.on("selection", () => {
    const grids = [S.current, ...Object.values(S.panes).map((pane) => pane.grid)];
    const grid = grids.find((one) => one?.selected.size);
    marking.hidden = !grid;
    if (!grid) return;
    const n = grid.selected.size;
    marking.replaceChildren(
      el("span", null, `${S.plural(n, "patch", "patches")} selected`),
      S.markButtons(() => [grid, [...grid.selected]]),
      el("button", { type: "button", onclick: () => (grid.selected.clear(), grid.refresh()) }, "Clear"),
    );
  });

  at("skip").addEventListener("click", (event) => {
    event.preventDefault(); // what follows the # is the state
    main.focus();
  });
  addEventListener("beforeprint", showBoard);
  addEventListener("pagehide", () => document.activeElement?.blur()); // a comment that is being written is kept
  S.start();
  findFirst("../index.html");
})(window.stratamil);
