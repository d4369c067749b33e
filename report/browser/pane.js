"use strict";
// A case on the page: title, head, patches. There are two, so that one case can stand beside another.
((S) => {
  const { el } = S;
  S.panes = {};

  const shown = () => Object.values(S.panes).filter((pane) => pane.one && pane.grid.data);
  /** The largest ratio and contribution of the cases on the page: frames and bars of all have one scale. */
  S.scale = () => {
    const largest = shown().map(({ grid: { data, state } }) => [
      data.largest.ratio,
      data.largest.contribution[S.shownClass(data, state)],
    ]);
    return {
      ratio: Math.max(...largest.map(([ratio]) => ratio)),
      contribution: Math.max(...largest.map(([, contribution]) => contribution)),
    };
  };
  S.titleHeight = () => Math.max(...shown().map(({ title }) => title.offsetHeight)); // what it covers of the patches

  const SORTED = {
    attention: () => "number: attention",
    for: (name) => `number: contribution to the ${S.margin(name)}`,
    against: (name) => `number: contribution to the ${S.margin(name)}`,
    disagreement: () => `number: SD of the attention over ${S.plural(S.study.seeds.length, "training")}`,
    number: () => "number: that of the patch",
  };
  const legend = (data, state) => {
    if (state.blind) return "";
    const name = state.beside && !state.of ? "the predicted class" : S.study.classes[S.shownClass(data, state)];
    return el(
      "p.legend",
      null,
      el("span", null, el("i.frame"), "attention"),
      el("span", null, el("i.for"), `contribution for ${name}`),
      el("span", null, el("i.against"), "against it"),
      el("span", null, "on a square-root scale"),
      el("span", null, SORTED[state.sort](name)),
    );
  };

  const showAll = (text) => S.link("a", { stain: "", slice: "", slice2: "", marks: "", top: 100 }, null, text);

  /** A pane of the page that `scroller` scrolls. */
  S.pane = (slot, scroller) => {
    const [title, head, key] = [el("div.title"), el("div"), el("div")];
    const [carried, none] = [el("p.carried", { role: "status" }), el("p.none")];
    const box = el("section.pane", { "aria-label": slot === "case" ? "Case" : "Case beside" });
    const grid = S.grid(scroller, slot);
    const map = S.map(grid);
    const body = el("div.body", null, map.box, el("div.table", null, none, grid.host));
    const above = el("div", null, head, carried, key);
    box.append(title, el("div.above", null, above), body);
    const pane = { slot, box, title, above, grid, one: null };

    const own = (state) => (slot === "beside" ? { ...state, slice: state.slice2 } : state);
    const headed = (data, state) => {
      const held = head.contains(document.activeElement)
        ? [...head.querySelectorAll("button, textarea")].indexOf(document.activeElement)
        : -1;
      head.replaceChildren(S.caseHeader(data, pane.one, state, slot));
      if (held >= 0) head.querySelectorAll("button, textarea")[held]?.focus();
    };
    const filled = (data, state) => {
      const ordered = S.ordered(data, state);
      headed(data, state);
      const words = S.carried(data, ordered, state).map((text) => el("span", null, text));
      S.fill(carried, words, ordered.patches.length < data.n && showAll("Show all"));
      key.replaceChildren(legend(data, state));
      none.textContent = ordered.patches.length ? "" : "No patch is like this.";
      body.classList.toggle("mapped", Boolean(state.map && data.placed));
      grid.show(data, ordered, state);
      map.show(data, state);
    };

    pane.entitle = () => pane.one && S.fill(title, S.caseTitle(pane.one, S.state, slot));
    pane.show = async (one, shared) => {
      const state = own(shared);
      const other = pane.one !== one;
      pane.one = one;
      pane.entitle();
      if (other) {
        grid.clear();
        if (slot === "case") scroller.scrollTop = 0;
        carried.textContent = "";
        key.replaceChildren();
        none.textContent = "";
        map.box.hidden = true;
        headed(null, state);
      }
      let data;
      try {
        data = await S.load(one);
      } catch (error) {
        if (pane.one === one) carried.replaceChildren(el("b.wrong", null, error.message));
        return;
      }
      if (pane.one !== one) return;
      filled(data, own(S.state));
      S.emit("filled", pane);
    };
    pane.close = () => {
      pane.one = null;
      grid.clear();
    };
    pane.marked = () => {
      if (!grid.data) return;
      if (S.state.marks) return filled(grid.data, own(S.state));
      if (!head.contains(document.activeElement) || document.activeElement.tagName !== "TEXTAREA")
        headed(grid.data, own(S.state));
      grid.refresh();
    };
    return pane;
  };

  // Patches of two cases begin at one height.
  const level = () => {
    const high = (element) => element.getBoundingClientRect().height;
    const highest = Math.max(0, ...shown().map(({ title, above }) => high(title) + high(above)));
    for (const { box, title } of shown()) box.style.setProperty("--above", `${highest - high(title)}px`);
  };
  S.level = () => {
    const watch = new ResizeObserver(level);
    for (const { title, above } of Object.values(S.panes)) (watch.observe(title), watch.observe(above));
  };
})(window.stratamil);
