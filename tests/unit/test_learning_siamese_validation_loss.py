"""The validation loss of a Siamese fit, by hand and against the finished scores."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from app.core.types import FloatArray
from app.learning.siamese import protocol
from app.learning.siamese.fit import FitLimits, FittedSiamese, fit_siamese
from app.learning.siamese.network import embed_pixels
from app.learning.siamese.pairing import Pairs, PairSampler
from app.learning.siamese.recipe import FitSchedule, LossKind, LossParams, PairingParams
from app.learning.siamese.validation import VALIDATION_PAIRS
from tests.fakes.siamese import CLASSES, TINY, bars, fitted, ignore

pytestmark = pytest.mark.usefixtures("uncompiled")


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
