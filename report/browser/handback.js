"use strict";
// Marks as files: CSV out and in, and GeoJSON for QuPath.
((S) => {
  const { el } = S;
  const MARKS = ["case_id", "file", "mark", "signal", "note", "reader", "blinded", "seed", "time"];
  const VERDICTS = ["case_id", "reader", "verdict", "class", "comment", "blinded", "seed", "time"];
  const SIGNAL = { signal: "1", "not signal": "0" };

  S.marksCsv = (readers) =>
    S.toCsv(
      MARKS,
      readers.flatMap((reader) =>
        [...S.marks.table("marks", reader)].map(([file, one]) => ({
          case_id: one.case_id,
          file,
          mark: S.guarded(one.mark),
          signal: SIGNAL[one.mark] ?? "",
          note: S.guarded(one.note),
          reader: S.guarded(reader),
          blinded: one.blinded ? 1 : 0,
          seed: one.seed,
          time: one.time,
        })),
      ),
    );

  S.verdictsCsv = (readers) =>
    S.toCsv(
      VERDICTS,
      readers.flatMap((reader) =>
        [...S.marks.table("verdicts", reader)].map(([id, one]) => ({
          case_id: id,
          reader: S.guarded(reader),
          verdict: one.verdict,
          class: S.guarded(one.class ?? ""),
          comment: S.guarded(one.comment),
          blinded: one.blinded ? 1 : 0,
          seed: one.seed ?? "",
          time: one.time,
        })),
      ),
    );

  /** Take the marks or verdicts of a CSV text in; the later of two stays. Returns what to tell, or throws an Error. */
  S.take = (text) => {
    const { columns, rows } = S.fromCsv(text);
    const has = (...names) => names.every((name) => columns.includes(name));
    if (has("verdict", "case_id")) return taken("verdicts", rows, (row) => row.case_id, verdict);
    if (has("file", "case_id") && (has("mark") || has("signal"))) return taken("marks", rows, (row) => row.file, mark);
    const found = columns.filter((name) => name).join(", ") || "none";
    throw new Error(
      `No marks or verdicts: a file of them has the columns case_id and file, or case_id and verdict (found: ${found}).`,
    );
  };

  const when = (row) => ({ blinded: row.blinded === "1", seed: row.seed ?? "", time: row.time ?? "" });
  const mark = (row) => ({
    case_id: row.case_id,
    mark: S.unguarded(row.mark ?? "") || { 1: "signal", 0: "not signal" }[row.signal] || "",
    note: S.unguarded(row.note ?? ""),
    ...when(row),
  });
  const verdict = (row) => ({
    verdict: row.verdict,
    class: S.unguarded(row.class ?? ""),
    comment: S.unguarded(row.comment ?? ""),
    ...when(row),
  });

  const taken = (kind, rows, keyOf, read) => {
    const known = new Set(S.study.cases.map((one) => one.id));
    const readers = new Set();
    let [fresh, older, strange] = [0, 0, 0];
    for (const row of rows) {
      const reader = S.unguarded(row.reader ?? "") || S.marks.reader || "unnamed";
      const table = S.marks.table(kind, reader);
      const [name, entry] = [keyOf(row), read(row)];
      if (!known.has(row.case_id)) strange++;
      else if (table.has(name) && table.get(name).time >= entry.time) older++;
      else (table.set(name, entry), readers.add(reader), fresh++);
    }
    for (const reader of readers) S.marks.write(kind, reader);
    const told = [`${S.plural(fresh, kind.slice(0, -1))} of ${S.plural(readers.size, "reader")} taken in.`];
    if (older) told.push(`${S.count(older)} were here already.`);
    if (strange) told.push(`${S.count(strange)} belong to cases that this study has not.`);
    return told.join(" ");
  };

  const day = () => new Date().toISOString().slice(0, 10);
  const button = (text, act, name = "button") => el(name, { type: "button", onclick: act }, text);

  S.handback = () => {
    const show = () => {
      const all = S.marks.readers();
      const mine = S.marks.reader;
      const save = (kind, text, readers) => {
        const name = `${kind}_${readers.length > 1 ? "all_readers" : S.fileName(readers[0])}_${day()}.csv`;
        S.save(name, text, "text/csv;charset=utf-8");
        answer.textContent = `Saved as ${name}, where this browser puts its downloads.`;
      };
      const row = (name) =>
        el(
          "tr",
          null,
          el("th", { scope: "row" }, name, name === mine && el("span.muted", null, " (you)")),
          el("td.n", null, S.count(S.marks.count(name))),
          el("td.n", null, S.count(S.marks.judged(name))),
          el("td", null, name !== mine && button("Read as", () => ((S.marks.reader = name), show()))),
        );
      const file = el("input", { type: "file", id: "import", accept: ".csv,text/csv", multiple: true });
      file.addEventListener("change", async () => {
        const told = [];
        for (const one of file.files) {
          try {
            told.push(`${one.name}: ${S.take(await one.text())}`);
          } catch (error) {
            told.push(`${one.name}: ${error.message}`);
          }
        }
        show();
        answer.textContent = told.join("\n");
      });
      S.fill(
        body,
        all.length
          ? el(
              "table",
              null,
              el(
                "thead",
                null,
                el(
                  "tr",
                  null,
                  ["Reader", "Patches marked", "Verdicts", ""].map((text, i) =>
                    el(i % 3 ? "th.n" : "th", { scope: "col" }, text),
                  ),
                ),
              ),
              el("tbody", null, all.map(row)),
            )
          : el("p", null, "Nothing is marked yet. Point at a patch and press 1, 2, 3 or 4."),
        el(
          "p.row",
          null,
          button(mine ? "Another reader" : "Say who you are", async () => (await S.askReader(), show())),
        ),
        all.length > 0 && el("h3", null, "Export"),
        all.length > 0 &&
          el(
            "p.row",
            null,
            button("Marks of patches (CSV)", () => save("marks", S.marksCsv(all), all), "button.main"),
            button("Verdicts on cases (CSV)", () => save("verdicts", S.verdictsCsv(all), all)),
          ),
        el("h3", null, el("label", { for: "import" }, "Import")),
        el("p.row", null, file),
        S.marks.forgetful && el("p.hint", null, "This browser keeps no marks: export them before you close the page."),
      );
    };
    const body = el("div.handback");
    const answer = el("p.answer", { role: "status" });
    S.dialog("Marks", body, answer);
    show();
  };

  /** Features of one slice of a case as QuPath reads them: squares from a patch's upper left corner. */
  S.geojson = (data, slice) => {
    const side = S.side(data, slice);
    const patches = S.ofSlice(data, slice);
    const features = patches.map((i) => {
      const [x, y] = [data.x[i], data.y[i]];
      const entry = S.marks.of(data.path[i]);
      const contributions = Object.fromEntries(
        S.study.classes.map((name, c) => [`contribution ${name}`, data.contribution[c][i]]),
      );
      const numbers = { weight: data.weight[i], "ratio to equal share": data.ratio[i], ...contributions };
      const ring = [
        [x, y],
        [x + side, y],
        [x + side, y + side],
        [x, y + side],
        [x, y],
      ];
      return {
        type: "Feature",
        geometry: { type: "Polygon", coordinates: [ring] },
        properties: {
          objectType: "detection",
          name: data.path[i],
          ...(entry?.mark ? { classification: { name: entry.mark } } : {}),
          mark: entry?.mark ?? "",
          ...(S.state.blind ? {} : { ...numbers, measurements: numbers }),
        },
      };
    });
    return JSON.stringify({ type: "FeatureCollection", features });
  };
  S.saveGeojson = (data, slice) =>
    S.save(
      `${S.fileName(`${data.case.key}_${data.slices[slice].name}`)}.geojson`,
      S.geojson(data, slice),
      "application/geo+json",
    );
})(window.stratamil);
