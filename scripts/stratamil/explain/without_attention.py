"""Does attention improve the AUROC? The model against itself, trained without attention on the same cases."""

import pandas as pd

from stratamil.core.names import column
from stratamil.core.wording import num
from stratamil.explain import findings
from stratamil.explain.faithfulness_runs import Study
from stratamil.explain.findings import ABOVE, BELOW, FEW, NONE, SAME, Finding
from stratamil.stats.intervals import Estimate

VARIANT = "mean"  # of the model: each patch of a case weighs the same in training, too
MEASURE = "auc_over_retrained"


def finding(study: Study) -> Finding:
    """Return the AUROC within a split, mean over splits and seeds, less that of the model retrained without attention.

    Runs are compared in pairs: the same split and seed.
    """
    sample, names = study.sample(study.table), [f"prob_{column(name)}" for name in study.classes]
    if study.retrained is None:
        model, without, estimate = None, None, Estimate(None, n=0)
        reason = "no model was trained without it"
    else:
        runs = study.table.groupby(["split", "seed"], sort=False)
        model, without, estimate = sample.auc_difference(
            (rows.set_index("case_id")[names], _without(study, *run).loc[rows["case_id"], names]) for run, rows in runs
        )
        reason = "no split has test cases of all classes"
    return Finding(
        section="uniform",
        measure=MEASURE,
        scope="study",
        value_of="AUROC",
        estimate=estimate,
        reference=0.0,
        verdict=findings.verdict(estimate),
        sentence=sentence(model, without, estimate, reason, study.table["seed"].nunique()),
    )


def _without(study: Study, split: str, seed: int) -> pd.DataFrame:
    table = study.retrained
    chosen = (table["variant"] == VARIANT) & (table["split"] == split) & (table["seed"] == seed)
    return table[chosen].set_index("case_id")


def sentence(model: float | None, without: float | None, estimate: Estimate, reason: str, seeds: int) -> str:
    """Say whether attention improves the AUROC.

    model, without: the two AUROCs; estimate: of their difference. reason: why there may be no estimate. seeds: over
    whose single trainings the AUROCs are means.
    """
    said = findings.verdict(estimate)
    if said == NONE:
        return f"What attention adds to the AUROC is not defined: {reason}."
    of = ", mean of single trainings," if seeds > 1 else ""
    both = f"AUROC within a split{of} {num(model, 2)} with it, {num(without, 2)} in the same model trained without it"
    if findings.unvaried(estimate):
        return f"{both}: no difference can be seen {findings.basis(estimate)}."
    size = f"difference {num(estimate.value, 2)} {findings.basis(estimate)}"
    return {
        ABOVE: f"Attention improves the AUROC: {both}; {size}.",
        BELOW: f"The AUROC is higher without attention: {both}; {size}.",
        SAME: f"Attention is not shown to improve the AUROC: {both}; {size}; {findings.held(estimate)}.",
        FEW: f"Too few to say whether attention improves the AUROC: {both}; {size}.",
    }[said]
