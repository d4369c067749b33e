"use strict";
// One patch, large: what is known of it, its mark and note, its file, its neighbours.
((S) => {
  const { el } = S;
  let open = null; // {dialog, grid, i}
  let from = null; // the grid that a patch was last opened from: two cases may share it

  /** Open a patch: its name goes into the address, which shows it. */
  S.open = (grid, i) => {
    S.tip(null);
    from = grid;
    S.go({ patch: S.state.blind ? String(grid.data.place.get(i)) : grid.data.path[i] });
  };

  const find = (state) => {
    const grids = Object.values(S.panes).map((pane) => pane.grid);
    for (const grid of [from, ...grids]) {
      if (!grid?.data) continue;
      const i = state.blind ? grid.ordered.patches[Number(state.patch) - 1] : grid.data.index.get(state.patch);
      if (i !== undefined) return [grid, i];
    }
    return [null, null];
  };

  /** How many pixels an image has, and how large they are seen: few look blurred. */
  const enlarged = ({ naturalWidth: wide, naturalHeight: high }, frame) => {
    const times = frame.clientWidth / Math.max(wide, high);
    return `${wide} × ${high} pixels${times > 1.05 ? `, enlarged ${times.toFixed(1)}×` : ""}`;
  };

  const picture = (data, i) => {
    const thumb = S.thumb(el("div.thumb"), data, i, Math.min(576, innerWidth - 64, innerHeight - 170));
    const address = S.image(data, i);
    const frame = el("div.picture", null, thumb);
    if (address !== null) {
      const image = el("img", { alt: "", src: address });
      image.addEventListener("error", () => image.remove());
      image.addEventListener("load", () => (size.textContent = enlarged(image, frame)));
      frame.append(image);
    }
    const size = el("figcaption.muted");
    return el("figure", null, frame, size);
  };

  /** Where the file is on this computer, as far as the page can know. */
  const file = (data, i) => {
    if (data.images === null) return data.path[i];
    const address = new URL(S.image(data, i), document.baseURI);
    if (address.protocol !== "file:") return address.href;
    return decodeURIComponent(address.pathname).replace(/^\/([A-Za-z]:)/, "$1");
  };
  const copyable = (data, i) => {
    const field = el("input", { type: "text", readonly: true, id: "file", value: file(data, i) });
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(field.value);
      } catch {
        field.select();
        document.execCommand("copy");
      }
      S.say("The path is copied.");
    };
    return el(
      "div.file",
      null,
      el("label", { for: "file" }, "File"),
      field,
      el("button", { type: "button", onclick: copy }, "Copy"),
    );
  };

  const around = (grid, i) => {
    const { data } = grid;
    const next = S.neighbours(data, i);
    if (!next.length) return null;
    const of = next.map((k) =>
      el(
        "button.cell",
        {
          type: "button",
          "aria-label": S.spoken(data, k, S.state),
          title: S.patchName(data, k, S.state),
          onclick: () => S.open(grid, k),
          disabled: !data.place.has(k) && S.state.blind === "1",
        },
        S.thumb(el("div.thumb"), data, k, 64),
      ),
    );
    return el("div.around", null, el("h3", null, "Neighbours in this slice"), el("div.strip", null, of));
  };

  const fill = () => {
    const { dialog, grid, i } = open;
    const { data, ordered, state } = grid;
    const at = ordered.patches.indexOf(i);
    const go = (step) => () => turn(step);
    const note = el("textarea", {
      rows: 2,
      id: "note",
      value: S.marks.of(data.path[i])?.note ?? "",
      placeholder: "Note",
      "aria-label": "Note on this patch",
    });
    note.addEventListener("change", async () => (await S.reader("note")) && S.saveNote(data, i, note.value.trim()));
    dialog.querySelector("h2").textContent = S.patchName(data, i, state);
    dialog.setAttribute("aria-label", S.spoken(data, i, state));
    S.fill(
      open.body,
      picture(data, i),
      el(
        "div.beside-picture",
        null,
        el(
          "div.turn",
          null,
          el("button", { type: "button", onclick: go(-1), disabled: at <= 0, "aria-label": "Previous patch" }, "←"),
          el(
            "span",
            null,
            at < 0 ? "not among the patches shown" : `${S.count(at + 1)} of ${S.count(ordered.patches.length)}`,
          ),
          el(
            "button",
            {
              type: "button",
              onclick: go(1),
              disabled: at < 0 || at === ordered.patches.length - 1,
              "aria-label": "Next patch",
            },
            "→",
          ),
        ),
        S.factList(data, i, state, false),
        S.markButtons(() => [grid, [i]]),
        note,
        !state.blind && copyable(data, i),
        around(grid, i),
      ),
    );
  };

  const turn = (step) => {
    const { grid, i } = open;
    const next = grid.ordered.patches[grid.ordered.patches.indexOf(i) + step];
    if (next !== undefined && grid.ordered.patches.includes(i)) S.open(grid, next);
  };

  /** Open, change or close the window as the address has it. */
  S.showLarge = (state) => {
    if (!state.patch) return open?.dialog.close();
    const [grid, i] = find(state);
    if (!grid) return;
    if (!open) {
      const body = el("div.large");
      const dialog = S.dialog("Patch", body);
      dialog.classList.add("wide");
      dialog.addEventListener("close", () => {
        const { grid: of, i: last } = open;
        open = null;
        if (S.state.patch) S.go({ patch: "" });
        if (!of.data?.place.has(last)) return;
        of.activate(last);
        if (of.told !== null) of.tell(last); // the box is of the patch with the ring
      });
      dialog.addEventListener("keydown", (event) => {
        if (event.target.matches("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
        const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (step) turn(step);
        else if (/^[0-4]$/.test(event.key)) S.mark(open.grid, [open.i], event.key);
        else if (event.key === "n") dialog.querySelector("#note").focus();
        else if (event.key === "u") S.undo();
        else return;
        event.preventDefault();
        event.stopPropagation();
      });
      open = { dialog, body };
    }
    const changed = open.i !== i || open.grid !== grid;
    Object.assign(open, { grid, i });
    if (changed) fill();
  };
  S.on("marks", () => open && fill());
})(window.stratamil);
