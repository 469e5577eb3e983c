"""A Siamese fit from pictures to figures: what is learned, said on the way, exported, measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import Cancelled, InvalidInput, WhorlError
from app.core.params import Matching, MatchingParams, PictureParams, VectorMatching
from app.core.types import Descriptor, FloatArray, Probe
from app.learning.fit import FitProgress
from app.learning.siamese import protocol
from app.learning.siamese.batches import Batches, twin_layout
from app.learning.siamese.data import recipe_pictures
from app.learning.siamese.fit import (
    VALIDATION_PAIRS,
    FitLimits,
    FittedSiamese,
    SiameseEpoch,
    fit_siamese,
    take_over,
)
from app.learning.siamese.heads import PairHead, finished_matching, training_head
from app.learning.siamese.network import embed_pixels, new_picture_encoder
from app.learning.siamese.originals import STRIPES_ORIGINAL
from app.learning.siamese.pairing import Pairs, PairSampler
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.recipe import (
    Augmentation,
    DataParams,
    FitSchedule,
    LossKind,
    LossParams,
    PairingParams,
    Protocol,
    SiameseRecipe,
)
from app.learning.siamese.stripes import SIDE_PX, stripe_scan, stripe_scans
from app.matching.score import compare
from app.networks.layer_stack import layer_stack

SIDE = 16
STACK: list[dict[str, Any]] = [
    {"layer": "flatten"},
    {"layer": "dense", "units": 32},
    {"layer": "dense", "units": 8, "activation": None},
]
UNIT = {"layer": "unit"}
DENSE = {"layer": "dense", "units": 1, "activation": None}
TINY = SiameseRecipe(
    "tiny",
    "bars that run down or across",
    data=DataParams("stripes"),
    preparation=PictureParams(SIDE, SIDE),
    architecture_params={"stack": STACK},
    loss=LossParams("contrastive", margin=1.0),
    pairing=PairingParams("balanced", pairs=64),
    schedule=FitSchedule(12, 16, learning_rate=3e-3),
)
STILL = replace(TINY, schedule=FitSchedule(4, 16, learning_rate=0.0))
EUCLIDEAN = VectorMatching("euclidean")


def floats(values: Any) -> FloatArray:
    return np.asarray(values, np.float32)


def bars(count: int, seed: int) -> LabelledPictures:
    """``count`` pictures of bars that run down and as many of bars that run across."""
    rng = np.random.default_rng(seed)
    shown, classes = [], []
    for name in ("across", "down"):
        for _ in range(count):
            wave = (np.arange(SIDE) + rng.integers(2)) // 2 % 2 + rng.normal(0, 0.1, (SIDE, SIDE))
            shown.append(wave if name == "down" else wave.T)
            classes.append(name)
    return labelled(np.asarray(shown, np.float32), classes)


def labelled(
    pixels: FloatArray, classes: Sequence[str], conditions: Sequence[str] = ()
) -> LabelledPictures:
    names = tuple(classes)
    shown = tuple(conditions) or ("",) * len(names)
    return LabelledPictures(pixels, names, names, shown, tuple(map(str, range(len(names)))))


def ignore(progress: FitProgress) -> None:
    pass


def fitted(recipe: SiameseRecipe, **options: Any) -> FittedSiamese:
    return fit_siamese(recipe, bars(16, 1), bars(8, 2), ignore, **options)


# --- learning ------------------------------------------------------------------------------------

CLASSES = PairingParams("classes", pictures_a_class=4)
LEARNED: dict[LossKind, SiameseRecipe] = {
    "contrastive": TINY,
    "binary_crossentropy_absolute": replace(TINY, matching=None),
    "triplet": replace(TINY, pairing=CLASSES),
    "batch_contrastive": replace(TINY, pairing=CLASSES),
    "supervised_contrastive": replace(
        TINY,
        pairing=CLASSES,
        matching=VectorMatching("cosine"),
        architecture_params={"stack": [*STACK, UNIT]},
    ),
    "additive_margin_softmax": replace(
        TINY,
        pairing=CLASSES,
        matching=VectorMatching("cosine"),
        architecture_params={"stack": [*STACK, UNIT]},
    ),
}


@pytest.mark.parametrize("kind", LEARNED)
def test_a_tiny_network_tells_bars_apart_that_it_has_not_seen(kind: LossKind) -> None:
    schedule = FitSchedule(10, 8, learning_rate=3e-3)
    margin = 2.0 if kind in ("contrastive", "batch_contrastive") else 0.5  # of distances larger
    recipe = replace(LEARNED[kind], loss=LossParams(kind, margin=margin), schedule=schedule)
    found = fitted(recipe)
    assert found.epochs[-1].symptoms == ()
    validation, test = bars(8, 2), bars(10, 3)
    cells = [embed_pixels(found.encoder, part.pixels) for part in (validation, test)]
    measured = protocol.measure(recipe, found.matching, (validation, cells[0]), (test, cells[1]))
    assert measured.figures["accuracy"] == 1.0
    assert measured.figures["roc_auc"] == 1.0
    assert found.stopped == ""
    assert found.train_s > 0.0


def test_a_fit_with_everything_on_runs_and_is_told_about() -> None:
    recipe = replace(
        TINY,
        augmentation=Augmentation(5.0, 0.05, (0.9, 1.1), 0.5, True, 0.1, 0.1, 0.02, 0.2),
        pairing=PairingParams("each_twice", hard_share=0.5),
        schedule=FitSchedule(2, 12, "adamw", 1e-3, "cosine", 1e-4),
    )
    seen: list[FitProgress] = []
    told: list[SiameseEpoch] = []
    found = fit_siamese(
        recipe, bars(16, 1), bars(8, 2), seen.append, dtype="mixed_bfloat16", told=told.append
    )
    assert [epoch.number for epoch in told] == [1, 2]
    assert tuple(told) == found.epochs
    # 64 pairs are 6 batches of 12 in each epoch, the last one shorter.
    assert [progress.epoch for progress in seen] == [1] * 6 + [2] * 6
    assert all(math.isfinite(p.loss) and p.images_per_s > 0 and p.eta_s >= 0 for p in seen)
    assert all(e.images_per_s > 0 and math.isfinite(e.validation_loss) for e in told)
    # What is handed out computes in float32, whatever the training did.
    assert {weight.dtype for weight in found.encoder.weights} == {"float32"}
    assert {layer.compute_dtype for layer in found.encoder.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_a_fit_follows_from_its_seed() -> None:
    recipe = replace(TINY, schedule=FitSchedule(2, 16))
    once, again = fitted(recipe), fitted(recipe)
    assert [epoch.loss for epoch in once.epochs] == [epoch.loss for epoch in again.epochs]
    other = fitted(replace(TINY, schedule=FitSchedule(2, 16, seed=2)))
    assert once.epochs[0].loss != other.epochs[0].loss


@pytest.mark.parametrize("passes", [1, 3])
def test_an_epoch_of_classes_shows_every_picture_once_a_pass(passes: int) -> None:
    recipe = replace(
        TINY,
        loss=LossParams("triplet"),
        pairing=replace(CLASSES, passes=passes),
        schedule=FitSchedule(2, 8),
    )
    seen: list[FitProgress] = []
    fit_siamese(recipe, bars(16, 1), bars(8, 2), seen.append)
    # 32 pictures are 4 batches of 8.
    assert [at.epoch for at in seen] == [1] * 4 * passes + [2] * 4 * passes
    assert {at.steps for at in seen} == {8 * passes}
    assert [at.step for at in seen] == list(range(1, 8 * passes + 1))


def test_every_pass_is_drawn_anew_and_shows_all_pictures() -> None:
    recipe = replace(TINY, loss=LossParams("triplet"), pairing=replace(CLASSES, passes=3))
    train = bars(16, 1)
    epoch = Batches(recipe, train).next(None)
    assert epoch.batch == 16
    np.testing.assert_array_equal(epoch.labels, train.labels()[epoch.rows])
    first, second, third = np.split(epoch.rows, 3)
    for shown in (first, second, third):
        assert sorted(shown) == list(range(32))
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


@pytest.mark.parametrize("dropped_cells", [0.0, 0.3])
def test_every_batch_drops_cells_of_its_own(dropped_cells: float) -> None:
    # One batch an epoch of the same pictures, and nothing is learned: only the cells can differ.
    grid: list[dict[str, Any]] = [
        {"layer": "conv", "filters": 4, "kernel": 4, "stride": 2, "activation": None},
        UNIT,
    ]
    recipe = replace(
        STILL,
        architecture_params={"stack": grid},
        loss=LossParams("supervised_contrastive", shift_cells=1, dropped_cells=dropped_cells),
        pairing=CLASSES,
        matching=MatchingParams((0.0,), max_shift_cells=1),
        schedule=FitSchedule(3, 32, learning_rate=0.0),
    )
    losses = [epoch.loss for epoch in fitted(recipe).epochs]
    assert np.isfinite(losses).all()
    assert len({round(loss, 4) for loss in losses}) == (3 if dropped_cells else 1)


@pytest.mark.parametrize("fixed", [False, True])
def test_fixed_pairs_are_shown_in_every_epoch(fixed: bool) -> None:
    found = fitted(replace(STILL, pairing=PairingParams("balanced", pairs=64, fixed=fixed)))
    losses = [epoch.loss for epoch in found.epochs]
    assert (max(losses) - min(losses) < 1e-6) == fixed


def test_hard_impostors_are_those_of_the_encoder_so_far() -> None:
    # Eight classes on a line: the nearest five are nearer than any other.
    levels = np.repeat(floats([0, 0.1, 0.2, 0.3, 0.4, 5, 6, 7]), 4)
    pixels = floats(np.broadcast_to(levels[:, None, None], (32, SIDE, SIDE)))
    train = labelled(pixels, [f"c{k // 4}" for k in range(32)])
    recipe = replace(
        STILL,
        architecture_params={"stack": [{"layer": "global_average"}, DENSE]},
        loss=LossParams("contrastive", margin=5.0),
        pairing=PairingParams("balanced", pairs=400, hard_share=1.0),
    )
    base = new_picture_encoder(recipe)
    base.set_weights([np.ones((1, 1)), np.zeros(1)])  # the embedding is the level
    first, *later = fit_siamese(recipe, train, train, ignore, base=base).epochs
    assert all(epoch.loss > 1.1 * first.loss for epoch in later)


def test_a_loss_that_is_no_number_ends_the_fit() -> None:
    train = bars(16, 1)
    train.pixels[5] = np.nan
    linear = replace(TINY, architecture_params={"stack": [{"layer": "flatten"}, DENSE]})
    with pytest.raises(WhorlError, match="diverged") as caught:
        fit_siamese(linear, train, bars(8, 2), ignore)
    assert caught.value.slug == "fit_diverged"


def test_whoever_watches_may_stop_the_fit() -> None:
    def stop(progress: FitProgress) -> None:
        if progress.step == 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        fit_siamese(TINY, bars(16, 1), bars(8, 2), stop)


# --- the limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "patience", "stopped", "epochs"),
    [
        (FitLimits(), 0, "", 4),
        (FitLimits(epochs=2), 0, "after 2 of 4 epochs as asked", 2),
        (FitLimits(epochs=9), 0, "", 4),
        (FitLimits(seconds=0.0), 0, "after 1 of 4 epochs by the limit of 0 s", 1),
        # With a learning rate of 0 the first epoch stays the best one.
        (FitLimits(), 2, "after 3 of 4 epochs without a lower validation loss", 3),
    ],
)
def test_limits_stop_early_and_say_why(
    limits: FitLimits, patience: int, stopped: str, epochs: int
) -> None:
    recipe = replace(STILL, schedule=replace(STILL.schedule, patience=patience))
    found = fitted(recipe, limits=limits)
    assert (found.stopped, len(found.epochs)) == (stopped, epochs)


def test_patience_needs_a_validation_loss() -> None:
    schedule = replace(STILL.schedule, epochs=2, patience=1)
    found = fitted(replace(STILL, loss=LossParams("triplet"), pairing=CLASSES, schedule=schedule))
    assert (found.stopped, len(found.epochs)) == ("", 2)
    assert all(math.isnan(epoch.validation_loss) for epoch in found.epochs)


# --- the validation loss -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "pairing"),
    [
        ("contrastive", PairingParams("balanced", pairs=32)),
        ("binary_crossentropy_absolute", PairingParams("each_twice")),
        ("batch_contrastive", CLASSES),
    ],
)
def test_without_genuine_validation_pairs_there_is_no_validation_loss(
    kind: LossKind, pairing: PairingParams
) -> None:
    recipe = replace(
        TINY,
        loss=LossParams(kind),
        pairing=pairing,
        schedule=FitSchedule(3, 16, patience=1),
    )
    assert set(Counter(bars(1, 2).classes).values()) == {1}
    found = fit_siamese(recipe, bars(16, 1), bars(1, 2), ignore)
    assert all(math.isnan(epoch.validation_loss) for epoch in found.epochs)
    assert (found.stopped, len(found.epochs)) == ("", 3)
    assert all(math.isfinite(epoch.loss) for epoch in found.epochs)
    assert all(np.isfinite(weight).all() for weight in found.encoder.get_weights())


def distances_of(found: FittedSiamese, pairs: Pairs) -> FloatArray:
    cells = embed_pixels(found.encoder, bars(8, 2).pixels)[:, 0, 0].astype(np.float64)
    return np.asarray(np.linalg.norm(cells[pairs.first] - cells[pairs.second], axis=1), np.float32)


@pytest.mark.parametrize(
    ("kind", "pairing"),
    [
        ("contrastive", PairingParams("balanced", pairs=64)),
        ("contrastive", PairingParams("each_twice")),
        ("batch_contrastive", CLASSES),
    ],
)
def test_the_validation_loss_by_hand(kind: LossKind, pairing: PairingParams) -> None:
    recipe = replace(TINY, loss=LossParams(kind, margin=0.7), pairing=pairing)
    found = fitted(recipe, limits=FitLimits(epochs=1))
    drawn = pairing if pairing.kind == "each_twice" else PairingParams(pairs=VALIDATION_PAIRS)
    pairs = PairSampler(bars(8, 2)).draw(drawn, np.random.default_rng(0))
    distance = distances_of(found, pairs)
    wanted = np.where(pairs.same, distance**2, np.maximum(0.7 - distance, 0.0) ** 2).mean()
    assert found.epochs[0].validation_loss == pytest.approx(float(wanted), rel=1e-4)


@pytest.mark.parametrize(
    "kind",
    [
        "binary_crossentropy_distance",
        "binary_crossentropy_absolute",
        "binary_crossentropy_difference",
    ],
)
def test_the_finished_scores_are_the_probabilities_of_the_validation_loss(kind: LossKind) -> None:
    """Twin encoder and head in training, exported encoder and measure: the same numbers."""
    recipe = replace(TINY, loss=LossParams(kind), matching=None)
    found = fitted(recipe, limits=FitLimits(epochs=2))
    validation = bars(8, 2)
    pairs = PairSampler(validation).draw(
        PairingParams(pairs=VALIDATION_PAIRS), np.random.default_rng(0)
    )
    cells = embed_pixels(found.encoder, validation.pixels)
    genuine = protocol.pair_scores(cells, pairs, found.matching).astype(np.float64)
    wanted = -np.log(np.where(pairs.same, genuine, 1.0 - genuine)).mean()
    assert found.epochs[-1].validation_loss == pytest.approx(float(wanted), rel=1e-4)
    measured_loss = protocol.pair_loss(recipe.loss, genuine.astype(np.float32), pairs.same)
    assert measured_loss == pytest.approx(float(wanted))


# --- the layout of twins, what is taken over -----------------------------------------------------


def test_twins_lie_batch_by_batch() -> None:
    pairs = Pairs(np.arange(5), np.arange(5) + 10, np.array([1, 0, 0, 1, 1], bool))
    rows, labels = twin_layout(pairs, 2)
    assert rows.tolist() == [0, 1, 10, 11, 2, 3, 12, 13, 4, 14]
    assert labels.tolist() == [1, 0, 1, 0, 0, 1, 0, 1, 1, 1]
    assert labels.dtype == np.float32


@given(st.integers(1, 40), st.integers(1, 12))
def test_every_batch_of_twins_splits_into_its_pairs(count: int, batch: int) -> None:
    pairs = Pairs(np.arange(count), np.arange(count) + 100, np.arange(count) % 3 == 0)
    rows, labels = twin_layout(pairs, batch)
    found = []
    for start in range(0, len(rows), 2 * batch):
        first, second = np.split(rows[start : start + 2 * batch], 2)
        same, again = np.split(labels[start : start + 2 * batch], 2)
        np.testing.assert_array_equal(second, first + 100)
        np.testing.assert_array_equal(same, again)
        np.testing.assert_array_equal(same, first % 3 == 0)
        found += first.tolist()
    assert found == list(range(count))


def randomised(encoder: keras.Model, seed: int) -> keras.Model:
    rng = np.random.default_rng(seed)
    encoder.set_weights([rng.standard_normal(w.shape) for w in encoder.weights])
    return encoder


def test_only_layers_that_fit_are_taken_over() -> None:
    last = {"layer": "dense", "units": 5, "activation": None}
    base = randomised(layer_stack(SIDE, SIDE, STACK), 1)
    encoder = randomised(layer_stack(SIDE, SIDE, [*STACK[:2], last]), 2)
    before = {weight.path: np.asarray(weight) for weight in encoder.weights}
    assert take_over(base, encoder) == ["01_dense_dense"]
    known = {weight.path: np.asarray(weight) for weight in base.weights}
    for weight in encoder.weights:
        wanted = known if weight.path.startswith("01_dense_dense/") else before
        np.testing.assert_array_equal(np.asarray(weight), wanted[weight.path])
    assert take_over(base, layer_stack(SIDE, SIDE, [{"layer": "global_average"}])) == []


def test_a_fit_begins_with_its_base() -> None:
    base = randomised(layer_stack(SIDE, SIDE, STACK), 4)
    found = fitted(STILL, base=base, limits=FitLimits(epochs=1))
    for one, other in zip(found.encoder.get_weights(), base.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    fresh = fitted(STILL, limits=FitLimits(epochs=1))
    wanted = new_picture_encoder(STILL).get_weights()
    for one, other in zip(fresh.encoder.get_weights(), wanted, strict=True):
        np.testing.assert_array_equal(one, other)


# --- the measure that is exported ----------------------------------------------------------------


def random_head(kind: LossKind, channels: int, seed: int) -> PairHead:
    rng = np.random.default_rng(seed)
    head = PairHead(LossParams(kind))
    head.build((None, 1, 1, channels))
    for variable in head.weights:
        variable.assign(rng.normal(0.0, 0.7, variable.shape))
    return head


@settings(max_examples=30)
@given(
    st.sampled_from(
        [
            ("binary_crossentropy_distance", "logistic_distance"),
            ("binary_crossentropy_absolute", "logistic_absolute_difference"),
            ("binary_crossentropy_difference", "logistic_relu_difference"),
        ]
    ),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
)
def test_the_exported_measure_is_the_head(
    names: tuple[LossKind, str], channels: int, seed: int
) -> None:
    kind, measure = names
    head = random_head(kind, channels, seed)
    first, second = np.random.default_rng(seed).normal(0, 1, (2, 6, 1, 1, channels))
    second[0] = first[0]  # two templates that are equal
    embeddings = np.concatenate([first, second]).astype(np.float32)
    logits = np.asarray(head(embeddings), np.float64)
    matching = finished_matching(replace(TINY, loss=head.loss, matching=None), head)
    assert isinstance(matching, VectorMatching)
    assert matching.measure == measure
    ones = np.ones((1, 1), np.float32)
    for row, logit in enumerate(logits):
        probe = Probe(embeddings[row][None], ones[None])
        score = compare(probe, Descriptor(embeddings[row + 6], ones), matching)
        assert score == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-5)


def test_a_contrastive_head_says_the_distance_that_is_compared() -> None:
    embeddings = floats([[0, 0], [1, 1], [3, 4], [1, 1]]).reshape(4, 1, 1, 2)
    recipe = replace(TINY, matching=None)
    head = training_head(recipe, 2)
    assert isinstance(head, PairHead)
    np.testing.assert_allclose(np.asarray(head(embeddings)), [5.0, 0.0], atol=1e-5)
    assert finished_matching(recipe, head) == EUCLIDEAN


def test_what_a_recipe_says_of_matching_goes_before_what_was_learned() -> None:
    cosine = VectorMatching("cosine")
    head = random_head("binary_crossentropy_absolute", 3, 1)
    assert finished_matching(replace(TINY, matching=cosine), head) == cosine
    for kind in ("triplet", "additive_margin_softmax"):
        silent = replace(TINY, loss=LossParams(kind), matching=None)
        with pytest.raises(ValueError, match="the recipe tiny must say"):
            finished_matching(silent, training_head(silent, 2))


# --- the stripes that everybody tries ------------------------------------------------------------


def stripes_fit(recipe: SiameseRecipe, epochs: int) -> list[set[str]]:
    """Names of the symptoms of each epoch."""
    train, validation, _ = recipe_pictures(recipe, Path("nowhere"))
    found = fit_siamese(recipe, train, validation, ignore, limits=FitLimits(epochs=epochs))
    return [{symptom.name for symptom in epoch.symptoms} for epoch in found.epochs]


def test_the_stripes_as_commonly_tried_say_what_is_wrong_from_the_first_epoch() -> None:
    wrong = {"pairs_out_of_balance", "picture_with_itself", "no_better_than_a_constant"}
    for seen in stripes_fit(STRIPES_ORIGINAL, 3):
        assert wrong <= seen


def test_the_stripes_as_commonly_tried_collapse() -> None:
    # Smaller and ten times as fast: what takes the original some fifty epochs.
    schedule = replace(STRIPES_ORIGINAL.schedule, learning_rate=1e-2)
    fast = replace(STRIPES_ORIGINAL, preparation=PictureParams(40, 40), schedule=schedule)
    last = stripes_fit(fast, 5)[-1]
    assert {"embedding_collapse", "dead_relu_output", "clamped_distance"} <= last


@pytest.mark.parametrize(("finger", "axis"), [("vertical", 0), ("horizontal", 1)])
def test_stripes_run_where_their_finger_has_them(finger: str, axis: int) -> None:
    for seed in range(5):
        scan = stripe_scan(finger, np.random.default_rng(seed))
        assert scan.shape == (SIDE_PX, SIDE_PX)
        assert scan.dtype == np.float32
        assert 0.0 <= scan.min() < scan.max() <= 1.0
        # Neighbours along a stripe are alike, those across it are not.
        along, across = (
            float(np.abs(np.diff(scan, n=1, axis=way)).mean()) for way in (axis, 1 - axis)
        )
        assert along < 0.8 * across


def test_stripes_are_as_many_as_asked_and_follow_from_their_seed() -> None:
    params = PictureParams(40, 30)
    pictures = stripe_scans(3, 5, params)
    assert pictures.pixels.shape == (6, 40, 30)
    assert pictures.classes == pictures.subjects == ("vertical",) * 3 + ("horizontal",) * 3
    assert pictures.names[0] == "vertical_1"
    assert pictures.names[-1] == "horizontal_3"
    assert len({picture.tobytes() for picture in pictures.pixels}) == 6
    np.testing.assert_array_equal(stripe_scans(3, 5, params).pixels, pictures.pixels)
    assert not np.array_equal(stripe_scans(3, 6, params).pixels, pictures.pixels)


# --- the protocol --------------------------------------------------------------------------------


def on_a_line(
    places: dict[str, list[float]], conditions: Sequence[str] = ()
) -> tuple[LabelledPictures, FloatArray]:
    """Pictures of classes whose vectors are numbers: distances can be read off."""
    classes = [name for name, levels in places.items() for _ in levels]
    levels = floats([level for levels in places.values() for level in levels])
    pixels = np.zeros((len(classes), 2, 2), np.float32)
    return labelled(pixels, classes, conditions), levels.reshape(-1, 1, 1, 1)


PERFECT = on_a_line({"a": [0, 0.1], "b": [1, 1.1], "c": [5, 5.1]})
# Genuine distances 1, 3 and 2, scores 1/2, 1/4 and 1/3; impostor 2, 1 and 1: 1/3, 1/2 and 1/2.
POOR = on_a_line({"a": [0, 1, 3], "b": [2]})


def measured(
    test: tuple[LabelledPictures, FloatArray],
    rules: Protocol,
    validation: tuple[LabelledPictures, FloatArray] = PERFECT,
    matching: Matching = EUCLIDEAN,
    mixed: bool = False,
) -> protocol.Measured:
    recipe = replace(TINY, protocol=rules, data=DataParams("stripes", mixed_conditions=mixed))
    return protocol.measure(recipe, matching, validation, test)


def test_figures_of_a_perfect_model() -> None:
    found = measured(PERFECT, Protocol())
    assert found.figures == {
        "pairs": 6.0,
        "accuracy": 1.0,
        "precision": 1.0,
        "recall": 1.0,
        "roc_auc": 1.0,
        "recall_at_precision_0.99": 1.0,
        # Genuine pairs are 0.1 apart, impostor pairs 0.9 or more.
        "loss": pytest.approx(
            np.where(found.pairs.same, 0.01, np.maximum(2 - 1 / found.scores, 0.0) ** 2).mean()
        ),
    }
    # In the middle between a distance of 0.1 and that of whatever impostors were drawn.
    assert 1 / (1 + 0.9) < found.threshold < 1 / (1 + 0.1)
    np.testing.assert_allclose(found.scores[found.pairs.same], 1 / 1.1, rtol=1e-5)
    assert found.by_condition == {}
    assert found.search is None


def test_figures_of_a_poor_model_by_hand() -> None:
    found = measured(POOR, Protocol("fixed", fixed_score=0.4))
    assert found.threshold == 0.4
    # One genuine and two impostor pairs reach 0.4. Of nine comparisons of both kinds 1/2 wins one
    # and ties two, 1/4 loses all, 1/3 ties one: 1 + 2/2 + 1/2.
    assert found.figures == pytest.approx(
        {
            "pairs": 6.0,
            "accuracy": 2 / 6,
            "precision": 1 / 3,
            "recall": 1 / 3,
            "roc_auc": 2.5 / 9,
            "recall_at_precision_0.99": 0.0,
            # 1, 9 and 4 of the genuine pairs; no impostor pair is nearer than the margin.
            "loss": 14 / 6,
        }
    )


def test_the_threshold_is_found_on_validation_pictures() -> None:
    # Distances of 3 are genuine there and those from 97 impostor: between their scores of 1/4 and
    # about 1/100 lies a threshold that all of the test's pairs reach, 5.1 apart at most.
    validation = on_a_line({"a": [0, 3], "b": [100, 103]})
    found = measured(PERFECT, Protocol(), validation)
    assert 1 / 98 < found.threshold < 1 / 6.1
    assert (found.figures["recall"], found.figures["precision"]) == (1.0, 0.5)
    assert (found.figures["accuracy"], found.figures["roc_auc"]) == (0.5, 1.0)


def test_test_pairs_are_all_genuine_ones_and_as_many_impostors() -> None:
    pictures, _ = on_a_line({"a": [0] * 4, "b": [0] * 3, "c": [0]})
    pairs = protocol.balanced_pairs(TINY, pictures, np.random.default_rng(1))
    assert (len(pairs), int(pairs.same.sum())) == (18, 9)  # 6 + 3 genuine, of 19 impostor ones 9
    met = [
        frozenset(pair) for pair in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    ]
    assert len(set(met)) == 18
    some = replace(TINY, protocol=Protocol(pairs=31))
    pairs = protocol.balanced_pairs(some, pictures, np.random.default_rng(1))
    assert (len(pairs), int(pairs.same.sum())) == (31, 15)


def test_too_many_pairs_are_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "EVERY_PAIR_UP_TO", 63)
    pictures, _ = on_a_line({"a": [0] * 4, "b": [0] * 4})
    pairs = protocol.balanced_pairs(TINY, pictures, np.random.default_rng(1))
    assert (len(pairs), int(pairs.same.sum())) == (8, 4)


def test_a_test_without_genuine_pairs_is_refused() -> None:
    with pytest.raises(InvalidInput):
        measured(on_a_line({"a": [0], "b": [1]}), Protocol("fixed"))


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_scores_of_pairs_are_those_of_matching(seed: int, grids: bool) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.standard_normal((7, 3, 3, 4) if grids else (7, 1, 1, 4)).astype(np.float32)
    matching: Matching = EUCLIDEAN
    if grids:
        matching = MatchingParams((0.0,), max_shift_cells=1, min_overlap_cells=3.0)
    else:
        weights = tuple(rng.normal(size=4))
        matching = VectorMatching("logistic_relu_difference", weights, (0.1,) * 4)
    first, second = rng.integers(0, 7, (2, 12))
    found = protocol.pair_scores(cells, Pairs(first, second, first == second), matching)
    ones = np.ones(cells.shape[1:3], np.float32)
    for score, one, other in zip(found, first, second, strict=True):
        probe = Probe(cells[one][None], ones[None])
        alone = compare(probe, Descriptor(cells[other], ones), matching)
        # Sums of float32 in another order: near 0 the rounding is coarse against the score.
        assert score == pytest.approx(alone, rel=1e-5, abs=1e-6)


def test_figures_of_each_condition() -> None:
    # Altered pictures against real ones at 0 and 10: easy ones are near their own, hard ones are
    # near the other, and of the odd condition there is a genuine or an impostor pair at most.
    test = on_a_line(
        {"a": [0, 1, 2, 9, 8], "b": [10, 9, 8, 1, 2]},
        ["real", "easy", "easy", "hard", "hard"] * 2,
    )
    found = measured(test, Protocol("fixed", fixed_score=1 / 4, by_condition=True), mixed=True)
    assert set(found.by_condition) == {"easy", "hard"}
    easy, hard = found.by_condition["easy"], found.by_condition["hard"]
    assert (easy["pairs"], hard["pairs"]) == (8.0, 8.0)
    assert (easy["accuracy"], easy["roc_auc"]) == (1.0, 1.0)
    assert (hard["accuracy"], hard["recall"], hard["roc_auc"]) == (0.0, 0.0, 0.0)
    assert (found.figures["accuracy"], found.figures["pairs"]) == (0.5, 16.0)


def test_a_condition_of_one_kind_of_pairs_has_no_figures() -> None:
    # The two odd pictures make genuine pairs only: no other class has a reference.
    test = on_a_line(
        {"a": [0, 1, 2], "b": [10, 9], "c": [5]}, ["real", "easy", "easy", "real", "easy", "odd"]
    )
    rules = Protocol("fixed", fixed_score=0.3, by_condition=True)
    found = measured(test, rules, mixed=True)
    assert set(found.by_condition) == {"easy"}


# Each picture of a and b lies far from all others, those of c lie in the middle: c is always best.
ALL_TO_C = np.zeros((9, 1, 1, 9), np.float32)
ALL_TO_C[:6, 0, 0] = 100 * np.eye(9)[:6]
ALL_TO_C[6:, 0, 0, 6] = [0.0, 0.1, 0.2]
THREE_OF_EACH = labelled(np.zeros((9, 2, 2), np.float32), list("aaabbbccc"))


def test_one_against_all_of_a_perfect_model() -> None:
    pictures, cells = PERFECT
    found = protocol.one_against_all(pictures, cells, EUCLIDEAN, np.random.default_rng(1))
    assert found.rank_one == 1.0
    labels = pictures.labels()
    assert labels[found.probes].tolist() == labels[found.references].tolist() == [0, 1, 2]
    assert not set(found.probes) & set(found.references)
    distances = np.abs(cells.ravel()[found.probes][:, None] - cells.ravel()[found.references])
    np.testing.assert_allclose(found.scores, 1 / (1 + distances), rtol=1e-5)
    assert measured(PERFECT, Protocol(one_against_all=True)).figures["rank_one"] == 1.0


def test_one_against_all_of_a_model_that_sees_one_class_everywhere() -> None:
    found = protocol.one_against_all(THREE_OF_EACH, ALL_TO_C, EUCLIDEAN, np.random.default_rng(1))
    # Of every turn's six probes the two of c are right.
    assert found.rank_one == pytest.approx(1 / 3)
    assert found.scores.argmax(axis=1).tolist() == [2, 2, 2]


def test_one_against_all_where_a_class_has_one_picture() -> None:
    pictures, cells = on_a_line({"a": [0, 0.1, 0.2], "b": [1], "c": [5, 5.1]})
    found = protocol.one_against_all(pictures, cells, EUCLIDEAN, np.random.default_rng(1))
    assert found.rank_one == 1.0
    assert pictures.labels()[found.references].tolist() == [0, 1, 2]
    # The one of b is the reference, and is not searched for among itself.
    assert pictures.labels()[found.probes].tolist() == [0, 2]
    assert found.scores.shape == (2, 3)


@pytest.mark.parametrize("shots", [1, 2, 5])
def test_nearest_templates(shots: int) -> None:
    rng = np.random.default_rng(1)
    pictures, cells = on_a_line({"a": [0, 0.1, 0.2], "b": [1, 1.1, 1.2], "c": [5, 5.1, 5.2]})
    right = protocol.nearest_template_accuracy(pictures, cells, EUCLIDEAN, shots, rng)
    assert right == 1.0
    # a and b are taken for c, c for itself.
    poor = protocol.nearest_template_accuracy(THREE_OF_EACH, ALL_TO_C, EUCLIDEAN, shots, rng)
    assert poor == pytest.approx(1 / 3)
    found = measured((pictures, cells), Protocol(shots=shots))
    assert found.figures[f"accuracy_of_{shots}_shots"] == 1.0


@pytest.mark.parametrize("seed", range(4))
def test_a_class_scores_the_mean_of_its_templates(seed: int) -> None:
    # The probe of a at 0: templates at 1 and 100, (1/2 + 1/101) / 2 = 0.255, less than b's 1/3.5.
    # At 1: templates at 0 and 100, (1/2 + 1/100) / 2 = 0.255, less than b's 1/2.5.
    # At 100: (1/101 + 1/100) / 2, less than b's 1/98.5. The probe of b is always right.
    pictures, cells = on_a_line({"a": [0, 1, 100], "b": [2.5, 2.5, 2.5]})
    rng = np.random.default_rng(seed)
    assert protocol.nearest_template_accuracy(pictures, cells, EUCLIDEAN, 2, rng) == 0.5
