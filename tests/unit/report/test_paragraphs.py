"""The paragraphs that an author can paste into a paper, for every kind of study."""

import textwrap

import pytest

from stratamil.report import paragraphs
from stratamil.stats.intervals import Estimate

VALUE = Estimate(0.912, 0.841, 0.953, 80)
SIZES = {"train": [30, 31], "val": [10, 10], "test": [10, 11]}
TRAIN = {"epochs": 30, "optimizer": "adamw", "lr": 0.0003, "weight_decay": 0.01, "class_weights": "balanced"}
RESULTS = {
    "settings": {
        "model": {"aggregation": "hierarchical", "embed_dim": 128, "dropout": 0.5},
        "train": TRAIN | {"label_smoothing": 0.1},
    },
    "features": {"encoder": "uni", "input_size": 224, "dim": 1024},
    "threshold_rule": "youden",
}


def numbers(**parts):
    shares = {"sensitivity": (17, Estimate(0.85, 0.64, 0.95, 20)), "specificity": (0, Estimate(None, n=0))}
    rows = [{"name": name, "label": name, "k": k, "estimate": estimate} for name, (k, estimate) in shares.items()]
    ensemble = {
        "brier": VALUE,
        "log_loss": VALUE,
        "calibration": {"slope": Estimate(None), "intercept": Estimate(None)},
    }
    made = {"headline": "fold_mean", "out_of_fold": {"fold_mean": VALUE, "roc_auc": VALUE, "folds": 5}, "cases": 51}
    made |= {"classes": ["benign", "high-grade"], "positive": "high-grade", "patients": 43, "by_seed": [{}]}
    made |= {"counts": {"benign": 31, "high-grade": 20}, "splits": ["1", "2"], "seeds": [42], "baselines": []}
    made |= {"bootstrap": {"samples": 2000}, "decisions": [{"rows": rows}], "ensemble": ensemble}
    return made | {"per_case": [{"right": 0, "times": 1}, {"right": 1, "times": 1}]} | parts


def used(results=RESULTS, **parts):
    total = {"cases": 51, "patients": 43, "slices": 313, "patches": 1592}
    plan = "Preset, read from splits/{split}.npz and checked: no case is in two sets of a split."
    flow = {
        "sources": [],
        "steps": [{"cases": 60, "left_out": []}, {"cases": 51, "left_out": [{"reason": "blank", "cases": 9}]}],
    }
    provenance = {"versions": {"python": "3.11", "torch": "2.1"}, "commit": "abcdef0123456"}
    made = {"cohort": {"total": total, "stains": ["h&e"], "plan": plan}, "flow": flow, "provenance": provenance}
    return made | {"faithfulness": None, "run": paragraphs.facts(results, SIZES)} | parts


TILES = {"tile_size_px": 224, "tile_size_um": 256.0, "target_magnification": 20}
OF_FILES = "the files give the tile size 224 pixels, 256 µm and magnification 20x."


@pytest.mark.parametrize(
    "said, encoder, files",
    [
        (
            {"named": "uni2", "extractor": "x"},
            "encoder: uni2 by the study’s settings and x by the files",
            "the files give neither tile size nor magnification.",
        ),
        ({"extractor": "x"} | TILES, "encoder: x by the files", OF_FILES),
        (
            {"patch_size": 256},
            "encoder not named",
            "the files give the tile size 256 pixels; the files do not give the magnification.",
        ),
    ],
)
def test_of_features_of_another_program_nothing_is_said_but_what_is_known(said, encoder, files):
    run = paragraphs.facts(RESULTS | {"features": {"encoder": "precomputed", "dim": 8} | said}, SIZES)
    text = paragraphs.methods(numbers(), used(run=run), "patient")
    assert f"Another program computed the 8 features of each patch ({encoder}); {files} [To be added" in text
    assert "from features of image patches of 1 stain" in text and "frozen" not in text.lower()


def test_the_pretraining_of_the_encoder_is_named_where_it_is_known():
    of = {"encoder": "efficientnet_lite0", "weights": "efficientnet_lite0_default.pth", "input_size": 128, "dim": 1280}
    assert paragraphs.encoded(of, ["h&e"]) == [
        "A frozen encoder (efficientnet_lite0, pretrained on ImageNet) encoded each patch once at 128 pixels into "
        "1,280 features."
    ]
    both = {"encoders": {"lite": of, "uni": {"encoder": "uni", "weights": "uni_default.weights", "dim": 1024}}}
    assert paragraphs.encoded(both, ["h&e"]) == [
        "Frozen encoders encoded each patch once: efficientnet_lite0 (pretrained on ImageNet) at 128 pixels into 1,280 "
        "features and uni (pretrained, weights of MahmoodLab/UNI on the Hugging Face Hub) into 1,024 features (joined)."
    ]


