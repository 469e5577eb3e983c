"""A recipe of pictures as data: read back the same, and refused with what is wrong."""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.core.json_ready import json_ready
from app.evaluation.dataset import parse_names
from app.learning.recipe_book import RECIPE_BOOK, recipe_from_data
from app.learning.recipes import Recipe
from app.learning.siamese.improved import FACES, FASHION, IMPROVED, STRIPES
from app.learning.siamese.originals import ORIGINALS
from app.learning.siamese.recipe import PAIR_LOSSES, SiameseRecipe
from app.learning.siamese.stack_cost import ACTIVATIONS, RULES, stack_cost
from app.networks.encoder import build_encoder
from app.services.ordered_recipe import recipe_of
from app.services.training_spec import TrainingSpec
from tests.conftest import ROOT

EVERY = (*ORIGINALS, *IMPROVED)
every = pytest.mark.parametrize("recipe", EVERY, ids=[recipe.name for recipe in EVERY])


def told(recipe: SiameseRecipe = STRIPES) -> dict[str, Any]:
    """As JSON gives it."""
    found: dict[str, Any] = json.loads(json.dumps(json_ready(recipe.to_dict()), allow_nan=False))
    return found


@every
def test_a_recipe_survives_json(recipe: SiameseRecipe) -> None:
    assert SiameseRecipe.from_dict(told(recipe)) == recipe
    # Python's own JSON writes a NaN, and it is read as well.
    assert SiameseRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    again = SiameseRecipe.from_dict(told(recipe))
    assert again.architecture_params == recipe.architecture_params
    assert again.encoder_params() == recipe.encoder_params()


def test_what_is_left_out_is_the_default() -> None:
    needed = ("name", "summary", "data", "preparation", "architecture_params", "loss", "schedule")
    short = {name: told()[name] for name in needed}
    short["data"] = {"kind": "stripes"}
    short["architecture_params"] = {"stack": short["architecture_params"]["stack"]}
    read = SiameseRecipe.from_dict(short)
    plain = SiameseRecipe(
        **{name: getattr(read, name) for name in needed},
    )
    assert read == plain
    assert math.isnan(SiameseRecipe.from_dict(told(FACES)).augmentation.fill)


def test_the_documented_recipe_is_one() -> None:
    page = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    (block,) = re.findall(r"```json\n(.+?)```", page, re.DOTALL)
    recipe = recipe_from_data(json.loads(block))
    assert recipe.name == "badges"
    encoder = build_encoder(recipe.architecture, recipe.encoder_params())
    assert encoder.output.shape[1:] == (1, 1, 64)


