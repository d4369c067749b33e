"""One deterministic pass over whole bags: predictions and, from the same pass, the attention of every patch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from stratamil.core import progress
from stratamil.core.errors import UserError
from stratamil.core.names import column, natural
from stratamil.mil.bags import Bags, Batch
from stratamil.mil.model import HierarchicalAttention, Output
from stratamil.stats import intervals, metrics
from stratamil.stats.intervals import Estimate
from stratamil.stats.ranking import compared

OFF = {
    None: "fitted on validation cases",
    "few": f"not fitted: fewer than {metrics.TEMPERATURE_CASES} validation cases",
    "one class": "not fitted: validation cases of one class only",
    "bound": "not fitted: the search ends at a bound",
}


def predict(
    model: HierarchicalAttention,
    bags: Bags,
    table: pd.DataFrame,
    case_ids: Iterable[str],
    *,
    y: Mapping[str, int],
    classes: Sequence[str],
    with_attention: bool = True,
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Predict whole bags, and keep everything: (predictions, attention) of each member, rows as in `by_case`.

    attention is empty unless `with_attention`.
    """
    cases = list(by_case(model, bags, table, case_ids, y=y, classes=classes, with_attention=with_attention))
    result = []
    for member in range(model.members):
        patches = [case[member][1] for case in cases] or [pd.DataFrame()]
        result.append((pd.DataFrame([case[member][0] for case in cases]), pd.concat(patches, ignore_index=True)))
    return result


@torch.inference_mode()
def by_case(
    model: HierarchicalAttention,
    bags: Bags,
    table: pd.DataFrame,
    case_ids: Iterable[str],
    *,
    y: Mapping[str, int],
    classes: Sequence[str],
    with_attention: bool = True,
) -> Iterator[list[tuple[dict[str, Any], pd.DataFrame]]]:
    """Predict whole bags, one case after another, nothing sampled.

    model: on the device of the bags. bags: Bags. table: the features' table (case_id, stain, slice_id, patch, path).
    y: case id -> class index. classes: K names.
    Yields for each case (prediction, attention) of each member. prediction, a row: case_id, true_label, predicted_label
    (indices of classes), prob_<class>, correct, true_class, predicted_class, logit_<class>, patches (of the bag).
    attention, one row a patch: the columns of `table`, patch_weight, slice_weight, stain_weight, effective_weight,
    effective_ratio and rank (see `ranking.compared`), contribution_<class>: over a case, they and the class's entry of
    `biases` add up to its logit. Empty unless `with_attention`.
    """
    cases = sorted(case_ids, key=natural)
    for case in progress.track(cases, len(cases), "cases"):
        batch, output = one(model, bags, case)
        logits = output.logits[0].double().cpu()
        contributions = model.contributions(output).cpu().numpy() if with_attention else None
        yield [
            (
                _prediction(case, y[case], logits[member], classes) | {"patches": len(batch.rows)},
                attention(output, member, contributions[:, member], batch, table, classes)
                if with_attention
                else pd.DataFrame(),
            )
            for member in range(model.members)
        ]


def one(model: HierarchicalAttention, bags: Bags, case: str) -> tuple[Batch, Output]:
    """Return the whole bag of a case and the Output of it. Raises UserError if a prediction is not finite."""
    batch = bags.batch([case])
    return batch, of_bag(model, batch, case)


def of_bag(model: HierarchicalAttention, batch: Batch, case: str) -> Output:
    """Return the Output of the whole bag of a case. Raises UserError if a prediction is not finite."""
    output = model(batch)
    if not output.logits.isfinite().all():
        raise UserError(
            f"case {case}: the model gives no finite prediction: train again with a lower learning rate, or in fp32"
        )
    return output


@torch.inference_mode()
def probabilities(model: HierarchicalAttention, bags: Bags, case_ids: Sequence[str]) -> NDArray[np.float64]:
    """Return the class probabilities (M, cases, K) of whole bags by each member, without attention."""
    logits = [one(model, bags, case)[1].logits[0] for case in progress.track(case_ids, len(case_ids), "cases")]
    return torch.softmax(torch.stack(logits, 1).double(), 2).cpu().numpy()


def _prediction(case: str, truth: int, logits: torch.Tensor, classes: Sequence[str]) -> dict[str, Any]:
    probabilities = torch.softmax(logits, 0).numpy()
    predicted = int(probabilities.argmax())
    return (
        {"case_id": case, "true_label": truth, "predicted_label": predicted}
        | {f"prob_{column(name)}": p for name, p in zip(classes, probabilities)}
        | {"correct": predicted == truth, "true_class": classes[truth], "predicted_class": classes[predicted]}
        | {f"logit_{column(name)}": z for name, z in zip(classes, logits.numpy())}
    )


def attention(
    output: Output, member: int, contributions: NDArray, batch: Batch, table: pd.DataFrame, classes: Sequence[str]
) -> pd.DataFrame:
    """Return the attention of one member to the patches of a bag, as `predict` does. contributions: (P, K)."""
    stain_of_patch = batch.stain_of_slice[batch.slice_of_patch]
    weighed = table.iloc[batch.rows].assign(  # ids are categories, the same in each case
        patch_weight=output.patch[:, member].cpu().numpy(),
        slice_weight=output.slice[batch.slice_of_patch, member].cpu().numpy(),
        stain_weight=output.stain[stain_of_patch, member].cpu().numpy(),
        effective_weight=output.effective[:, member].cpu().numpy(),
    )
    columns = {f"contribution_{column(name)}": contributions[:, k] for k, name in enumerate(classes)}
    return compared(weighed).assign(**columns)


