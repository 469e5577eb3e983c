"""A Siamese fit that was stopped goes on from its last epoch as if it had never stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.core.errors import Cancelled
from app.learning.fit import FitProgress
from app.learning.siamese.checkpoint import FILE
from app.learning.siamese.fit import FitLimits, FittedSiamese, SiameseEpoch, fit_siamese
from app.learning.siamese.recipe import Augmentation, FitSchedule, PairingParams, SiameseRecipe
from tests.fakes.siamese import CLASSES, STILL, TINY, bars, fitted, ignore

EPOCHS = 4
RANDOM = replace(
    TINY,
    # A head with weights of its own, draws in every step and in every epoch, momenta, a schedule.
    loss=replace(TINY.loss, kind="binary_crossentropy_absolute"),
    matching=None,
    augmentation=Augmentation(noise=0.1, gain=0.1),
    pairing=PairingParams("balanced", pairs=64, hard_share=0.5),
    schedule=FitSchedule(EPOCHS, 16, "adamw", 3e-3, "cosine", 1e-4),
)
FIXED = replace(RANDOM, pairing=PairingParams("balanced", pairs=64, fixed=True))
OF_CLASSES = replace(
    RANDOM, loss=replace(TINY.loss, kind="triplet"), pairing=CLASSES, matching=TINY.matching
)


def killed(recipe: SiameseRecipe, folder: Path, epoch: int) -> None:
    """A fit that is stopped after the last step of an epoch, before that is kept."""

    def stop(at: FitProgress) -> None:
        if at.step == at.steps // EPOCHS * epoch:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        fit_siamese(recipe, bars(16, 1), bars(8, 2), stop, backup=folder)


def losses(found: FittedSiamese) -> list[float]:
    return [epoch.loss for epoch in found.epochs]


@pytest.mark.parametrize("recipe", [RANDOM, FIXED, OF_CLASSES], ids=["drawn", "fixed", "classes"])
def test_a_fit_that_goes_on_learns_what_an_undisturbed_one_does(
    recipe: SiameseRecipe, tmp_path: Path
) -> None:
    undisturbed = fitted(recipe)
    killed(recipe, tmp_path, 2)
    killed(recipe, tmp_path, 3)
    seen: list[FitProgress] = []
    told: list[SiameseEpoch] = []
    found = fit_siamese(
        recipe, bars(16, 1), bars(8, 2), seen.append, backup=tmp_path, told=told.append
    )
    assert losses(found) == losses(undisturbed)
    assert tuple(told) == found.epochs
    assert [epoch.number for epoch in found.epochs] == [1, 2, 3, 4]
    assert [epoch.symptoms for epoch in found.epochs] == [e.symptoms for e in undisturbed.epochs]
    assert {progress.epoch for progress in seen} == {3, 4}
    assert seen[-1].step == seen[-1].steps == found.epochs[-1].step
    pairs = zip(found.encoder.get_weights(), undisturbed.encoder.get_weights(), strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)


def test_a_fit_that_had_ended_is_not_run_again(tmp_path: Path) -> None:
    recipe = replace(STILL, schedule=replace(STILL.schedule, patience=2))
    ended = fitted(recipe, backup=tmp_path)
    assert ended.stopped
    seen: list[FitProgress] = []
    again = fit_siamese(recipe, bars(16, 1), bars(8, 2), seen.append, backup=tmp_path)
    assert (again.stopped, again.epochs, again.train_s) == (
        ended.stopped,
        ended.epochs,
        ended.train_s,
    )
    assert seen == []


@pytest.mark.parametrize("damage", ["torn", "of another recipe", "of other pictures"])
def test_a_state_that_cannot_be_used_is_passed_over(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    once = FitLimits(epochs=1)
    fitted(TINY, backup=tmp_path, limits=once)
    file = tmp_path / FILE
    recipe, train = TINY, bars(16, 1)
    if damage == "torn":
        file.write_bytes(file.read_bytes()[:100])
    elif damage == "of another recipe":
        recipe = replace(TINY, schedule=replace(TINY.schedule, learning_rate=1e-3))
    else:
        train = bars(15, 1)
    found = fit_siamese(recipe, train, bars(8, 2), ignore, backup=tmp_path, limits=once)
    assert len(found.epochs) == 1
    fresh = fit_siamese(recipe, train, bars(8, 2), ignore, limits=once)
    assert losses(found) == losses(fresh)
    assert "anew" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE]


def test_a_fit_without_a_folder_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fitted(TINY, limits=FitLimits(epochs=1))
    assert list(tmp_path.iterdir()) == []
