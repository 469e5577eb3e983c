"""What surrounds the fit: recipes, progress, labelled folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.core.errors import Cancelled, InvalidInput
from app.core.params import PreparationParams
from app.core.types import PreparedSample
from app.learning.fit import FitProgress
from app.learning.folders import LabelledSamples, read_folder, split_subjects
from app.learning.prints import grow_fingers, impression_rng
from app.learning.progress import Phases
from app.learning.recipe_book import find_print_recipe, find_recipe
from app.learning.recipes import BENCHMARK_SEED, PRINT_RECIPES, Recipe, Schedule
from app.networks.encoder import build_encoder
from app.networks.weights import same_weights
from app.services.ordered_recipe import print_recipe_of
from app.services.training_spec import TrainingSpec
from tests.fakes.prints import blank_png, print_png

# --- recipes and orders --------------------------------------------------------------------------


def test_recipes_have_names_and_their_populations_keep_apart() -> None:
    for recipe in PRINT_RECIPES:
        assert recipe.summary
        assert 0.0 in recipe.matching.rotations_deg
        assert recipe.encoder_params()["size_px"] == recipe.preparation.size_px
    with pytest.raises(InvalidInput) as caught:
        find_recipe("best")
    assert caught.value.slug == "unknown_recipe"
    assert "quick" in caught.value.detail


def ordered(spec: TrainingSpec) -> Recipe:
    return print_recipe_of(find_print_recipe(spec.recipe), spec)


def test_an_order_changes_what_it_names() -> None:
    plain = ordered(TrainingSpec(recipe="quick"))
    assert plain == find_print_recipe("quick")
    found = ordered(
        TrainingSpec(
            recipe="quick", fingers=9, calibration_fingers=40, steps=3, batch_fingers=5, seed=4
        )
    )
    assert (found.population.training, found.population.calibration) == (9, 40)
    schedule = found.schedule
    assert (schedule.epochs, schedule.epoch_steps, schedule.warmup_steps) == (1, 3, 0)
    assert (found.schedule.batch_fingers, found.schedule.seed) == (5, 4)
    other = ordered(TrainingSpec(recipe="quick", seed=5))
    # Training, held-out and calibration fingers grow from neighbouring seeds.
    seeds = {r.population.seed + k for r in (plain, found, other) for k in range(3)}
    assert len(seeds) == 9
    assert min(seeds) > BENCHMARK_SEED  # and an order can only raise them


def test_an_order_shortens_the_refinement_alike() -> None:
    first, second = ordered(TrainingSpec(recipe="default", steps=36, batch_fingers=5)).fits
    assert (first.schedule.steps, second.schedule.steps) == (36, 8)
    assert (first.schedule.batch_fingers, second.schedule.batch_fingers) == (5, 5)
    assert (first.noise.upright, second.noise.upright) == (False, True)
    assert second.schedule.warmup_steps == 2
    first, second = ordered(TrainingSpec(recipe="default", seed=9)).fits
    assert first.schedule.seed == 9 != second.schedule.seed
    assert second.refinement is None


def test_the_order_changes_the_pace_of_both_fits_alike() -> None:
    plain, found = (ordered(TrainingSpec(learning_rate=rate)) for rate in (None, 1e-3))
    assert plain.refinement is not None
    assert found.refinement is not None
    assert found.schedule == replace(plain.schedule, learning_rate=1e-3)
    shrunk = plain.refinement.schedule.learning_rate / plain.schedule.learning_rate
    assert found.refinement.schedule.learning_rate == pytest.approx(1e-3 * shrunk)


@given(st.integers(1, 5000), st.integers(1, 300))
def test_epochs_are_of_one_length_and_lose_no_step(steps: int, most: int) -> None:
    schedule = Schedule(steps=steps, steps_per_epoch=most)
    assert schedule.epoch_steps <= most
    assert steps <= schedule.epochs * schedule.epoch_steps < steps + schedule.epochs


# --- progress ------------------------------------------------------------------------------------


def test_phases_tell_how_long_it_takes() -> None:
    said: list[dict[str, Any]] = []
    now = [100.0]
    phases = Phases(said.append, lambda: now[0])
    report = phases.begin("growing")
    report(0, 4)
    now[0] += 3.0
    report(1, 4)
    phases.fitting(FitProgress(1, 2, 3, 8, 0.123456, 55.55, float("inf")))
    assert said == [
        {"phase": "growing"},
        {"phase": "growing", "done": 0, "of": 4, "eta_s": None},
        {"phase": "growing", "done": 1, "of": 4, "eta_s": 9.0},
        {
            "phase": "training", "done": 3, "of": 8, "step": 3, "eta_s": None,
            "epoch": 1, "epochs": 2, "loss": 0.12346, "images_per_s": 55.5,
        },
    ]  # fmt: skip


# --- labelled folders ----------------------------------------------------------------------------


def labelled(rows: list[tuple[str, str]]) -> LabelledSamples:
    nothing = PreparedSample(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32))
    return LabelledSamples(
        (nothing,) * len(rows),
        tuple(finger for _, finger in rows),
        tuple(subject for subject, _ in rows),
        {},
    )


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=8, max_size=60),
    st.floats(0, 1),
)
def test_a_split_leaves_pairs_on_both_sides_and_parts_nobody(
    drawn: list[tuple[int, int]], share: float
) -> None:
    read = labelled([(f"s{s}", f"s{s}_{f}") for s, f in drawn])
    twice = {f for f in read.fingers if read.fingers.count(f) > 1}
    assume(len(twice) >= 4)  # read_folder makes sure of it
    learned, held_out = split_subjects(read, share)
    for side in (learned, held_out):
        pairs = {f for f in side.fingers if side.fingers.count(f) > 1}
        assert len(pairs) >= 2
    assert sorted(learned.fingers + held_out.fingers) == sorted(read.fingers)
    assert not set(learned.fingers) & set(held_out.fingers)
    if len({f.split("_")[0] for f in twice}) >= 4:
        assert not set(learned.subjects) & set(held_out.subjects)


def test_a_split_stays_when_the_folder_grows() -> None:
    def sides(subjects: int) -> tuple[set[str], set[str]]:
        read = labelled([(f"s{k}", f"s{k}") for k in range(subjects) for _ in range(2)])
        learned, held_out = split_subjects(read, 0.7)
        return set(learned.subjects), set(held_out.subjects)

    before, after = sides(100), sides(200)
    assert before[0] < after[0]
    assert before[1] < after[1]
    assert 120 < len(after[0]) < 160


def write_prints(folder: Path, fingers: int, impressions: int = 2) -> None:
    for finger in range(fingers):
        for impression in range(impressions):
            path = folder / f"{finger + 1}_{impression + 1}.png"
            path.write_bytes(print_png(finger, impression, None))


def test_a_folder_is_read_with_what_it_cannot_use_named(tmp_path: Path) -> None:
    write_prints(tmp_path, 4)
    (tmp_path / "5_1.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("not an image")
    seen: list[tuple[int, int]] = []
    read = read_folder(
        tmp_path, PreparationParams(), None, 500.0, lambda done, of: seen.append((done, of))
    )
    assert sorted(set(read.fingers)) == ["1", "2", "3", "4"]
    assert len(read.samples) == 8
    assert set(read.skipped) == {"5_1.png", "notes.txt"}
    assert seen[-1] == (9, 9)
    assert read.samples[0].image.shape == (192, 192)


def test_too_few_fingers_are_refused(tmp_path: Path) -> None:
    write_prints(tmp_path, 3)
    (tmp_path / "9_1.png").write_bytes(blank_png())
    with pytest.raises(InvalidInput) as caught:
        read_folder(tmp_path, PreparationParams(), None, 500.0)
    assert caught.value.slug == "too_few_fingers"
    assert "3 fingers" in caught.value.detail
    with pytest.raises(InvalidInput) as caught:  # no file says its resolution
        read_folder(tmp_path, PreparationParams(), None, None)
    assert len(caught.value.context["skipped"]) == 6


def test_models_of_another_shape_are_told_apart() -> None:
    one = {"size_px": 32, "widths": (4, 4, 4), "blocks": (1, 1), "channels": 4}
    encoder, other = build_encoder("grid_encoder", one), one | {"widths": (4, 4, 8)}
    assert same_weights(encoder, keras.models.clone_model(encoder))
    assert not same_weights(encoder, build_encoder("grid_encoder", other))


def test_whoever_stops_the_growing_is_heard() -> None:
    def stop(done: int, of: int) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        grow_fingers(3, 2, 125, stop)


def test_impressions_are_the_same_in_every_run() -> None:
    draws = {
        float(impression_rng(seed, finger, impression).random())
        for seed in (1, 2)
        for finger in (0, 1)
        for impression in (0, 1)
    }
    assert len(draws) == 8
    assert float(impression_rng(2, 1, 1).random()) in draws
