"use strict";
// What a reader says of patches and cases. It stays in this browser's storage, by study and reader, until it is exported.
((S) => {
  S.MARKS = ["signal", "not signal", "artefact"]; // keys 1 to 3; 4 is a label of one's own
  S.GLYPHS = { signal: "✓", "not signal": "✕", artefact: "⊘" };
  S.glyph = ({ mark, note }) => (mark ? (S.GLYPHS[mark] ?? "★") : "") + (note ? "✎" : "");

  const kept = new Map(); // where the browser keeps nothing, the page does
  const key = (kind, reader) => `stratamil:${S.study.study}:${kind}${reader === undefined ? "" : `:${reader}`}`;
  const get = (name) => {
    if (!kept.has(name)) {
      let text = null;
      try {
        text = localStorage.getItem(name);
      } catch {
        S.marks.forgetful = true;
      }
      kept.set(name, text);
    }
    return kept.get(name);
  };
  const put = (name, text) => {
    kept.set(name, text);
    try {
      localStorage.setItem(name, text);
    } catch {
      if (!S.marks.forgetful) S.say("This browser keeps no marks. Export them before you close the page.");
      S.marks.forgetful = true;
    }
  };
  const names = () => {
    const found = new Set(kept.keys());
    try {
      for (let i = 0; i < localStorage.length; i++) found.add(localStorage.key(i));
    } catch {
      S.marks.forgetful = true;
    }
    return found;
  };

  const tables = new Map(); // storage key -> Map, parsed once
  const table = (kind, reader = S.marks.reader) => {
    const name = key(kind, reader);
    if (!tables.has(name)) {
      let entries = [];
      try {
        entries = Object.entries(JSON.parse(get(name) ?? "{}"));
      } catch {
        S.say(`The ${kind} of ${reader} in this browser cannot be read.`);
      }
      tables.set(name, new Map(entries));
    }
    return tables.get(name);
  };
  const write = (kind, reader = S.marks.reader) => {
    put(key(kind, reader), JSON.stringify(Object.fromEntries(table(kind, reader))));
    S.afterClick(() => S.emit("marks"));
  };
  const blinded = () => {
    const blind = S.state.blind === "1";
    return { blinded: blind, seed: blind ? String(S.state.seed) : "" };
  };
  const now = () => new Date().toISOString().slice(0, 19) + "Z";

  const past = []; // what the last changes replaced
  const change = (entries) => {
    const marks = table("marks");
    past.push(entries.map(([path]) => [path, marks.get(path)]));
    if (past.length > 50) past.shift();
    for (const [path, entry] of entries)
      entry && (entry.mark || entry.note) ? marks.set(path, entry) : marks.delete(path);
    write("marks");
  };
  const entry = (data, i, changes) => {
    const before = S.marks.of(data.path[i]) ?? { mark: "", note: "" };
    const of = { case_id: data.case.id, ...blinded(), time: now() };
    return [data.path[i], { ...before, ...of, ...changes }];
  };

  S.marks = {
    forgetful: false,
    get reader() {
      return get(key("reader")) ?? "";
    },
    set reader(name) {
      put(key("reader"), name);
      past.length = 0;
      S.emit("marks");
    },
    /** What the reader said of a patch, or null. */
    of: (path) => table("marks").get(path) ?? null,
    set: (data, patches, mark) => change(patches.map((i) => entry(data, i, { mark }))),
    note: (data, i, note) => change([entry(data, i, { note })]),
    undo: () => {
      const last = past.pop();
      if (!last) return false;
      for (const [path, before] of last) before ? table("marks").set(path, before) : table("marks").delete(path);
      write("marks");
      return true;
    },
    /** What the reader said of a case: a verdict on the model, the class of a blinded diagnosis, a comment. */
    verdict: (id) => ({ verdict: "", class: "", comment: "", ...table("verdicts").get(id) }),
    judge: (id, changes) => {
      const said = { ...S.marks.verdict(id), ...changes, ...("class" in changes ? blinded() : {}), time: now() };
      said.verdict || said.class || said.comment ? table("verdicts").set(id, said) : table("verdicts").delete(id);
      write("verdicts");
    },
    /** Whether a case was opened with its labels in this browser: a diagnosis after that is not blinded. */
    seen: (id) => table("seen", "").has(id),
    see: (id) => {
      if (S.marks.seen(id)) return;
      table("seen", "").set(id, 1);
      put(key("seen", ""), JSON.stringify(Object.fromEntries(table("seen", ""))));
    },
    labels: () =>
      [...new Set([...table("marks").values()].map((one) => one.mark))].filter((mark) => mark && !S.GLYPHS[mark]),
    count: (reader = S.marks.reader) => table("marks", reader).size,
    /** Case -> number of marked patches. */
    byCase: () => {
      const counts = new Map();
      for (const { case_id } of table("marks").values()) counts.set(case_id, (counts.get(case_id) ?? 0) + 1);
      return counts;
    },
    judged: (reader) => table("verdicts", reader).size,
    readers: () => {
      const [start, other] = [key("marks", ""), key("verdicts", "")];
      const found = [...names()].flatMap((name) => {
        const kind = [start, other].find((prefix) => name.startsWith(prefix));
        return kind ? [name.slice(kind.length)] : [];
      });
      return [...new Set([...found, S.marks.reader])].filter((name) => name).sort((a, b) => a.localeCompare(b));
    },
    table,
    write,
  };

  // Another window of the same study has changed them.
  addEventListener("storage", (event) => {
    if (!event.key?.startsWith("stratamil:")) return;
    kept.delete(event.key);
    tables.delete(event.key);
    S.emit("marks");
  });
})(window.stratamil);