def test_several_encoders_are_named_joined_or_by_stain():
    uni, stats = ({"encoder": "uni", "input_size": 224, "dim": 1024}, {"encoder": "stain_stats", "dim": 60})
    both = {"encoders": {"uni": uni, "stain_stats": stats}}
    assert paragraphs.encoded(both, ["h&e", "sox10"]) == [
        "Frozen encoders encoded each patch once: uni at 224 pixels into 1,024 features and stain_stats into 60 "
        "features (joined)."
    ]
    by_stain = {"encoders": {"uni": uni, "stain_stats_h_e": stats}}
    assert paragraphs.encoded(by_stain, ["h&e", "sox10"]) == [
        "Frozen encoders encoded each patch once: uni at 224 pixels into 1,024 features for the other stains; "
        "stain_stats into 60 features for h&e."
    ]
    alone = {"encoders": {"uni_sox10": uni, "stain_stats_h_e": stats}}
    assert paragraphs.encoded(alone, ["h&e", "sox10"])[0].endswith(
        "once: uni at 224 pixels into 1,024 features for sox10; stain_stats into 60 features for h&e."
    )
    text = paragraphs.methods(numbers(), used(run=paragraphs.facts(RESULTS | {"features": both}, SIZES)), "patient")
    assert "(joined). Attention pooled patches" in text


def test_methods_have_every_number():
    assert paragraphs.methods(numbers(), used(), "patient") == (
        "Cases were classified as benign or high-grade from image patches of 1 stain (h&e) by "
        "multiple-instance learning. The cohort had 51 cases of 43 patients (31 benign and 20 high-grade) with 313 "
        "slices and 1,592 patches. A frozen encoder (uni) encoded each patch once at 224 pixels into 1,024 "
        "features. Attention pooled patches to slices, slices to stains and stains to the case (embedding "
        "128); a linear classifier followed. Splits were preset: no case is in two sets of a split. In each "
        "of 2 splits, with 1 seed (42), a model was trained on 30 to 31 cases, 10 cases were used for "
        "validation and 10 to 11 for the test. Training took up to 30 epochs (AdamW, learning rate 0.0003, "
        "weight decay 0.01, class weights balanced, label smoothing 0.1, dropout 0.5). Validation cases alone "
        "chose the epoch and the threshold (Youden’s index); no model was fitted to all cases. The primary "
        "measure was the out-of-fold AUROC (mean of the test sets), with 95% CIs from 2,000 patient-level "
        "bootstrap samples, or Newcombe’s method with fewer than 20 patients of a class; CIs of proportions "
        "are Wilson’s. Software: StrataMIL, commit abcdef0123 (Python 3.11, PyTorch 2.1)."
    )


def test_results_have_every_number():
    assert paragraphs.results(numbers(), used(), "patient") == (
        "Of 60 labelled cases, 51 were predicted out of fold; 9 were excluded (blank: 9). AUROC 0.91 (95% CI "
        "0.84 to 0.95), high-grade against benign, 51 cases of 43 patients, out of fold: mean of 5 test sets, "
        "each model trained once. The pooled AUROC was 0.91 (95% CI 0.84 to 0.95). At a probability of 0.5: "
        "sensitivity 0.85 (17 of 20; 95% CI 0.64 to 0.95) and specificity is not defined. The calibration "
        "slope is not defined: the classes are perfectly separated or only one. The Brier score was 0.91 (95% CI 0.84 "
        "to 0.95) and the log loss 0.91 (95% CI 0.84 to 0.95). 1 of 2 cases is misclassified. All figures are "
        "internal; no external cohort was tested."
    )


@pytest.mark.parametrize(
    "aggregation, words", [("flat", "all patches of a case at once"), ("mean", "were averaged over the case")]
)
def test_what_is_not_known_is_left_out(aggregation, words):
    results = {"settings": {"model": {"aggregation": aggregation}}}
    provenance = {"versions": {}, "commit": None}
    text = paragraphs.methods(numbers(positive=None), used(results, provenance=provenance), "case")
    assert words in text and "encoder" not in text and "epochs (" not in text and "patient" not in text
    assert "chose the epoch; no model" in text and "StrataMIL ()" not in text


def test_several_trainings_are_an_ensemble_and_lines_are_short():
    explained = {"overall": "Attention explains nothing."}
    text = paragraphs.text(numbers(by_seed=[{}] * 3, headline="roc_auc"), used(faithfulness=explained), "patient")
    joined = " ".join(text.split())
    assert "At a probability of 0.5, ensemble of 3 trainings: sensitivity" in joined
    assert "misclassified in every training" in joined and "Attention explains nothing." in joined
    assert "The pooled AUROC was" not in joined
    assert text.startswith("Methods\n\n") and "\n\nResults\n\n" in text
    assert max(map(len, text.splitlines())) <= paragraphs.WIDTH
    assert textwrap.dedent(text) == text


def test_methods_say_what_was_done_with_colours():
    """Of several encoders once, for all have the same settings."""
    colours = {"stain_normalisation": {"h&e": "macenko", "sox10": "reinhard"}, "views": 4}
    for features in (RESULTS["features"] | colours, {"encoders": {"a": colours, "b": colours}}):
        run = paragraphs.facts(RESULTS | {"features": features}, SIZES)
        text = paragraphs.methods(numbers(), used(run=run), "patient")
        assert "to a fixed H&E reference before encoding: h&e (Macenko) and sox10 (Reinhard). Training" in text
        assert text.count("Training drew from 4 further views of each patch in jittered colours.") == 1