CHANGES: list[tuple[str, Any, str]] = [
    ("laps", 3, "does not know laps"),
    ("schedule.laps", 3, "schedule does not know laps"),
    ("name", "a/b", "name must be"),
    ("name", 5, "name must be"),
    ("summary", "two\nlines", "summary must be printable"),
    ("summary", "\ud800", "summary must be printable"),
    ("schedule", [1], "schedule must be an object"),
    ("schedule.epochs", 0, "schedule.epochs must be 1 or more"),
    ("schedule.epochs", 100_001, "at most 100,000"),
    ("schedule.epochs", 1.5, "schedule.epochs must be a whole number"),
    ("schedule.epochs", True, "schedule.epochs must be a whole number"),
    ("schedule.batch", 0, "schedule.batch must be 1 or more"),
    ("schedule.learning_rate", 0, "schedule.learning_rate must be more than 0"),
    ("schedule.learning_rate", math.inf, "schedule.learning_rate must be a number"),
    ("schedule.learning_rate", math.nan, "schedule.learning_rate must be a number"),
    ("schedule.learning_rate", "1e-3", "schedule.learning_rate must be a number"),
    ("schedule.optimizer", "sgd", "schedule.optimizer must be one of adam, adamw, rmsprop"),
    ("schedule.optimizer", ["adam"], "schedule.optimizer must be one of adam, adamw, rmsprop"),
    ("data.shares", [0.5, 0.5, 0.5], "data.shares must sum to 1"),
    ("data.shares", [1.0, 0.0, 0.0], "data.shares must be more than 0"),
    ("data.shares", [0.5, 0.5], "data.shares must be a list of 3 numbers"),
    ("data.kind", "web", "data.kind must be one of stripes, folder, idx, olivetti"),
    ("data", {"kind": "folder"}, "data.path must name"),
    ("data", {"kind": "folder", "path": "/etc"}, "data.path must lie below"),
    ("data", {"kind": "folder", "path": "a/../../b"}, "data.path must lie below"),
    ("data", {"kind": "folder", "path": "."}, "data.path must lie below"),
    ("data", {"kind": "folder", "path": "./a"}, "data.path must lie below"),
    ("data", {"kind": "folder", "path": "a", "pattern": "("}, "data.pattern is not"),
    ("data", {"kind": "folder", "path": "a", "pattern": "x"}, "data.pattern must name"),
    ("data", {"path": "a"}, "data needs kind"),
    ("data.mixed_conditions", 1, "data.mixed_conditions must be true or false"),
    ("augmentation.scale", [1.2, 0.8], "the least and then the greatest"),
    ("augmentation.blur_px", 1.1, "augmentation.blur_px must be 0 or more and at most 1"),
    ("augmentation.noise", None, "augmentation.noise must be a number"),
    ("preparation.kind", "print", "preparation must be an object with the kind picture"),
    ("preparation.scaling", "wild", "preparation.scaling must be one of unit, standard"),
    ("preparation.height_px", 1025, "preparation.height_px must be 1 or more and at most 1,024"),
    ("preparation.height_px", 80, "architecture_params must be of 80 x 160 pixels"),
    ("preparation.trim_px", [0, 0, 0, -1], "preparation.trim_px must be 0 or more"),
    ("matching", {"measure": "wishful"}, "matching.measure must be one of"),
    ("matching", {"measure": "logistic_distance"}, "wrong number of weights"),
    ("matching", {"rotations_deg": [5.0]}, "the probe as it is"),
    ("matching", {"rotations_deg": [0.0] * 65}, "1 to 64 views"),
    ("matching", 5, "matching must be an object or null"),
    ("architecture", "grid_encoder", "architecture must be layer_stack"),
    ("architecture_params", {}, "an object with a stack"),
    ("architecture_params.weights", "x", "an object with a stack"),
    ("transfer", "a b", "transfer must be"),
    ("reported", {"accuracy": "high"}, "reported.accuracy must be a number"),
    ("loss.kind", "triplet", "pairing.kind must be classes"),
    ("pairing.kind", "classes", "pairing.kind must be classes"),
    ("loss.dropped_cells", 0.5, "loss.dropped_cells is 0.5, and contrastive drops none"),
    ("pairing", {"hard_share": 0.5, "fixed": True}, "hard_share is 0.5, and fixed pairs take"),
    ("pairing", {"kind": "first_third_equal", "hard_share": 0.5}, "the kind first_third_equal"),
    ("loss", {"kind": "binary_crossentropy_absolute", "clamped": True}, "loss.clamped is true"),
]


@pytest.mark.parametrize(
    ("place", "value", "said"), CHANGES, ids=[f"{c[0]}-{n}" for n, c in enumerate(CHANGES)]
)
def test_what_is_wrong_is_said(place: str, value: Any, said: str) -> None:
    data = told()
    data["name"] = "my-stripes"
    *above, last = place.split(".")
    inner = data
    for name in above:
        inner = inner[name]
    inner[last] = value
    with pytest.raises(ValueError, match=re.escape(said)):
        SiameseRecipe.from_dict(data)
    with pytest.raises(InvalidInput) as caught:
        recipe_from_data(data)
    assert caught.value.slug == "invalid_recipe"
    assert said in caught.value.detail


def test_a_pattern_may_be_what_the_reading_of_names_takes() -> None:
    data = told() | {"data": {"kind": "folder", "path": "a", "pattern": r"(?P<finger>\p{L}+)"}}
    assert SiameseRecipe.from_dict(data).data.pattern == r"(?P<finger>\p{L}+)"
    names = [Path("x/left.png"), Path("x/right.png")]
    assert len(parse_names(names, data["data"]["pattern"]).images) == 2


def stacked(*layers: Any, size: tuple[int, int] = (160, 160)) -> dict[str, Any]:
    data = told() | {"name": "my-stripes", "architecture_params": {"stack": list(layers)}}
    data["preparation"] = {"kind": "picture", "height_px": size[0], "width_px": size[1]}
    return data


