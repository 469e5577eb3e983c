"""Losses over embeddings: worked out by hand and by a loop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.types import FloatArray
from app.learning import embedding_losses as losses
from app.learning.siamese.heads import PairHead, pair_losses
from app.learning.siamese.recipe import LossKind, LossParams
from tests.fakes.tensors import floats, plain

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
