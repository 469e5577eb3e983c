"""The comparison of encoders and the measurement of speed, with a recipe of seconds."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from app.cli.compare_encoders.__main__ import compared, of_size, present_sets
from app.cli.compare_encoders.page import FIGURES, PAGE, Setting, comparison_page, write_comparison
from app.cli.compare_encoders.print_sets import REAL_SETS, PrintSets, real_set
from app.cli.compare_encoders.trial import Trial
from app.cli.compare_encoders.variants import Variant, chosen_variants, encoder_variants
from app.cli.evaluation_question import PrintSet
from app.cli.machine import processor_name
from app.cli.training_speed import Speeds, measure_speeds, speed_page
from app.core.errors import InvalidInput
from app.core.params import MatchingParams, PreparationParams
from app.core.types import Probe
from app.learning.losses import grid_scores
from app.learning.prints import Fingers
from app.learning.progress import Phases
from app.learning.recipe_book import find_print_recipe
from app.learning.recipes import ContrastParams, Population, Recipe, Schedule
from app.learning.views import ViewPool
from app.matching.score import compare_many
from app.networks.device import find_device
from app.networks.encoder import build_encoder
from app.synth import population
from tests.fakes.training import without_graphs

TINY = Recipe(
    "tiny",
    "",
    architecture_params={"widths": (4, 8, 8, 8), "blocks": (1, 1, 1), "channels": 8},
    matching=MatchingParams((-10.0, 0.0), 1),
    population=Population(training=3, views=2, held_out=2, impressions=2),
    schedule=Schedule(steps=4, steps_per_epoch=2, batch_fingers=2, warmup_steps=1),
)
VECTOR = replace(
    TINY,
    architecture="vector_encoder",
    preparation=PreparationParams(size_px=160),
    matching=MatchingParams((-10.0, 0.0), 0, 1e-6),
    contrast=ContrastParams(min_overlap_cells=1e-6),
)
TRIED = (Variant("grid", TINY), Variant("vector", VECTOR))
SETTING = Setting("the command", {"cores": "many"})


@pytest.fixture(scope="module")
def fingers() -> Fingers:
    return Fingers(5, tuple(population(5, 3)))


@pytest.fixture(scope="module")
def phases_seen() -> list[str]:
    return []


@pytest.fixture(scope="module")
def trials(fingers: Fingers, synthetic_prints: Path, phases_seen: list[str]) -> list[Trial]:
    pool = ViewPool(fingers, TINY.preparation, per_finger=2, renewed_share=0.0)
    held_out = Fingers(6, tuple(population(6, 2)))
    sets = PrintSets([PrintSet("folder", synthetic_prints, 250.0)], held_out, 2, 1)
    device = find_device("cpu")
    with closing(pool), pytest.MonkeyPatch.context() as patch:
        without_graphs(patch)
        return list(compared(TRIED, pool, sets, device, lambda at: phases_seen.append(at["phase"])))


def test_every_variant_is_measured_on_every_set(
    trials: list[Trial], phases_seen: list[str]
) -> None:
    assert [trial.grid for trial in trials] == [(12, 12, 8), (1, 1, 8)]
    assert [trial.descriptor_bytes for trial in trials] == [2454, 23]
    for trial in trials:
        assert list(trial.evaluations) == ["folder", "synthetic, held out"]
        folder, synthetic = trial.evaluations.values()
        assert (folder.images, synthetic.images) == (12, 4)
        assert folder.fte == synthetic.fte == 0.0
        assert trial.final_loss > 0.0
        assert trial.ms_per_sample > 0.0
    assert trials[0].parameters == trials[1].parameters
    assert {"grid: training", "vector: judging on folder"} <= set(phases_seen)


def test_the_page_and_the_figures_tell_the_same(trials: list[Trial], tmp_path: Path) -> None:
    write_comparison(tmp_path / "new", SETTING, trials)
    page = (tmp_path / "new" / PAGE).read_text("utf-8")
    figures = json.loads((tmp_path / "new" / FIGURES).read_text("utf-8"))
    assert page == comparison_page(SETTING, trials)
    assert "`make compare-encoders` (`the command`)" in page
    assert "- cores: many\n" in page
    assert page.count("\n| vector |") == 3
    for told, trial in zip(figures["variants"], trials, strict=True):
        eer = trial.evaluations["folder"].eer
        assert told["sets"]["folder"]["eer"] == eer
        assert f"{100 * eer:.1f} %" in page
        assert told["recipe"] == json.loads(json.dumps(trial.variant.recipe.to_dict()))


def test_variants_differ_in_what_their_names_say() -> None:
    variants = {v.name: v.recipe for v in encoder_variants(find_print_recipe("default"), 100)}
    shapes = {
        name: build_encoder(recipe.architecture, recipe.encoder_params()).output_shape[1:]
        for name, recipe in variants.items()
    }
    assert shapes == {
        "grid 12x12x16": (12, 12, 16),
        "one vector of 256": (1, 1, 256),
        "grid 12x12x32": (12, 12, 32),
        "coarser stem, wider": (12, 12, 16),
        "narrow": (12, 12, 16),
        "no margin": (12, 12, 16),
        "input of 160 px": (10, 10, 16),
    }
    first = variants["grid 12x12x16"]
    assert first.contrast.margin > variants["no margin"].contrast.margin == 0.0
    assert len({(r.population, r.noise, r.schedule) for r in variants.values()}) == 1
    assert first.schedule.epochs * first.schedule.epoch_steps == 100


def test_one_vector_is_scored_by_its_cosine_in_the_loss_and_in_the_search() -> None:
    (vector,) = chosen_variants(
        encoder_variants(find_print_recipe("default"), 100), ["one vector of 256"]
    )
    cells = np.array([[1.0, 0.0], [0.6, 0.8]], np.float32).reshape(2, 1, 1, 2)
    cover = np.array([0.3, 0.05], np.float32).reshape(2, 1, 1)
    scores = np.asarray(grid_scores(cells, cover, vector.recipe.contrast.min_overlap_cells))
    np.testing.assert_allclose(scores, [[1.0, 0.6], [0.6, 1.0]], atol=1e-5)
    found = compare_many(Probe(cells[:1], cover[:1]), cells, cover, vector.recipe.matching)
    np.testing.assert_allclose(found, [1.0, 0.6], atol=1e-5)


def test_some_variants_may_be_chosen() -> None:
    assert [v.name for v in chosen_variants(TRIED, ["vector", "grid"])] == ["grid", "vector"]
    assert chosen_variants(TRIED, None) == TRIED
    with pytest.raises(InvalidInput) as refused:
        chosen_variants(TRIED, ["nonsense"])
    assert refused.value.slug == "unknown_variant"


def test_absent_sets_are_left_out_with_a_word(tmp_path: Path) -> None:
    there = REAL_SETS[0]
    (tmp_path / there.folder).mkdir(parents=True)
    screen = Console(record=True, width=200)
    assert [one.name for one in present_sets(tmp_path, screen)] == [there.name]
    told = screen.export_text()
    assert there.name not in told
    assert all(f"{one.name} is left out" in told for one in REAL_SETS[1:])


def test_a_print_that_enrolment_refuses_counts_as_a_failure(synthetic_prints: Path) -> None:
    asked = PrintSet("folder", synthetic_prints, 250.0)
    assert not real_set(asked, TINY.preparation, 0).failed
    refused = real_set(asked, TINY.preparation, 101)
    assert refused.failed == frozenset(range(12))
    assert not any(sample.mask.any() for sample in refused.samples)


def test_a_batch_is_not_larger_than_the_fingers() -> None:
    small = of_size(find_print_recipe("default"), 7, 5)
    assert small.schedule.batch_fingers == 7
    assert (small.population.training, small.population.held_out) == (7, 5)


@pytest.mark.usefixtures("uncompiled")
def test_speed_is_measured_part_by_part(fingers: Fingers) -> None:
    device = find_device("cpu")
    speeds = measure_speeds(TINY, device, fingers, 0.05, Phases(lambda _: None))
    parts = (speeds.generator, speeds.refill, speeds.crops, speeds.step, speeds.together)
    assert all(0.0 < part < 1e6 for part in parts)
    assert 0.0 <= speeds.waited_share <= 1.0
    assert speeds.crops > speeds.generator
    page = speed_page(speeds, TINY, "the command", {"cores": "many"})
    assert "`make training-speed` (`the command`)" in page
    assert f"| {speeds.step:,.0f} |" in page


def test_the_verdict_sets_the_pace_against_the_step() -> None:
    verdict = Speeds(10.0, 20.0, 900.0, 300.0, 240.0, 0.05).verdict()
    assert "80% of the step's own: the input pipeline costs 20%" in verdict
    assert "waited 5% of its time" in verdict
    assert "3.0 such steps" in verdict


def test_the_processor_has_a_name(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nmodel name\t: Fast One 9000\nmodel name\t: Fast One 9000\n")
    assert processor_name(told) == "Fast One 9000"
    assert processor_name(tmp_path / "absent") != ""
