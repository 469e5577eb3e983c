from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from app.core.errors import InvalidInput
from app.evaluation.curves import (
    confusion_png,
    loss_curves_png,
    precision_recall_png,
    roc_png,
    score_table_png,
)
from app.evaluation.plots import COLOURS
from app.evaluation.rates import Scores


def scores(shift: float, seed: int = 0) -> Scores:
    generator = np.random.default_rng(seed)
    genuine, impostor = generator.normal(shift, 1, 80), generator.normal(0, 1, 200)
    return Scores(genuine.astype(np.float32), impostor.astype(np.float32))


def drawn(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def pixels_of(png: bytes, colour: str) -> int:
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return int((np.abs(drawn(png).astype(int) - wanted).max(-1) < 8).sum())


@pytest.mark.parametrize("draw", [precision_recall_png, roc_png])
def test_every_named_set_has_a_curve_of_its_colour(draw) -> None:  # type: ignore[no-untyped-def]
    one, two = draw({"first": scores(2)}), draw({"first": scores(2), "second": scores(0.5)})
    assert pixels_of(one, COLOURS[0]) > 300
    assert pixels_of(one, COLOURS[1]) == 0
    assert pixels_of(two, COLOURS[1]) > 300
    assert draw({"first": scores(2)}) == one
    assert draw({"first": scores(3)}) != one


@pytest.mark.parametrize("draw", [precision_recall_png, roc_png])
def test_more_sets_than_colours_and_failures_to_enrol_are_drawn(draw) -> None:  # type: ignore[no-untyped-def]
    failed = Scores(np.array([-np.inf, 0.5], np.float32), np.array([-np.inf, 0.1, 0.2], np.float32))
    many = {f"model {k}": scores(k / 4, k) for k in range(len(COLOURS))} | {"failing": failed}
    without = {name: one for name, one in many.items() if name != "failing"}
    assert pixels_of(draw(many), COLOURS[0]) > pixels_of(draw(without), COLOURS[0])


@pytest.mark.parametrize("draw", [precision_recall_png, roc_png])
def test_one_kind_of_pair_makes_no_curve(draw) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInput):
        draw({"genuine only": Scores(np.ones(3, np.float32), np.zeros(0, np.float32))})


def test_shares_of_decisions_are_shaded() -> None:
    right, wrong = (confusion_png(np.array(c)) for c in ([[9, 0], [0, 9]], [[0, 9], [9, 0]]))
    height, width = drawn(right).shape[:2]
    upper_left = (slice(height // 5, height // 4), slice(width // 5, width // 4))
    assert drawn(right)[upper_left].mean() < 100
    assert drawn(wrong)[upper_left].mean() > 200


def test_no_pairs_of_a_kind_are_no_division_by_nought() -> None:
    assert drawn(confusion_png(np.array([[0, 0], [1, 2]]))).size


def test_a_confusion_has_four_fields() -> None:
    with pytest.raises(ValueError, match=r"\[2, 2\]"):
        confusion_png(np.zeros((3, 3), np.int64))


def test_losses_are_drawn_where_they_are_finite() -> None:
    loss = {"training": {1: 1.0, 2: 0.5, 3: 0.2}}
    whole = loss_curves_png(loss | {"validation": {3: 0.4, 1: 1.1, 2: 0.7}})
    gap = loss_curves_png(loss | {"validation": {3: float("nan"), 1: 1.1, 2: float("inf")}})
    assert pixels_of(whole, COLOURS[1]) > pixels_of(gap, COLOURS[1]) > 0
    # Epochs are drawn in their order, however they come.
    assert whole == loss_curves_png(loss | {"validation": {1: 1.1, 2: 0.7, 3: 0.4}})


def test_no_losses_make_an_empty_chart() -> None:
    assert pixels_of(loss_curves_png({}), COLOURS[0]) == 0


def test_scores_are_shaded_by_their_height() -> None:
    diagonal = score_table_png(np.eye(4, dtype=np.float32))
    assert diagonal != score_table_png(1 - np.eye(4, dtype=np.float32))
    assert drawn(diagonal).size


@pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 2, 2)])
def test_scores_that_are_no_table_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="not a table"):
        score_table_png(np.zeros(shape, np.float32))
