"use strict";
// A case on the page: its head, its map and its patches. There are two when one is shown beside another.
((S) => {
  const { el } = S;
  S.panes = {};

  const legend = (data, state) => {
    if (state.blind) return null;
    const name = S.study.classes[S.shownClass(data, state)];
    return el(
      "p.legend",
      null,
      el("span", null, el("i.frame"), "frame: weight, the stronger the more"),
      el("span", null, el("i.for"), `bar to the right: contribution to ${name}`),
      el("span", null, el("i.against"), "to the left: against it"),
    );
  };

  S.pane = (slot) => {
    const scroller = el("section.pane", { "aria-label": slot === "case" ? "Case" : "Case beside" });
    const [head, carried, key, none] = [el("div"), el("p.carried", { role: "status" }), el("div"), el("p.none")];
    const grid = S.grid(scroller, slot);
    const map = S.map(grid);
    const body = el("div.body", null, map.box, el("div.table", null, carried, key, none, grid.host));
    scroller.append(head, body);
    const pane = { slot, scroller, grid, one: null };

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
      carried.replaceChildren(...S.carriedText(data, ordered, state).map((text) => el("span", null, text)));
      key.replaceChildren(legend(data, state) ?? "");
      const all = { stain: "", slice: "", slice2: "", marks: "", top: 100 };
      if (ordered.patches.length) none.textContent = "";
      else none.replaceChildren("No patch is like this. ", S.link("a", all, null, "Show all"));
      body.classList.toggle("mapped", Boolean(state.map && data.placed));
      grid.show(data, ordered, state);
      map.show(data, state);
    };

    pane.show = async (one, shared) => {
      const state = own(shared);
      const other = pane.one !== one;
      pane.one = one;
      if (other) {
        grid.clear();
        scroller.scrollTop = 0;
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
      const now = own(S.state);
      filled(data, now);
      S.emit("filled", pane);
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

  // The tools above the cases: order, share, size.
  let tools = null;
  const choice = (name, label) => {
    const select = el("select", { id: `tool-${name}`, onchange: () => S.go({ [name]: select.value }) });
    return [el("label.choice", { for: `tool-${name}` }, label && el("span", null, label), select), select];
  };
  const options = (select, texts, value) => {
    select.replaceChildren(...texts.map(([key, text]) => el("option", { value: key }, text)));
    select.value = value;
  };
  const build = (bar) => {
    const [sortBox, sort] = choice("sort", "Sort by");
    const [ofBox, of] = choice("of", null);
    of.setAttribute("aria-label", "Class whose contributions are shown");
    const group = el(
      "button",
      { type: "button", onclick: () => S.go({ group: S.state.group ? "" : "slice" }) },
      "By slice",
    );
    const [marksBox, marks] = choice("marks", null);
    marks.setAttribute("aria-label", "Patches shown");
    const top = el("input", {
      type: "range",
      id: "tool-top",
      min: 1,
      max: 100,
      step: 1,
      oninput: () => S.go({ top: Number(top.value) }),
    });
    const said = el("output", { for: "tool-top" });
    const size = el("input", {
      type: "range",
      id: "tool-size",
      min: 48,
      max: 192,
      step: 8,
      "aria-label": "Size of the patches",
      oninput: () => S.resize(Number(size.value)),
    });
    const map = el("button", { type: "button", onclick: () => S.go({ map: S.state.map ? "" : "1" }) }, "Map");
    const topBox = el("label.choice.slide", { for: "tool-top" }, el("span", null, "Top ", said), top);
    const sizeBox = el("label.choice.slide.size", { for: "tool-size" }, el("span", null, "Size"), size);
    tools = { sort, of, group, marks, top, said, size, map, boxes: { sortBox, ofBox, group, topBox } };
    bar.replaceChildren(sortBox, ofBox, topBox, group, marksBox, sizeBox, map);
  };

  S.showTools = (bar, state, one) => {
    if (!tools) build(bar);
    bar.hidden = !state.case;
    const predicted = one ? S.study.classes[one.predicted] : "";
    options(tools.sort, state.blind ? [] : S.sorts(), state.sort);
    const others = S.study.classes.filter((text) => state.beside || text !== predicted);
    options(
      tools.of,
      state.blind
        ? []
        : [
            ["", state.beside ? "the predicted class" : `${predicted} (predicted)`],
            ...others.map((text) => [text, text]),
          ],
      state.of === predicted && !state.beside ? "" : state.of,
    );
    tools.group.setAttribute("aria-pressed", String(state.group === "slice"));
    options(
      tools.marks,
      [
        ["", "all patches"],
        ["some", "marked"],
        ["none", "not marked"],
      ],
      state.marks,
    );
    for (const box of Object.values(tools.boxes)) box.hidden = state.blind === "1";
    tools.top.value = state.top;
    tools.said.textContent = `${state.top}%`;
    tools.size.value = S.size;
    tools.map.setAttribute("aria-pressed", String(state.map === "1"));
    tools.map.hidden = state.blind === "1" || !Object.values(S.panes).some((pane) => pane.grid.data?.placed);
  };

  S.size = 96;
  try {
    S.size = Math.min(192, Math.max(48, Number(localStorage.getItem("stratamil:size")) || 96));
  } catch {
    S.size = 96;
  }
  S.resize = (size) => {
    S.size = size;
    try {
      localStorage.setItem("stratamil:size", size);
    } catch {
      // the size is then asked for again next time
    }
    for (const pane of Object.values(S.panes)) pane.grid.layOut();
  };
})(window.stratamil);
