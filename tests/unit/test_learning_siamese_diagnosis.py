"""Why a fit stands still: each symptom where it is built in, and nowhere else."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.types import FloatArray
from app.learning.embedding_losses import EPSILON
from app.learning.siamese.diagnosis import FirstShown, Symptom, diagnose
from app.learning.siamese.pairing import Pairs
from app.learning.siamese.recipe import LossKind, LossParams

PICTURES, CHANNELS = 40, 40
CONTRASTIVE = LossParams("contrastive", margin=1.0)
CLAMPED = LossParams("contrastive", margin=1.0, clamped=True)


def healthy_cells(seed: int = 0) -> FloatArray:
    drawn = np.random.default_rng(seed).uniform(0.1, 1.0, (PICTURES, 1, 1, CHANNELS))
    return drawn.astype(np.float32)


def pairs_of(genuine: int = 50, of: int = 100, itself: int = 0) -> Pairs:
    """Pairs of neighbours, of which so many are genuine and so many show one picture twice."""
    first = np.arange(of) % PICTURES
    second = (first + (np.arange(of) >= itself)) % PICTURES
    return Pairs(first, second, np.arange(of) < genuine)


def symptoms(
    cells: FloatArray | None = None,
    *,
    loss: LossParams = CONTRASTIVE,
    mean_loss: float = 0.1,
    pairs: Pairs | None = None,
    relu_output: bool = True,
) -> list[Symptom]:
    """Of a fit that is healthy but for what is said."""
    seen = healthy_cells() if cells is None else cells
    every = pairs_of() if pairs is None else pairs
    return diagnose(seen, pairs_of(), loss, mean_loss, pairs=every, relu_output=relu_output)


def names(found: list[Symptom]) -> list[str]:
    return [symptom.name for symptom in found]


@given(st.integers(0, 2**32 - 1), st.sampled_from([CONTRASTIVE, CLAMPED]), st.booleans())
def test_a_healthy_fit_has_no_symptom(seed: int, loss: LossParams, relu_output: bool) -> None:
    assert symptoms(healthy_cells(seed), loss=loss, relu_output=relu_output) == []


@pytest.mark.parametrize(("dead", "found"), [(37, False), (38, True), (39, True)])
def test_dead_outputs(dead: int, found: bool) -> None:
    cells = healthy_cells()
    cells[..., :dead] = 0.0  # the others still part the pictures
    assert names(symptoms(cells)) == ["dead_relu_output"] * found
    assert symptoms(cells, relu_output=False) == []
    if found:
        assert f"{dead / CHANNELS:.0%} of the" in symptoms(cells)[0].detail


def test_a_channel_that_lives_for_one_picture_is_not_dead() -> None:
    cells = healthy_cells()
    cells[1:, ..., :38] = 0.0
    assert symptoms(cells) == []


def test_all_dead_outputs_are_a_collapse_as_well() -> None:
    found = names(symptoms(np.zeros((PICTURES, 1, 1, CHANNELS), np.float32)))
    assert found == ["dead_relu_output", "embedding_collapse"]


@pytest.mark.parametrize(("share", "found"), [(0.0, True), (0.008, True), (0.013, False)])
@pytest.mark.parametrize("length", [0.01, 1.0, 100.0])
def test_collapse(share: float, found: bool, length: float) -> None:
    # All have the length and lie ``share`` of it apart: two directions, by turns.
    cells = np.zeros((PICTURES, 1, 1, CHANNELS), np.float32)
    cells[..., 0] = length
    cells[::2, ..., 1] = share * length
    # Embeddings that are tiny altogether are no farther apart than the clamp either.
    tiny = share * length <= 2 * EPSILON**0.5
    assert names(symptoms(cells, relu_output=False)) == ["embedding_collapse"] * (found or tiny)


def test_one_pair_that_lies_apart_is_no_collapse() -> None:
    cells = np.ones((PICTURES, 1, 1, CHANNELS), np.float32)
    cells[7] = 2.0
    assert symptoms(cells) == []


@pytest.mark.parametrize(("near", "found"), [(49, False), (50, True), (90, True)])
def test_clamped_distances(near: int, found: bool) -> None:
    # Only distances within a pair matter: the first ``near`` pairs are of pictures that are alike.
    shown = Pairs(np.arange(0, 200, 2), np.arange(1, 200, 2), np.arange(100) % 2 == 0)
    cells = np.random.default_rng(1).uniform(0.1, 1.0, (200, CHANNELS)).astype(np.float32)
    cells[1 : 2 * near : 2] = cells[0 : 2 * near : 2]
    cells[1 : 2 * near : 2, 0] += 0.9 * EPSILON**0.5
    for loss, said in ((CLAMPED, found), (CONTRASTIVE, False)):
        seen = diagnose(cells, shown, loss, 0.1, pairs=shown, relu_output=False)
        assert names(seen) == ["clamped_distance"] * said
    cells[1 : 2 * near : 2, 0] += 0.2 * EPSILON**0.5  # now above the clamp
    assert diagnose(cells, shown, CLAMPED, 0.1, pairs=shown, relu_output=False) == []


@pytest.mark.parametrize(
    ("genuine", "found"), [(39, True), (40, False), (50, False), (60, False), (61, True)]
)
def test_pairs_out_of_balance(genuine: int, found: bool) -> None:
    seen = symptoms(pairs=pairs_of(genuine))
    assert names(seen) == ["pairs_out_of_balance"] * found
    if found:
        assert seen[0].detail.startswith(f"{genuine}% of the pairs are genuine")


@pytest.mark.parametrize(("itself", "found"), [(0, False), (1, False), (2, True), (30, True)])
def test_a_picture_with_itself(itself: int, found: bool) -> None:
    assert names(symptoms(pairs=pairs_of(itself=itself))) == ["picture_with_itself"] * found


@pytest.mark.parametrize(
    ("kind", "margin", "genuine", "constant"),
    [
        # One distance d for all costs g d^2 + (1 - g) (m - d)^2, least at d = m (1 - g).
        ("contrastive", 1.0, 50, 0.25),
        ("contrastive", 2.0, 50, 1.0),
        ("contrastive", 1.0, 40, 0.24),
        # One probability for all: the entropy of g.
        ("binary_crossentropy_distance", 1.0, 50, math.log(2)),
        ("binary_crossentropy_absolute", 1.0, 50, math.log(2)),
        ("binary_crossentropy_difference", 1.0, 60, 0.673012),
    ],
)
def test_no_better_than_a_constant(
    kind: LossKind, margin: float, genuine: int, constant: float
) -> None:
    loss = LossParams(kind, margin=margin)
    for mean_loss, found in ((2.0, True), (0.99, True), (0.97, False), (0.1, False)):
        seen = symptoms(loss=loss, mean_loss=mean_loss * constant, pairs=pairs_of(genuine))
        assert names(seen) == ["no_better_than_a_constant"] * found
        if found:
            assert seen[0].detail.endswith(f"costs {constant:.3f}")


def test_an_epoch_that_warms_up_may_be_no_better_than_a_constant() -> None:
    cells, pairs = np.zeros((PICTURES, 1, 1, CHANNELS), np.float32), pairs_of(30, itself=5)
    wrong = ["embedding_collapse", "pairs_out_of_balance", "picture_with_itself"]
    for warming_up, more in ((True, []), (False, ["no_better_than_a_constant"])):
        seen = diagnose(
            cells,
            pairs_of(),
            CONTRASTIVE,
            1.0,
            pairs=pairs,
            relu_output=False,
            warming_up=warming_up,
        )
        assert names(seen) == wrong + more


@pytest.mark.parametrize("kind", ["triplet", "supervised_contrastive", "additive_margin_softmax"])
def test_other_losses_know_no_constant(kind: LossKind) -> None:
    assert symptoms(loss=LossParams(kind), mean_loss=100.0) == []


@pytest.mark.parametrize("genuine", [0, 100])
def test_pairs_of_one_kind_are_out_of_balance_and_nothing_else(genuine: int) -> None:
    found = symptoms(mean_loss=100.0, pairs=pairs_of(genuine))
    assert names(found) == ["pairs_out_of_balance"]


def test_grids_of_cells_are_looked_at_whole() -> None:
    cells = healthy_cells().reshape(PICTURES, 2, 2, 10)
    cells[:, 0] = 0.0  # half of every picture's cells: no channel of the embedding alone
    assert symptoms(cells) == []
    cells[:, 1, 0] = 0.0
    cells[:, 1, 1, 2:] = 0.0
    assert names(symptoms(cells)) == ["dead_relu_output"]


def test_a_symptom_is_new_once_and_its_first_epoch_is_remembered() -> None:
    dead, still = Symptom("dead", "all of it"), Symptom("still", "stands")
    first = FirstShown()
    assert first.found() == ()
    assert first.note(1, []) == []
    assert first.note(2, [still]) == [still]
    assert first.note(3, [dead, Symptom("still", "stands yet")]) == [dead]
    assert first.note(4, [dead, still]) == []
    assert first.found() == ((2, still), (3, dead))
    assert first.facts() == [
        {"epoch": 2, "name": "still", "detail": "stands"},
        {"epoch": 3, "name": "dead", "detail": "all of it"},
    ]
