"""All recipes by name, what an order may change of them, and which pictures speak for many."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.core.errors import InvalidInput
from app.core.json_ready import json_ready
from app.core.params import MatchingParams, VectorMatching, read_matching, read_preparation
from app.learning.progress import Phases
from app.learning.recipe_book import RECIPE_BOOK, AnyRecipe, find_print_recipe, find_recipe
from app.learning.recipes import PRINT_RECIPES, Recipe
from app.learning.siamese.improved import ATT_FACES, ATT_FACES_SHARED, FASHION, IMPROVED
from app.learning.siamese.judge import evenly_spaced
from app.learning.siamese.network import new_picture_encoder
from app.learning.siamese.originals import FASHION_ORIGINAL, ORIGINALS, STRIPES_ORIGINAL
from app.learning.siamese.pairing import PairSampler
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.recipe import PAIR_LOSSES, SiameseRecipe
from app.networks.encoder import build_encoder
from app.networks.multiply_adds import multiply_adds
from app.services.ordered_recipe import recipe_of
from app.services.training_spec import TrainingSpec


def test_the_book_has_every_recipe_once() -> None:
    every: tuple[AnyRecipe, ...] = (*PRINT_RECIPES, *ORIGINALS, *IMPROVED)
    assert len(RECIPE_BOOK) == len(every)
    for recipe in every:
        assert find_recipe(recipe.name) is recipe
        assert recipe.summary
        assert "\n" not in recipe.summary
        json.dumps(json_ready(recipe.to_dict()), allow_nan=False)


improved = pytest.mark.parametrize("recipe", IMPROVED, ids=[recipe.name for recipe in IMPROVED])


@improved
def test_an_improved_recipe_builds_what_its_manifest_says(recipe: SiameseRecipe) -> None:
    told = json_ready(recipe.to_dict())
    read = json.loads(json.dumps(told, allow_nan=False))
    assert read == told
    assert read_preparation(read["preparation"]) == recipe.preparation
    assert read_matching(read["matching"]) == recipe.matching
    encoder = new_picture_encoder(recipe)
    again = build_encoder(read["architecture"], read["architecture_params"])
    assert [(w.path, w.shape) for w in again.weights] == [
        (w.path, w.shape) for w in encoder.weights
    ]
    assert again.output.shape == encoder.output.shape


@improved
def test_an_improved_recipe_compares_what_its_encoder_gives(recipe: SiameseRecipe) -> None:
    _, rows, cols, _ = new_picture_encoder(recipe).output.shape
    matching, grid = recipe.matching, rows * cols > 1
    assert isinstance(matching, MatchingParams if grid else VectorMatching)
    if isinstance(matching, MatchingParams):
        # A shift in both directions leaves as much overlap as is wanted, or more.
        shift = matching.max_shift_cells
        assert (rows - shift) * (cols - shift) >= matching.min_overlap_cells
        assert recipe.loss.shift_cells <= shift
        assert recipe.architecture_params["stack"][-1] == {"layer": "unit"}
    assert grid or recipe.loss.dropped_cells == 0.0
    assert (recipe.pairing.kind == "classes") == (recipe.loss.kind not in PAIR_LOSSES)
    # Only "classes" takes the pictures more than once.
    assert recipe.pairing.passes == 1 or recipe.pairing.kind == "classes"


def test_every_improved_recipe_stands_beside_its_original() -> None:
    originals = {recipe.name: recipe for recipe in ORIGINALS}
    further = {ATT_FACES_SHARED.name: ATT_FACES.name}
    for recipe in IMPROVED:
        original = originals[f"{further.get(recipe.name, recipe.name)}-original"]
        assert (recipe.data.kind, recipe.data.path) == (original.data.kind, original.data.path)
    first = [recipe.name for recipe in IMPROVED if recipe.name not in further]
    assert [f"{name}-original" for name in first] == list(originals)
    # The same persons in the test, of the same share of the pictures.
    shared, first_try = ATT_FACES_SHARED.data, originals["att-faces-original"].data
    assert (shared.split, shared.shares[2]) == (first_try.split, first_try.shares[2])
    assert ATT_FACES_SHARED.architecture_params == ATT_FACES.architecture_params


def test_what_was_wrong_and_what_changed_is_said_once() -> None:
    for recipe in IMPROVED:
        said = recipe is not ATT_FACES_SHARED
        assert (bool(recipe.wrong), bool(recipe.changed)) == (said, said)
    assert not any(recipe.wrong or recipe.changed for recipe in ORIGINALS)
    assert not any(recipe.reported for recipe in IMPROVED)


def test_clothes_are_learned_at_fewer_multiply_adds_than_as_commonly_tried() -> None:
    # 60,000 training pictures of ten classes less the twentieth that is kept for validation.
    classes = tuple(f"c{k % 10}" for k in range(57_000))
    pixels = np.zeros((57_000, 1, 1), np.float32)
    pictures = LabelledPictures(pixels, classes, classes, classes, classes)
    sampler, rng = PairSampler(pictures), np.random.default_rng(1)
    pairs = sampler.draw(FASHION_ORIGINAL.pairing, rng)
    assert len(pairs) == 2 * 57_000
    batches = sampler.batches_of_classes(
        FASHION.schedule.batch, FASHION.pairing.pictures_a_class, rng
    )
    shown = FASHION.pairing.passes * sum(len(rows) for rows in batches)
    assert shown == pytest.approx(57_000, rel=0.005)
    ours = multiply_adds(new_picture_encoder(FASHION)) * FASHION.schedule.epochs * shown
    theirs = (
        multiply_adds(new_picture_encoder(FASHION_ORIGINAL))
        * FASHION_ORIGINAL.schedule.epochs
        * 2 * len(pairs)
    )  # fmt: skip
    assert FASHION_ORIGINAL.schedule.epochs == 70
    assert ours < theirs


def test_a_recipe_that_begins_from_another_names_one_of_pictures() -> None:
    pictures = {n: r for n, r in RECIPE_BOOK.items() if isinstance(r, SiameseRecipe)}
    assert {r.transfer for r in pictures.values() if r.transfer} <= set(pictures)


def test_a_recipe_of_another_kind_is_refused_with_what_there_is() -> None:
    assert isinstance(find_print_recipe("quick"), Recipe)
    with pytest.raises(InvalidInput) as caught:
        find_print_recipe("stripes-original")
    assert caught.value.slug == "not_a_print_recipe"
    assert "default, quick" in caught.value.detail


def test_an_order_changes_a_recipe_of_pictures() -> None:
    plain = recipe_of(TrainingSpec(recipe="stripes-original"))
    assert plain == STRIPES_ORIGINAL
    found = recipe_of(TrainingSpec(recipe="stripes-original", learning_rate=0.25))
    faster = replace(STRIPES_ORIGINAL.schedule, learning_rate=0.25)
    assert found == replace(STRIPES_ORIGINAL, schedule=faster)
    found = recipe_of(TrainingSpec(recipe="stripes-original", epochs=3, seed=7))
    assert isinstance(found, SiameseRecipe)
    assert (found.schedule.epochs, found.schedule.seed) == (3, 7)
    assert found == replace(STRIPES_ORIGINAL, schedule=found.schedule)


@pytest.mark.parametrize(
    ("recipe", "said", "fields"),
    [
        ("stripes-original", {"fingers": 5}, ["fingers"]),
        ("stripes-original", {"steps": 5, "batch_fingers": 4}, ["steps", "batch_fingers"]),
        ("stripes-original", {"calibration_fingers": 50}, ["calibration_fingers"]),
        ("stripes-original", {"prints": "host"}, ["prints"]),
        ("stripes-original", {"data": "folder", "folder": "a", "dpi": 500.0}, ["dpi"]),
        ("quick", {"epochs": 5}, ["epochs"]),
    ],
)
def test_a_field_that_means_nothing_to_a_recipe_is_named(
    recipe: str, said: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        recipe_of(TrainingSpec(recipe=recipe, **said))
    assert caught.value.slug == "invalid_training_spec"
    assert caught.value.context["fields"] == fields
    assert fields[0] in caught.value.detail
    assert recipe in caught.value.detail


def test_a_diagnosis_stays_beside_the_progress() -> None:
    told: list[dict[str, Any]] = []
    phases = Phases(told.append)
    phases.begin("training")(1, 4)
    phases.diagnosed("dead")
    phases.diagnosed("collapsed")
    phases.begin("evaluating")
    assert [at.get("diagnosis") for at in told] == [
        None,
        None,
        ["dead"],
        ["dead", "collapsed"],
        ["dead", "collapsed"],
    ]
    assert told[2] == told[1] | {"diagnosis": ["dead"]}


def test_few_pictures_speak_for_themselves_and_many_evenly() -> None:
    labels = np.repeat(np.arange(3), [5, 40, 400])
    assert evenly_spaced(labels, 445).tolist() == list(range(445))
    some = evenly_spaced(labels, 30)
    assert np.bincount(labels[some]).tolist() == [5, 10, 10]
    assert some.tolist() == evenly_spaced(labels, 30).tolist()
    assert {5, 44, 45, 444} <= set(some.tolist())
    many = np.repeat(np.arange(100), 3)
    pairs = evenly_spaced(many, 20)
    assert np.unique(np.bincount(many[pairs])).tolist() == [0, 2]
    assert len(pairs) == 20
    mostly_alone = np.concatenate([np.arange(100), np.repeat([3, 50], 1)])
    kept = mostly_alone[evenly_spaced(mostly_alone, 20)]
    assert np.bincount(kept)[[3, 50]].tolist() == [2, 2]
    assert len(kept) == 12