def biases(model: HierarchicalAttention, member: int, classes: Sequence[str]) -> dict[str, float]:
    """Return a member's bias of each class: what a logit is before any patch contributes."""
    return dict(zip(classes, model.classifier.bias[member].tolist(), strict=True))


def arrays(predictions: pd.DataFrame, classes: Sequence[str]) -> tuple[NDArray, NDArray, NDArray]:
    """Return labels (n,), probabilities (n, K) and logits (n, K) of a predictions table."""
    y = predictions["true_label"].to_numpy(dtype=int)
    names = [column(name) for name in classes]
    return (y, *(predictions[[f"{kind}_{name}" for name in names]].to_numpy() for kind in ("prob", "logit")))


def results(
    test: pd.DataFrame, validation: pd.DataFrame, classes: Sequence[str], threshold: str | float
) -> dict[str, Any]:
    """Return all numbers of a run as a dict for results.json.

    test, validation: predictions tables. threshold: "youden" or a target sensitivity; it and the
    temperature are chosen on validation cases, never on test cases. With more than two classes there is no threshold.
    """
    y, p, _ = arrays(test, classes)
    val_y, val_p, _ = arrays(validation, classes)
    # Of one model they are its logits but for a constant, which no temperature sees; of an ensemble the mean's.
    val_logits = np.log(np.maximum(val_p, np.finfo(float).tiny))
    result = metrics.summary(y, p, classes)
    result["counts"] = {name: int((y == k).sum()) for k, name in enumerate(classes)}
    result["temperature"], result["temperature_off"] = metrics.temperature(val_y, val_logits)
    if len(classes) == 2:
        score, val_score = p[:, 1], val_p[:, 1]
        result["roc_auc_delong"] = intervals.delong(y, score)
        result["roc_auc_interval"] = intervals.of_cases(y, score)
        chosen = metrics.chosen_threshold(val_y, val_score, threshold)
        result["at_0.5"] = metrics.at_threshold(y, score, 0.5)
        result["threshold"] = chosen
        result["threshold_rule"] = threshold
        result["at_threshold"] = None if chosen is None else metrics.at_threshold(y, score, chosen)
        result["calibration"] = metrics.calibration(y, score)
    result["validation"] = metrics.summary(val_y, val_p, classes)
    return result


def text(result: Mapping[str, Any]) -> str:
    """Return results.txt: the numbers of a run for a reader, with 95% CIs where the run's numbers give one."""
    n, recall, auc = result["n"], result["recall"], result.get("roc_auc_interval")
    counts = result.get("counts") or {}
    lines = [
        *_made_by(result),
        f"number of samples: {n} test cases"
        + (f" ({', '.join(f'{count} {name}' for name, count in counts.items())})" if counts else ""),
        f"test loss: {_number(result['loss'])} (log loss)",
        f"accuracy: {_share(result['accuracy'], n)}",
        f"balanced accuracy: {_number(result['balanced_accuracy'])}",
        *(f"recall {name}: {_share(value, counts.get(name))}" for name, value in recall.items()),
        f"AUROC: {_number(result['roc_auc'])}" + (_range(auc) if auc else ""),
        f"PR AUC: {_number(result['pr_auc'])}"
        + (f" (prevalence {result['prevalence']:.4f})" if result.get("prevalence") is not None else ""),
        f"Brier score: {_number(result['brier'])}",
        f"temperature: {_number(result['temperature'])} ({OFF[result['temperature_off']]})",
    ]
    if result.get("at_threshold"):
        at = result["at_threshold"]
        lines += [
            f"threshold from validation ({result['threshold_rule']}): {_number(result['threshold'])}",
            f"  sensitivity {_share(at['sensitivity'], at['tp'] + at['fn'])}",
            f"  specificity {_share(at['specificity'], at['tn'] + at['fp'])}",
            f"  accuracy {_share(at['accuracy'], n)}",
            f"  balanced accuracy {_number(at['balanced_accuracy'])}",
        ]
    few = f"Newcombe's for the AUROC with fewer than {intervals.FEW} cases of a class, else DeLong's"
    lines.append(f"95% CIs: Wilson's for shares, {few}; all assume independent cases")
    return "\n".join(lines) + "\n"


def _made_by(result: Mapping[str, Any]) -> list[str]:
    members = result.get("members", [result])
    seeds = ", ".join(str(member["seed"]) for member in members)
    name = f"ensemble of seeds {seeds}, mean probability" if len(members) > 1 else f"seed {seeds}"
    named = [f"checkpoint: {each['checkpoint']} (epoch {each['epoch']}, best on validation)" for each in members]
    return [f"split {result['split']}, {name}", *named]


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


def _range(estimate: Estimate) -> str:
    return "" if estimate.low is None else f" ({estimate.low:.4f} to {estimate.high:.4f})"


def _share(value: float | None, n: int | None) -> str:
    """Return a share of n cases with its counts and interval."""
    if value is None or not n:
        return _number(value)
    k = round(value * n)
    return f"{_number(value)}, {k} of {n}{_range(intervals.wilson(k, n))}"


def true_probability(y: NDArray, p: NDArray) -> NDArray:
    """Return the probability (n,) drawn in the deviation plot: of the last of two classes, or of the true one."""
    return p[:, 1] if p.shape[1] == 2 else p[np.arange(len(y)), y]
