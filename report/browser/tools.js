"use strict";
// The tools above the cases: order, share, size.
((S) => {
  const { el } = S;
  const STOPS = [1, 2, 3, 5, 10, 15, 20, 25, 30, 40, 50, 75, 100]; // per cent that "Top" offers
  S.selecting = false; // a click selects a patch: for fingers, which have no Ctrl key

  const choice = (name, label) => {
    const select = el("select", { id: `tool-${name}`, onchange: () => S.go({ [name]: select.value }) });
    return [el("label.choice", { for: `tool-${name}` }, el("span", null, label), select), select];
  };
  const options = (select, texts, value) => {
    select.replaceChildren(...texts.map(([key, text]) => el("option", { value: key }, text)));
    select.value = value;
  };
  const slide = (name, attributes, act) => {
    const input = el("input", {
      type: "range",
      id: `tool-${name}`,
      ...attributes,
      oninput: () => act(Number(input.value)),
    });
    return input;
  };
  const toggle = (text, act, attributes) => el("button", { type: "button", onclick: act, ...attributes }, text);
  const select = () => {
    S.selecting = !S.selecting;
    tools.select.setAttribute("aria-pressed", String(S.selecting));
  };

  let tools = null;
  const build = (bar) => {
    const [sortBox, sort] = choice("sort", "Sort by");
    const [ofBox, of] = choice("of", "Class");
    const [marksBox, marks] = choice("marks", "Show");
    const group = toggle("By slice", () => S.go({ group: S.state.group ? "" : "slice" }));
    const top = slide("top", { min: 0, max: STOPS.length - 1, step: 1 }, (at) => S.go({ top: STOPS[at] }));
    const said = el("output", { for: "tool-top" });
    const topBox = el("label.choice.slide", { for: "tool-top" }, el("span", null, "Top ", said, " by attention"), top);
    const size = slide("size", { min: 48, max: 192, step: 8 }, (pixels) => S.resize(pixels));
    const sizeBox = el("label.choice.slide.size", { for: "tool-size" }, el("span", null, "Size"), size);
    const map = toggle("Map", () => S.go({ map: S.state.map ? "" : "1" }));
    const selecting = toggle("Select", select, { title: "A click selects a patch", "aria-pressed": "false" });
    tools = {
      sort,
      of,
      group,
      marks,
      top,
      said,
      size,
      map,
      select: selecting,
      boxes: { sortBox, ofBox, group, topBox },
    };
    bar.replaceChildren(sortBox, ofBox, topBox, group, marksBox, selecting, sizeBox, map);
  };

  /** The classes whose contributions can be shown: the predicted one first. */
  const classes = (state, one) => {
    const predicted = one ? S.study.classes[one.predicted] : "";
    const usual = state.beside ? "the predicted class" : `${predicted} (predicted)`;
    const others = S.study.classes.filter((text) => state.beside || text !== predicted);
    return [
      [["", usual], ...others.map((text) => [text, text])],
      state.of === predicted && !state.beside ? "" : state.of,
    ];
  };

  S.showTools = (bar, state, one) => {
    if (!tools) build(bar);
    bar.hidden = !state.case;
    options(tools.sort, state.blind ? [] : S.sorts(), state.sort);
    options(tools.of, ...(state.blind ? [[], ""] : classes(state, one)));
    tools.group.setAttribute("aria-pressed", String(state.group === "slice"));
    const marks = [
      ["", "all patches"],
      ["some", "marked"],
      ["none", "not marked"],
    ];
    options(tools.marks, marks, state.marks);
    for (const box of Object.values(tools.boxes)) box.hidden = state.blind === "1";
    tools.top.value = STOPS.findIndex((stop) => stop >= state.top);
    tools.top.setAttribute("aria-valuetext", `${state.top}% by attention`);
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
