"use strict";
// What is said of one patch: in a line for a screen reader, in a tip, beside the large image.
((S) => {
  const { el } = S;
  const gone = (data, i) => data.gone.has(i);

  S.patchName = (data, i, state) => (state.blind ? `Patch ${data.place?.get(i) ?? ""}` : data.name[i]);

  const missing = (data, i) => {
    if (data.images === null) return null;
    if (data.sheet[i] < 0) return "This image could not be read.";
    return gone(data, i) ? "The image file is gone; this is its thumbnail." : null;
  };

  /** Rows of [what, value]; nothing of the model while blinded. */
  S.facts = (data, i, state) => {
    const slice = data.slices[data.slice[i]];
    const stain = S.study.stains[slice.stain];
    const rows = [["Slice", el("span", null, S.stainTag(slice.stain), ` ${slice.id}`)]];
    if (!state.blind)
      rows.push([
        "",
        `${S.percent(slice.weight)} of the weight on ${stain}; ${stain} has ${S.percent(data.ofStain.get(slice.stain) ?? 0)}`,
      ]);
    const absent = missing(data, i);
    if (absent) rows.push(["Image", absent]);
    if (!state.blind) {
      const sd = data.sd ? ` (SD ${S.percent(data.sd[i])} over ${S.plural(S.study.seeds.length, "seed")})` : "";
      rows.push(["Weight", `${S.percent(data.weight[i])} of the case${sd}`]);
      rows.push([
        "",
        `${S.times(data.ratio[i])} the equal share, rank ${S.count(data.rank[i])} of ${S.count(data.case.n_patches)}`,
      ]);
      S.study.classes.forEach((name, c) => {
        const label = c === 0 ? "Contribution" : "";
        rows.push([label, el("span", null, S.classTag(c), " ", el("b", null, S.signed(data.contribution[c][i])))]);
      });
    }
    if (data.placed) rows.push(["Place", `${Math.round(data.x[i])}, ${Math.round(data.y[i])}`]);
    const entry = S.marks.of(data.path[i]);
    if (entry?.mark) rows.push(["Mark", `${S.glyph(entry)} ${entry.mark}`]);
    if (entry?.note) rows.push(["Note", entry.note]);
    return rows;
  };

  S.factList = (data, i, state) =>
    el(
      "dl.facts-of",
      null,
      S.facts(data, i, state).map(([what, value]) => [el("dt", null, what), el("dd", null, value)]),
    );

  S.spoken = (data, i, state) => {
    const slice = data.slices[data.slice[i]];
    const c = S.shownClass(data, state);
    const entry = S.marks.of(data.path[i]);
    const words = [S.patchName(data, i, state), slice.name];
    if (!state.blind) {
      words.push(`weight ${S.percent(data.weight[i])}, ${S.times(data.ratio[i])} the equal share`);
      words.push(`contribution to ${S.study.classes[c]} ${S.signed(data.contribution[c][i])}`);
    }
    if (missing(data, i)) words.push(missing(data, i));
    if (entry) words.push(`marked ${entry.mark || "with a note"}`);
    return words.join(", ");
  };

  // The tip beside the pointer.
  let shown = null;
  S.on("marks", () => (shown = null));
  S.tip = (data, i, state, at) => {
    const tip = document.getElementById("tip");
    if (data === null) {
      tip.hidden = true;
      shown = null;
      return;
    }
    if (shown !== `${data.case.key} ${i}`) {
      tip.replaceChildren(el("strong", null, S.patchName(data, i, state)), S.factList(data, i, state));
      tip.hidden = false;
      shown = `${data.case.key} ${i}`;
    }
    const [wide, high] = [tip.offsetWidth, tip.offsetHeight];
    const right = at.right + 10 + wide < innerWidth;
    const left = right ? at.right + 10 : Math.max(8, at.left - wide - 10);
    const top = Math.min(Math.max(8, at.top), Math.max(8, innerHeight - high - 8));
    tip.style.transform = `translate(${Math.round(Math.min(left, Math.max(8, innerWidth - wide - 8)))}px, ${Math.round(top)}px)`;
  };

  /** How much the shown patches carry: the line above the grid. */
  S.carriedText = (data, ordered, state) => {
    const shown = ordered.patches.length;
    const total = data.left_out ? data.case.n_patches : data.n;
    const some =
      shown === total
        ? `All ${S.plural(total, "patch", "patches")}`
        : `${S.count(shown)} of ${S.plural(total, "patch", "patches")}`;
    if (state.blind) return [`${some}, in random order (seed ${state.seed})`];
    const c = S.shownClass(data, state);
    const carried = S.carried(data, ordered.patches, c);
    const name = S.study.classes[c];
    const words = [
      some,
      `${S.percent(carried.attention)} of the weight`,
      `${S.signed(carried.contribution)} to the logit of ${name}, which is ${S.signed(data.logit[c])} (all patches ${S.signed(carried.all)}, bias ${S.signed(data.bias[c])})`,
    ];
    const against = ordered.patches.some((i) => data.contribution[c][i] < 0);
    if (state.sort === "against" && !against) words.push(`no patch counts against ${name}`);
    if (data.left_out)
      words.push(
        `${S.plural(data.left_out.n, "patch is", "patches are")} not in this browser, with ${S.percent(data.left_out.weight)} of the weight`,
      );
    return words;
  };
})(window.stratamil);
