"""Losses over embeddings: worked out by hand, by a loop, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keras import ops

from app.core.types import FloatArray
from app.learning import embedding_losses as losses
from app.learning.losses import grid_scores
from app.learning.siamese.heads import CellCover, ClassCosines, PairHead, SiameseLoss, pair_losses
from app.learning.siamese.recipe import PAIR_LOSSES, LossKind, LossParams
from app.networks.unit_cells import UnitCells

by_backend = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="gradients are the backend's"
)


def floats(values: Any) -> FloatArray:
    return np.asarray(values, np.float32)


def plain(tensor: Any) -> FloatArray:
    return np.asarray(ops.convert_to_numpy(tensor), np.float32)


def gradient(loss: Callable[[Any], Any], at: Any) -> FloatArray:
    import tensorflow as tf

    free = tf.Variable(np.asarray(at, np.float32))
    with tf.GradientTape() as tape:
        value = ops.sum(loss(free))
    assert np.isfinite(float(value))
    found: FloatArray = tape.gradient(value, free).numpy()
    return found


# --- worked out by hand --------------------------------------------------------------------------


def test_distances_by_hand() -> None:
    first, second = np.zeros((2, 2), np.float32), floats([[3, 4], [0, 0]])
    # Root of 9 + 16; of nothing the root of what is added, 1e-12, or of what is clamped to, 1e-7.
    found = plain(losses.pair_distances(first, second))
    np.testing.assert_allclose(found, [5.0, 1e-6], rtol=1e-5)
    found = plain(losses.pair_distances(first, second, clamped=True))
    np.testing.assert_allclose(found, [5.0, math.sqrt(1e-7)], rtol=1e-5)
    found = plain(losses.all_distances(floats([[0, 0], [3, 4], [3, 0]])))
    np.testing.assert_allclose(found, [[0, 5, 3], [5, 0, 4], [3, 4, 0]], atol=2e-6)


def test_contrastive_by_hand() -> None:
    distances, same = floats([0.5, 0.4, 1.5, 2.0]), floats([1, 0, 0, 1])
    # 0.5^2; (1 - 0.4)^2; an impostor beyond the margin costs nothing; 2^2.
    found = plain(losses.contrastive(distances, same, margin=1.0))
    np.testing.assert_allclose(found, [0.25, 0.36, 0.0, 4.0], rtol=1e-6)
    # Margin 2: (2 - 0.4)^2, (2 - 1.5)^2.
    found = plain(losses.contrastive(distances, same, margin=2.0))
    np.testing.assert_allclose(found, [0.25, 2.56, 0.25, 4.0], rtol=1e-6)


def test_batch_contrastive_by_hand() -> None:
    embeddings, labels = floats([[0.0], [0.3], [0.5]]), np.array([4, 4, 9])
    # Genuine: 0.3^2 = 0.09. Impostor, margin 1: (1 - 0.5)^2 = 0.25 and (1 - 0.2)^2 = 0.64, whose
    # mean is 0.445. Half of both means: (0.09 + 0.445) / 2.
    found = float(losses.batch_contrastive(embeddings, labels, margin=1.0))
    assert found == pytest.approx(0.2675, rel=1e-5)


def head_with(kind: LossKind, weights: list[float], bias: float, offsets: list[float]) -> PairHead:
    head = PairHead(LossParams(kind))
    head.build((None, 1, 1, 2))
    head.weights_of_channels.assign(floats(weights)[:, None])
    head.bias.assign([bias])
    if offsets:
        head.offsets.assign(offsets)
    return head


@pytest.mark.parametrize(
    ("kind", "weights", "bias", "offsets"),
    [
        # Distance of (0.4, -0.3) is 0.5; -2 * 0.5 + 1.5 = 0.5.
        ("binary_crossentropy_distance", [-2.0], 1.5, []),
        # -1 * 0.4 + 4 * 0.3 - 0.3 = 0.5.
        ("binary_crossentropy_absolute", [-1.0, 4.0], -0.3, []),
        # relu(0.4 + 0.1) = 0.5, relu(-0.3 + 0.2) = 0: 2 * 0.5 + 7 * 0 - 0.5 = 0.5.
        ("binary_crossentropy_difference", [2.0, 7.0], -0.5, [0.1, 0.2]),
    ],
)
def test_binary_crossentropy_by_hand(
    kind: LossKind, weights: list[float], bias: float, offsets: list[float]
) -> None:
    first, second = [0.6, 0.1], [0.2, 0.4]  # their difference is (0.4, -0.3)
    head = head_with(kind, weights, bias, offsets)
    embeddings = floats([first, first, second, second]).reshape(4, 1, 1, 2)
    logits = head(embeddings)
    np.testing.assert_allclose(plain(logits), [0.5, 0.5], rtol=1e-5)
    # -log sigmoid(0.5) = log(1 + e^-0.5) for a genuine pair, log(1 + e^0.5) for an impostor one.
    found = plain(pair_losses(head.loss, logits, floats([1, 0])))
    wanted = [math.log1p(math.exp(-0.5)), math.log1p(math.exp(0.5))]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_triplets_by_hand() -> None:
    embeddings, labels = floats([[0.0], [1.0], [1.2], [3.0]]), np.array([7, 7, 2, 2])
    # Squared distances, margin 1. Anchor 0: positive 1; further negatives 1.44 and 9, nearest 1.44:
    # 1 - 1.44 + 1 = 0.56. Anchor 1: positive 1; negatives 0.04 and 4, only 4 is further: below 0.
    # Anchor 1.2: positive 3.24; negatives 1.44 and 0.04, none is further, furthest 1.44:
    # 3.24 - 1.44 + 1 = 2.8. Anchor 3: positive 3.24; nearest further 4: 3.24 - 4 + 1 = 0.24.
    found = float(losses.triplet_semi_hard(embeddings, labels, margin=1.0))
    assert found == pytest.approx((0.56 + 0.0 + 2.8 + 0.24) / 4, rel=1e-5)


def test_triplets_need_a_genuine_pair() -> None:
    embeddings = floats([[0.0], [1.0], [2.0]])
    assert float(losses.triplet_semi_hard(embeddings, np.arange(3), margin=1.0)) == 0.0


def test_supervised_contrast_by_hand() -> None:
    scores = floats([[9, 0.5, 0.1, 0.2], [0, 9, 0, 0], [0, 0, 9, 0], [0.3, 0.1, 0.7, 9]])
    found = plain(losses.supervised_contrast(scores, np.array([1, 1, 1, 8]), scale=10.0))
    # First: 5, 1 and an impostor's 2, itself left out: log(e^5 + e^1 + e^2) - (5 + 1) / 2.
    assert found[0] == pytest.approx(math.log(math.e**5 + math.e + math.e**2) - 3, rel=1e-5)
    # Second and third: all three scores are 0: log 3. The fourth is alone with its label.
    np.testing.assert_allclose(found[1:], [math.log(3), math.log(3), 0.0], rtol=1e-5)
    # A margin of 0.1 makes the genuine ones 4 and 0: log(e^4 + e^0 + e^2) - (4 + 0) / 2.
    found = plain(losses.supervised_contrast(scores, np.array([1, 1, 1, 8]), 10.0, margin=0.1))
    assert found[0] == pytest.approx(math.log(math.e**4 + 1 + math.e**2) - 2, rel=1e-5)


def test_additive_margin_softmax_by_hand() -> None:
    cosines = floats([[0.9, 0.1, -0.2], [0.9, 0.1, -0.2]])
    found = plain(losses.additive_margin_softmax(cosines, floats([0, 1]), 10.0, 0.4))
    # Own class 0: 10 (0.9 - 0.4) = 5 against 1 and -2: log(1 + e^-4 + e^-7).
    assert found[0] == pytest.approx(math.log1p(math.exp(-4) + math.exp(-7)), rel=1e-4)
    # Own class 1: 10 (0.1 - 0.4) = -3 against 9 and -2: log(1 + e^12 + e^1).
    assert found[1] == pytest.approx(math.log(1 + math.exp(12) + math.e), rel=1e-5)


# --- by a loop -----------------------------------------------------------------------------------

# Whole coordinates: squared distances are exact, so that a tie is one in the loop as well.
POINTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=9
)
MARGINS = st.sampled_from([0.2, 1.0, 5.0])
Drawn = list[tuple[int, int, int]]


def labelled(drawn: Drawn) -> tuple[FloatArray, Any]:
    points = np.asarray(drawn)
    return points[:, 1:].astype(np.float32), points[:, 0]


def triplets_by_loop(drawn: Drawn, margin: float) -> float:
    found = []
    for a, (own, *anchor) in enumerate(drawn):
        negatives = [math.dist(anchor, at) ** 2 for label, *at in drawn if label != own]
        for p, (label, *positive) in enumerate(drawn):
            if p == a or label != own:
                continue
            apart = math.dist(anchor, positive) ** 2
            further = [n for n in negatives if n > apart + 0.5]
            found.append(max(apart - (min(further) if further else max(negatives)) + margin, 0.0))
    return float(np.mean(found)) if found else 0.0


@settings(max_examples=60)
@given(POINTS.filter(lambda drawn: len({label for label, *_ in drawn}) > 1), MARGINS)
def test_triplets_by_loop(drawn: Drawn, margin: float) -> None:
    found = float(losses.triplet_semi_hard(*labelled(drawn), margin))
    assert found == pytest.approx(triplets_by_loop(drawn, margin), rel=1e-4, abs=1e-4)


@settings(max_examples=60)
@given(POINTS, MARGINS)
def test_batch_contrastive_by_loop(drawn: Drawn, margin: float) -> None:
    near, apart = [], []
    for number, (label, *at) in enumerate(drawn):
        for other, *place in drawn[:number]:
            distance = math.dist(at, place)
            if label == other:
                near.append(distance**2)
            else:
                apart.append(max(margin - distance, 0.0) ** 2)
    wanted = sum(0.5 * float(np.mean(kind)) for kind in (near, apart) if kind)
    found = float(losses.batch_contrastive(*labelled(drawn), margin))
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-4)


@settings(max_examples=40)
@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.floats(1.0, 30.0), st.floats(0.0, 0.5))
def test_two_of_each_label_make_it_infonce(
    classes: int, seed: int, scale: float, margin: float
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(classes), 2))
    scores = rng.uniform(-1, 1, (2 * classes, 2 * classes)).astype(np.float32)
    found = plain(losses.supervised_contrast(scores, labels, scale, margin))
    for row, label in enumerate(labels):
        others = [k for k in range(len(labels)) if k != row]
        (positive,) = (k for k in others if labels[k] == label)
        own = math.exp(scale * (float(scores[row, positive]) - margin))
        rest = sum(math.exp(scale * float(scores[row, k])) for k in others if k != positive)
        assert found[row] == pytest.approx(-math.log(own / (own + rest)), rel=1e-3, abs=1e-4)


@given(st.floats(-60.0, 60.0), st.booleans())
def test_binary_crossentropy_is_that_of_the_sigmoid(logit: float, same: bool) -> None:
    sure = logit if same else -logit
    wanted = math.log1p(math.exp(-sure))
    found = plain(losses.binary_crossentropy(floats([logit]), floats([same])))
    assert found[0] == pytest.approx(wanted, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("sure", [500.0, 1e4])
def test_a_wrong_answer_costs_its_log_odds_however_sure(sure: float) -> None:
    found = plain(losses.binary_crossentropy(floats([sure, -sure]), floats([0, 1])))
    np.testing.assert_allclose(found, [sure, sure])


# --- gradients -----------------------------------------------------------------------------------

LABELS = np.array([0, 0, 1, 1])
WHOLE: dict[str, Callable[[Any], Any]] = {
    "batch_contrastive": lambda x: losses.batch_contrastive(x, LABELS, 1.0),
    "triplet": lambda x: losses.triplet_semi_hard(x, LABELS, 0.2),
    "supervised_contrastive": lambda x: losses.supervised_contrast(
        grid_scores(UnitCells()(x[:, None, None]), np.ones((4, 1, 1), np.float32), 1.0),
        LABELS,
        16.0,
        0.1,
    ),
    "additive_margin_softmax": lambda x: losses.additive_margin_softmax(
        ClassCosines(2)(UnitCells()(x[:, None, None])), LABELS, 16.0, 0.1
    ),
}


@by_backend
@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("which", ["all", "genuine", "impostor", "nothing"])
def test_gradients_of_a_batch_are_finite_where_embeddings_are_equal(name: str, which: str) -> None:
    at = np.random.default_rng(5).standard_normal((4, 3)).astype(np.float32)
    if which == "nothing":
        at[:] = 0.0
    else:
        at[{"all": [1, 2, 3], "genuine": [1], "impostor": [2]}[which]] = at[0]
    assert np.isfinite(gradient(WHOLE[name], at)).all()


@by_backend
@pytest.mark.parametrize("kind", sorted(PAIR_LOSSES))
@pytest.mark.parametrize("clamped", [False, True])
@pytest.mark.parametrize("level", [0.0, 0.7])
def test_gradients_of_pairs_are_finite_where_embeddings_are_equal(
    kind: LossKind, clamped: bool, level: float
) -> None:
    params = LossParams(kind, clamped=clamped)
    head, loss = PairHead(params), SiameseLoss(params)
    at = np.full((4, 1, 1, 3), level, np.float32)
    head.build(at.shape)
    same = floats([1, 0, 1, 0])
    assert np.isfinite(gradient(lambda x: loss(same, head(x)), at)).all()


@by_backend
@given(st.floats(-1.5e-4, 1.5e-4), st.floats(-1.5e-4, 1.5e-4))
def test_a_clamped_distance_teaches_nothing_below_epsilon(right: float, down: float) -> None:
    other = floats([[1.0, 2.0]])
    at = other + floats([right, down])
    found = gradient(lambda x: losses.pair_distances(x, other, clamped=True), at)
    np.testing.assert_array_equal(found, 0.0)


@by_backend
@pytest.mark.parametrize("apart", [1e-5, 1e-4, 3e-4])
@pytest.mark.parametrize("same", [0.0, 1.0])
def test_a_distance_that_is_not_clamped_teaches_however_small(apart: float, same: float) -> None:
    at, other = floats([[apart, 0.0]]), np.zeros((1, 2), np.float32)
    # An impostor pair is pushed apart by 2 (1 - d), a genuine one drawn together by 2 d.
    wanted = 2 * apart if same else -2 * (1 - apart)
    for clamped, factor in ((False, 1.0), (True, 0.0)):
        found = gradient(
            lambda x, clamped=clamped: losses.contrastive(  # type: ignore[misc]
                losses.pair_distances(x, other, clamped), same, 1.0
            ),
            at,
        )
        np.testing.assert_allclose(found, [[factor * wanted, 0.0]], rtol=1e-2)


@by_backend
def test_above_epsilon_both_distances_teach_the_same() -> None:
    at = np.random.default_rng(1).standard_normal((3, 4))
    other = np.zeros((3, 4), np.float32)
    free, clamped = (
        gradient(lambda x, c=c: losses.pair_distances(x, other, c), at)  # type: ignore[misc]
        for c in (False, True)
    )
    np.testing.assert_allclose(free, clamped, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(free, axis=1), 1.0, rtol=1e-5)


@by_backend
@given(st.floats(-40.0, 40.0), st.booleans())
@example(0.0, True)
@example(0.0, False)
def test_binary_crossentropy_teaches_what_is_missing_to_the_truth(logit: float, same: bool) -> None:
    found = gradient(lambda x: losses.binary_crossentropy(x, floats([same])), [logit])
    sigmoid = 1 / (1 + math.exp(-logit))
    assert found[0] == pytest.approx(sigmoid - same, rel=1e-3, abs=1e-6)


# --- the recipe's loss ---------------------------------------------------------------------------


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize(
    "kind", ["batch_contrastive", "triplet", "supervised_contrastive", "additive_margin_softmax"]
)
def test_a_recipe_of_classes_gets_the_loss_that_it_names(kind: LossKind, column: bool) -> None:
    x = np.random.default_rng(2).standard_normal((4, 1, 1, 3)).astype(np.float32)
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    params = LossParams(kind, margin=0.3, scale=5.0)
    flat, cosines = x[:, 0, 0], x[:, 0, 0] @ x[:, 0, 0].T
    wanted = {
        "batch_contrastive": lambda: losses.batch_contrastive(flat, LABELS, 0.3),
        "triplet": lambda: losses.triplet_semi_hard(flat, LABELS, 0.3),
        "supervised_contrastive": lambda: losses.supervised_contrast(cosines, LABELS, 5.0, 0.3),
        "additive_margin_softmax": lambda: losses.additive_margin_softmax(flat, LABELS, 5.0, 0.3),
    }[kind]()
    given_labels = LABELS.astype(np.float32).reshape((4, 1) if column else (4,))
    seen = CellCover(0.0, seed=1)(x) if kind == "supervised_contrastive" else x
    found = SiameseLoss(params)(given_labels, flat if kind == "additive_margin_softmax" else seen)
    assert float(found) == pytest.approx(float(plain(wanted).mean()), rel=1e-5)


GRID_LABELS = np.repeat(np.arange(3), 4)


def unit_grids(seed: int) -> FloatArray:
    cells = np.random.default_rng(seed).standard_normal((12, 8, 8, 4)).astype(np.float32)
    return floats(cells / np.linalg.norm(cells, axis=-1, keepdims=True))


def dropping(share: float, shift_cells: int = 1) -> Callable[[Any, Any], Any]:
    """The loss as a fit has it, cells left out before it."""
    params = LossParams(
        "supervised_contrastive",
        margin=0.1,
        scale=8.0,
        shift_cells=shift_cells,
        dropped_cells=share,
    )
    loss, cover = SiameseLoss(params), CellCover(share, seed=1)
    return lambda labels, cells: loss(labels, cover(cells, training=True))


def test_where_no_cells_are_dropped_all_are_compared() -> None:
    cells = unit_grids(1)
    scores = grid_scores(cells, np.ones(cells.shape[:3], np.float32), 1.0, 1)
    wanted = float(plain(losses.supervised_contrast(scores, GRID_LABELS, 8.0, 0.1).numpy().mean()))
    loss = dropping(0.0)
    assert float(loss(GRID_LABELS, cells)) == wanted
    assert float(loss(GRID_LABELS, cells)) == wanted  # nothing is drawn


@pytest.mark.parametrize("shift_cells", [0, 1])
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_dropped_cells_do_not_count_in_the_mean(share: float, shift_cells: int) -> None:
    # A picture's cells are all the same, so that any of them say what all of them say.
    alike = floats(np.broadcast_to(unit_grids(2)[:, :1, :1], (12, 8, 8, 4)))
    wanted = float(dropping(0.0, shift_cells)(GRID_LABELS, alike))
    found = float(dropping(share, shift_cells)(GRID_LABELS, alike))
    assert found == pytest.approx(wanted, rel=1e-5)


def test_cells_are_dropped_anew_every_time_and_follow_from_nothing_else() -> None:
    cells = unit_grids(3)
    whole = float(dropping(0.0)(GRID_LABELS, cells))
    one, other = dropping(0.3), dropping(0.3)
    found = [float(one(GRID_LABELS, cells)) for _ in range(4)]
    assert [float(other(GRID_LABELS, cells)) for _ in range(4)] == found
    assert len({*found, whole}) == 5


@by_backend
@pytest.mark.parametrize("share", [0.3, 0.99, 1.0])
def test_gradients_are_finite_however_many_cells_are_dropped(share: float) -> None:
    loss = dropping(share)
    found = gradient(lambda x: loss(GRID_LABELS, x), unit_grids(4))
    assert np.isfinite(found).all()
    # A cell that is dropped passes no gradient to its picture.
    still = float((np.abs(found).max(axis=-1) == 0.0).mean())
    assert still == pytest.approx(share, abs=0.15)


def test_a_recipe_of_pairs_reads_the_labels_of_the_first_pictures() -> None:
    distances, labels = floats([0.5, 0.4]), floats([1, 0, 1, 0])
    found = SiameseLoss(LossParams("contrastive", margin=1.0))(labels, distances)
    assert float(found) == pytest.approx((0.25 + 0.36) / 2, rel=1e-5)
