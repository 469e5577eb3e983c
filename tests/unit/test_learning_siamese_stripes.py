"""The stripes that everybody tries: the drawn scans, and the fit that stands still on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.core.params import PictureParams
from app.learning.siamese.data import recipe_pictures
from app.learning.siamese.fit import FitLimits, fit_siamese
from app.learning.siamese.originals import STRIPES_ORIGINAL
from app.learning.siamese.recipe import SiameseRecipe
from app.learning.siamese.stripes import SIDE_PX, stripe_scan, stripe_scans
from tests.fakes.siamese import ignore


def stripes_fit(recipe: SiameseRecipe, epochs: int) -> list[set[str]]:
    """Names of the symptoms of each epoch."""
    train, validation, _ = recipe_pictures(recipe, Path("nowhere"))
    found = fit_siamese(recipe, train, validation, ignore, limits=FitLimits(epochs=epochs))
    return [{symptom.name for symptom in epoch.symptoms} for epoch in found.epochs]


def test_the_stripes_as_commonly_tried_say_what_is_wrong_from_the_first_epoch() -> None:
    wrong = {"pairs_out_of_balance", "picture_with_itself"}
    first, *later = stripes_fit(STRIPES_ORIGINAL, 3)
    assert wrong <= first
    for seen in later:
        assert wrong | {"no_better_than_a_constant"} <= seen


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
