"use strict";
// What "?" tells: what the words of the page mean, and its keys.
((S) => {
  const { el } = S;
  const TERMS = [
    [
      "attention",
      "the share that a patch has in what the model makes of the case; all patches add up to 100%. Of a model without attention (log-sum-exp, mean) it is the patch's weight in the pooling",
    ],
    [
      "equal share",
      "1 divided by the number of patches of the case; 2× is twice that. For a slice: its share of the patches",
    ],
    [
      "log odds",
      "logarithm of the probability of a class divided by that of the other: 0 is even, +2.2 a probability of 0.90. Patches and a constant of the model (bias) add up to it. Of more than two classes the score of the class less the mean of the others takes its place",
    ],
    ["contribution", "what a patch adds to these log odds; below zero it speaks against the class"],
    [
      "training",
      "one of the models that were trained alike from different random starts. Probability, log odds and contributions are each a mean over them: the mean probability need not be that of the mean log odds",
    ],
    ["SD", "standard deviation over the trainings: how much they disagree"],
    ["top 10%", "the tenth of the patches with the most attention, rounded up"],
    ["frame, bar", "grow with the square root of attention and contribution, on one scale for all patches on the page"],
    ["⚑", "there is a note on the case"],
  ];
  const KEYS = [
    ["j  k", "next and previous case"],
    ["/", "search the cases; Enter opens the first and ends the search"],
    ["c", "compare with another case; again ends it"],
    ["← ↑ → ↓", "move over the patches; in the list, over the cases"],
    ["Page ↑ ↓, Home, End", "scroll"],
    ["Enter", "look at a patch"],
    ["1  2  3", "mark as signal, not signal, artefact"],
    ["4", "mark with a label of your own"],
    ["0", "take the mark off"],
    ["n", "write a note on the patch with the ring, or below the pointer"],
    ["u", "undo the last mark"],
    ["Shift + arrow or click", "select a range of patches"],
    ["Ctrl + click, Space", "add a patch to the selection"],
    ["Esc", "close, and clear the selection; again: end a comparison, or go from the patches to the tools"],
    ["?", "this help"],
  ];

  const table = (kind, title, rows, head) =>
    el(
      `table.${kind}`,
      null,
      el("caption", null, title),
      el(
        "tbody",
        null,
        rows.map(([what, text]) => el("tr", null, el("th", { scope: "row" }, head(what)), el("td", null, text))),
      ),
    );

  S.help = () =>
    S.dialog(
      "Help",
      el(
        "div.helps",
        null,
        !S.state.blind && table("terms", "Words", TERMS, (text) => text),
        table("keys", "Keys", KEYS, (text) => el("kbd", null, text)),
      ),
    ).classList.add("wide");
})(window.stratamil);