CONV = {"layer": "conv", "filters": 8, "kernel": 3}
FLATTEN = {"layer": "flatten"}
UNIT = {"layer": "unit"}
DENSE = {"layer": "dense", "units": 8}


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([], "1 to 200 layers"),
        ([FLATTEN] * 201, "1 to 200 layers"),
        (["conv"], "stack[0] must be an object"),
        ([{"layer": "attention"}], "stack[0].layer must be one of conv"),
        ([{"layer": ["conv"]}], "stack[0].layer must be one of conv"),
        ([CONV, {"layer": "conv", "filters": 8}], "stack[1]: conv needs kernel"),
        ([CONV | {"name": "x"}], "stack[0]: conv does not know name"),
        ([CONV | {"filters": 0}], "stack[0].filters must be a whole number, 1 to"),
        ([CONV | {"filters": 8.0}], "stack[0].filters must be a whole number"),
        ([CONV | {"activation": "exec"}], "stack[0].activation must be one of null"),
        ([CONV | {"activation": {"class_name": "x"}}], "stack[0].activation must be one of null"),
        ([CONV | {"norm": 1}], "stack[0].norm must be true or false"),
        ([{"layer": "dropout", "rate": 1}, DENSE], "stack[0].rate must be a number"),
        ([FLATTEN, CONV], "stack[1]: conv needs a map"),
        ([FLATTEN, {"layer": "dropout", "rate": 0.1, "spatial": True}], "needs a map"),
        ([CONV | {"kernel": 64}] * 3, "stack[2]: nothing is left of the map"),
        ([FLATTEN], "would have 0 parameters"),
        ([FLATTEN, DENSE | {"units": 65_536}], "would have 1,677,787,136 parameters"),
        ([CONV | {"filters": 2048}, {"layer": "global_average"}], "values in the network's maps"),
        ([CONV], "gives a map of cells"),
    ],
)
def test_layers_are_checked_before_anything_is_built(layers: list[Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        SiameseRecipe.from_dict(stacked(*layers))


@pytest.mark.parametrize(
    ("place", "changed", "said"),
    [
        ("loss", {"kind": "batch_contrastive"}, "a map of cells; end it with flatten"),
        ("matching", {"measure": "cosine"}, "a map of cells; end it with flatten"),
        ("loss", {"kind": "supervised_contrastive", "shift_cells": 8}, "cannot be shifted by 8"),
        ("matching", {"rotations_deg": [0.0], "max_shift_cells": 9}, "cannot be shifted by 9"),
        ("architecture_params", {"stack": [CONV]}, "a template would have 30,752 values"),
    ],
)
def test_a_map_of_cells_goes_with_its_loss_and_matching(
    place: str, changed: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.learning.siamese.recipe_limits.MAX_TEMPLATE_VALUES", 10_000)
    assert SiameseRecipe.from_dict(told(FACES)) == FACES
    with pytest.raises(ValueError, match=re.escape(said)):
        SiameseRecipe.from_dict(told(FACES) | {place: changed})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedule": {"patience": 3}}, "schedule.patience is 3, and supervised_contrastive has"),
        ({"pairing": {"hard_share": 0.5}}, "the kind classes takes no hard pairs"),
        ({"loss": {"clamped": True}}, "supervised_contrastive takes no distance of a pair"),
        (
            {"loss": {"kind": "triplet", "dropped_cells": 0.0}, "schedule": {"patience": 3}},
            "schedule.patience is 3, and triplet has",
        ),
    ],
)
def test_what_a_loss_of_batches_would_not_heed_is_refused(
    changes: dict[str, dict[str, Any]], said: str
) -> None:
    data = told(FACES)
    stack = data["architecture_params"]["stack"]
    if changes.get("loss", {}).get("kind") == "triplet":
        data |= {"matching": {"measure": "cosine"}}
        stack += [{"layer": "flatten"}, UNIT]
    for part, fields in changes.items():
        data[part] |= fields
    with pytest.raises(ValueError, match=re.escape(said)):
        SiameseRecipe.from_dict(data)


def test_a_loss_of_all_pairs_of_a_batch_has_a_validation_loss_to_wait_for() -> None:
    data = told(FASHION)
    data["schedule"]["patience"] = 3
    assert SiameseRecipe.from_dict(data).schedule.patience == 3


@pytest.mark.parametrize("kind", ["supervised_contrastive", "additive_margin_softmax"])
def test_cosines_need_unit_vectors(kind: str) -> None:
    data = told(FASHION)
    data["loss"] = {"kind": kind}
    assert SiameseRecipe.from_dict(data).loss.kind == kind
    data["architecture_params"]["stack"].append(FLATTEN)
    with pytest.raises(ValueError, match=r"stack ends in flatten, and .* it must end in unit"):
        SiameseRecipe.from_dict(data)


def test_a_loss_of_batches_must_say_how_templates_are_compared() -> None:
    with pytest.raises(ValueError, match="matching must be said"):
        SiameseRecipe.from_dict(told(FASHION) | {"matching": None})
    assert FASHION.loss.kind not in PAIR_LOSSES


MAPS = st.one_of(
    st.builds(
        lambda f, k, s, p, n, d: {
            "layer": "conv", "filters": f, "kernel": k, "stride": s, "padding": p, "norm": n,
            "separable": d,
        },
        st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.sampled_from(["valid", "same"]),
        st.booleans(), st.booleans(),
    ),
    st.builds(
        lambda f, k, s, d: {
            "layer": "residual", "filters": f, "kernel": k, "stride": s, "separable": d,
        },
        st.integers(1, 6), st.integers(1, 3), st.integers(1, 2), st.booleans(),
    ),
    st.builds(
        lambda s, k, p: {"layer": "pool", "size": s, "kind": k, "padding": p},
        st.integers(1, 3), st.sampled_from(["max", "average"]), st.sampled_from(["valid", "same"]),
    ),
    st.just({"layer": "dropout", "rate": 0.2, "spatial": True}),
    st.just({"layer": "unit"}),
)  # fmt: skip
DENSES = st.builds(
    lambda u, a, n, b: {"layer": "dense", "units": u, "activation": a, "norm": n, "bias": b},
    st.integers(1, 6), st.sampled_from([None, *ACTIVATIONS]), st.booleans(), st.booleans(),
)  # fmt: skip


@given(
    st.lists(MAPS, max_size=3),
    st.sampled_from([[], [{"layer": "flatten"}], [{"layer": "global_average"}]]),
    st.lists(DENSES, max_size=2),
    st.integers(6, 20),
)
def test_a_network_is_counted_as_it_is_built(
    maps: list[Any], joined: list[Any], denses: list[Any], side: int
) -> None:
    stack = [*maps, *joined, *denses] or [{"layer": "unit"}]
    try:
        cost = stack_cost(side, side + 2, stack)
    except ValueError:
        return
    built = build_encoder("layer_stack", {"height_px": side, "width_px": side + 2, "stack": stack})
    assert cost.parameters == built.count_params()
    assert (1, 1, *cost.shape)[-3:] == built.output.shape[1:]


@every
def test_a_built_in_network_is_counted(recipe: SiameseRecipe) -> None:
    built = build_encoder(recipe.architecture, recipe.encoder_params())
    cost = stack_cost(*recipe.preparation.shape_px, recipe.architecture_params["stack"])
    assert cost.parameters == built.count_params()


def test_every_layer_has_its_rules() -> None:
    import inspect

    from app.networks.layer_stack import KINDS

    assert set(RULES) == set(KINDS)
    for kind, rules in RULES.items():
        taken = dict(list(inspect.signature(KINDS[kind]).parameters.items())[2:])
        assert set(rules) == set(taken)
        needed = {name for name, p in taken.items() if p.default is inspect.Parameter.empty}
        assert {name for name, rule in rules.items() if rule.required} == needed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)
