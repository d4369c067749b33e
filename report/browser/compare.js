"use strict";
// Two cases side by side: first the reader chooses the second one in the list.
((S) => {
  S.comparing = false; // the second case is being chosen

  const set = (on) => {
    if (S.comparing === on) return;
    S.comparing = on;
    document.body.classList.toggle("comparing", on);
    S.emit("comparing");
  };

  /** Choose a case to show beside the open one; while there is one, or one is being chosen, end that. */
  S.compare = () => {
    if (!S.state.case || S.state.blind) return;
    if (S.state.beside) return S.endCompare();
    set(!S.comparing);
    if (S.comparing) S.focusList();
  };
  /** End choosing or comparing. Returns whether there was anything to end. */
  S.endCompare = () => {
    const any = S.comparing || S.state.beside !== "";
    set(false);
    if (S.state.beside) S.go({ beside: "" });
    return any;
  };
  /** What a case of the list leads to. */
  S.toCase = (key) => (S.comparing && key !== S.state.case ? { beside: key } : { case: key });

  const ENDS = ["case", "beside", "blind", "page"];
  S.on("state", (state, before) => ENDS.some((name) => state[name] !== before[name]) && set(false));
})(window.stratamil);
