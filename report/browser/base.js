"use strict";
// One namespace for all files of the page: what each file offers to the others is a property of it.
window.stratamil = {};
((S) => {
  /**
   * Make an element. kind: "div.name.name"; a function as an attribute listens ("onclick"), `vars` are CSS properties.
   * Children are elements or texts. Text is always text, never markup.
   */
  S.el = (kind, attributes, ...children) => {
    const [tag, ...names] = kind.split(".");
    const element = document.createElement(tag);
    if (names.length) element.className = names.join(" ");
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (value === null || value === undefined || value === false) continue;
      if (typeof value === "function") element.addEventListener(name.slice(2), value);
      else if (name === "vars") for (const [key, of] of Object.entries(value)) element.style.setProperty(key, of);
      else if (name === "value" || name === "checked") element[name] = value;
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(
      ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
    );
    return element;
  };

  /** Replace what an element holds; null and false are nothing. */
  S.fill = (element, ...children) => {
    element.replaceChildren(
      ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
    );
    return element;
  };

  const listeners = {};
  S.on = (name, listener) => (listeners[name] ??= []).push(listener);
  S.emit = (name, ...told) => (listeners[name] ?? []).forEach((listener) => listener(...told));

  // A change that redraws while a button is held would take away what is about to be clicked: it waits for the click.
  const waiting = [];
  let held = false;
  const free = () => {
    held = false;
    setTimeout(() => waiting.splice(0).forEach((act) => act()));
  };
  addEventListener("pointerdown", () => (held = true), true);
  for (const name of ["pointerup", "pointercancel"]) addEventListener(name, free, true);
  S.afterClick = (act) => (held ? waiting.push(act) : act());

  /** Tell the reader something, seen for a while and read aloud by a screen reader. */
  let silence;
  S.say = (text) => {
    const said = document.getElementById("told");
    said.textContent = text;
    said.classList.add("shown");
    clearTimeout(silence);
    silence = setTimeout(() => said.classList.remove("shown"), 3500 + 30 * text.length);
  };

  // Numbers as they are read.
  const digits = (value, n) => Number(value.toPrecision(n)).toString();
  const sign = (value) => (value < 0 ? "−" : "+");
  S.percent = (share) => {
    const value = 100 * share;
    if (value === 0) return "0%";
    if (value < 0.0001) return "<0.0001%";
    return `${value >= 99.95 ? 100 : value >= 1 ? value.toFixed(1) : value.toPrecision(2)}%`;
  };
  S.probability = (value) => value.toFixed(2);
  S.signed = (value) => {
    const size = Math.abs(value);
    if (size === 0) return "0";
    return sign(value) + (size >= 1 ? size.toFixed(2) : size >= 0.0001 ? size.toPrecision(3) : "<0.0001");
  };
  /** Two numbers and their sum, in so many digits that the sum is seen to be right. */
  S.summed = (a, b) => {
    const fits = (n) => Math.abs(Number(a.toFixed(n)) + Number(b.toFixed(n)) - Number((a + b).toFixed(n))) < 1e-9;
    const n = [2, 3, 4].find(fits) ?? 5;
    return [a, b, a + b].map((value) => sign(value) + Math.abs(value).toFixed(n));
  };
  S.times = (ratio) => (ratio >= 10 ? ratio.toFixed(0) : ratio >= 0.1 ? ratio.toFixed(1) : digits(ratio, 1)) + "×";
  S.count = (n) => n.toLocaleString("en");
  S.plural = (n, one, many = `${one}s`) => `${S.count(n)} ${n === 1 ? one : many}`;
  S.patches = (n) => S.plural(n, "patch", "patches");

  /** A dot in the colour of a class or a stain, then its name. */
  S.tag = (colour, text, kind = "dot") =>
    S.el("span.tag", null, S.el(`i.${kind}`, { vars: { "--hue": colour } }), text);
  S.classTag = (c) => S.tag(S.study.class_colours[c], S.study.classes[c]);
  S.stainTag = (s) => S.tag(S.study.stain_colours[s], S.study.stains[s], "square");

  /** Numbers from 0 to 1, the same for the same words. */
  S.random = (words) => {
    let state = 2166136261;
    for (const letter of words) state = Math.imul(state ^ letter.codePointAt(0), 16777619);
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
  };
  S.shuffled = (items, words) => {
    const [random, order] = [S.random(words), [...items]];
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  };

  /** Offer a text as a file to save. */
  S.save = (name, text, type) => {
    const link = S.el("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  S.fileName = (text) =>
    text
      .normalize("NFKD")
      .replace(/[^\w.-]+/g, "_")
      .replace(/^[_.]+|_+$/g, "") || "unnamed";
})(window.stratamil);