PLACES = [(name,) for name in told()] + [
    (name, inner) for name, part in told().items() if isinstance(part, dict) for inner in part
]


@given(st.sampled_from(PLACES), JSON, st.sampled_from([STRIPES, FACES]))
def test_whatever_stands_there_is_a_recipe_or_refused(
    place: tuple[str, ...], value: Any, recipe: SiameseRecipe
) -> None:
    data = copy.deepcopy(told(recipe))
    inner = data
    for name in place[:-1]:
        inner = inner[name] = inner[name] or {}
    inner[place[-1]] = value
    try:
        read = SiameseRecipe.from_dict(data)
    except ValueError:
        return
    assert SiameseRecipe.from_dict(told(read)) == read


def test_a_built_in_name_is_taken() -> None:
    with pytest.raises(InvalidInput, match="built-in") as caught:
        recipe_from_data(told())
    assert caught.value.slug == "invalid_recipe"


def test_an_order_brings_its_recipe() -> None:
    data = told() | {"name": "my-stripes"}
    spec = TrainingSpec.from_dict({"recipe": data, "epochs": 3, "transfer": "stripes"})
    assert (spec.recipe, spec.recipe_data) == ("my-stripes", data)
    assert TrainingSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    found = recipe_of(spec)
    assert isinstance(found, SiameseRecipe)
    assert (found.name, found.schedule.epochs, found.transfer) == ("my-stripes", 3, "stripes")
    assert found.architecture_params == STRIPES.architecture_params


@pytest.mark.parametrize(
    ("order", "slug"),
    [
        ({"recipe": {}}, "invalid_recipe"),
        ({"recipe": {"name": 5}}, "invalid_recipe"),
        ({"recipe": {"name": "mine"}}, "invalid_recipe"),
        ({"recipe": "mine", "recipe_data": {"name": "other"}}, "invalid_training_spec"),
        ({"recipe": "mine", "recipe_data": 5}, "invalid_training_spec"),
        ({"recipe": "stripes", "transfer": "a\nb"}, "invalid_training_spec"),
        ({"recipe": "stripes", "transfer": "quick"}, "invalid_training_spec"),
        ({"recipe": "quick", "transfer": "stripes"}, "invalid_training_spec"),
    ],
)
def test_an_order_that_cannot_be_is_refused(order: dict[str, Any], slug: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        recipe_of(TrainingSpec.from_dict(order))
    assert caught.value.slug == slug
    assert isinstance(RECIPE_BOOK["quick"], Recipe)
