"""What a training on pictures begins from and is compared with, beside models of fingerprints."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from app.bootstrap.home import Home
from app.core.errors import InvalidInput
from app.settings import Settings
from tests.fakes.picture_training import champion, own_folder, train

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("quick_recipes", "uncompiled")]


@pytest.mark.usefixtures("unseen")
def test_only_a_champion_of_its_kind_is_tuned_and_compared_with(
    settings: Settings, home: Home
) -> None:
    first = train(home, settings, "quick-stripes", promote="if_better")
    assert (first.promote, first.compared_with, first.result["gate"]) == (True, None, None)
    champion(home, first.model_id)
    tuned = train(home, settings, "quick-stripes", promote="if_better", epochs=1)
    assert home.registry.manifest(tuned.model_id).parent == first.model_id
    assert tuned.compared_with == first.model_id
    assert tuned.result["gate"]["reasons"][3].startswith("stripes: ")
    report = json.loads(home.registry.read(tuned.model_id, "evaluation.json"))
    assert set(report["champion"]["det"]) == set(report["challenger"]["det"]) == {"stripes"}
    fresh = train(home, settings, "quick-stripes", base="scratch")
    assert home.registry.manifest(fresh.model_id).parent is None
    assert fresh.compared_with == first.model_id
    later = train(home, settings, "later-stripes", base="scratch")
    began = home.registry.manifest(later.model_id)
    assert began.parent == fresh.model_id
    of = re.fullmatch(
        rf"from the weights of {fresh.model_id}, (\d+) of (\d+) layers taken(;.*)?",
        began.training["began"],
    )
    assert of is not None
    assert of[1] == of[2] != "0"


@pytest.mark.usefixtures("unseen")
def test_a_model_of_another_split_is_neither_tuned_nor_compared_with(
    settings: Settings, home: Home
) -> None:
    first = train(home, settings, "quick-stripes", epochs=1)
    champion(home, first.model_id)
    told: list[dict[str, Any]] = []
    other = train(
        home, settings, "quick-stripes", told.append, epochs=1, seed=2, promote="if_better"
    )
    manifest = home.registry.manifest(other.model_id)
    assert manifest.parent is None
    assert manifest.training["began"].startswith("from fresh weights; not from the model in ser")
    assert any("from fresh weights" in note for at in told for note in at.get("notes", ()))
    assert other.promote is False
    (reason,) = other.result["gate"]["reasons"]
    assert "learned from some of the pictures that this one is measured on" in reason

    with pytest.raises(InvalidInput) as caught:  # the newest one's seed is 2
        train(home, settings, "later-stripes", base="scratch", epochs=1)
    assert caught.value.slug == "transfer_of_other_split"


@pytest.mark.usefixtures("unseen")
def test_a_recipe_that_begins_from_another_needs_its_model(settings: Settings, home: Home) -> None:
    with pytest.raises(InvalidInput) as caught:
        train(home, settings, "later-stripes")
    assert caught.value.slug == "no_model_of_recipe"
    assert "whorl train --recipe quick-stripes" in caught.value.detail


@pytest.mark.usefixtures("unseen")
def test_neither_kind_replaces_the_other_unasked(settings: Settings, home: Home) -> None:
    pictures = train(home, settings, "quick-stripes", epochs=1)
    champion(home, pictures.model_id)
    prints = train(home, settings, "tiny", epochs=None, steps=2, promote="if_better")
    assert (prints.promote, prints.result["gate"]["better"]) == (False, False)
    (reason,) = prints.result["gate"]["reasons"]
    report = json.loads(home.registry.read(prints.model_id, "evaluation.json"))
    assert report["verdict"]["findings"][0]["criterion"] == "comparable"
    assert f"another kind ({pictures.model_id}, pictures)" in reason
    with pytest.raises(InvalidInput) as caught:
        train(home, settings, "tiny", epochs=None, data="folder", folder=own_folder(settings))
    assert caught.value.slug == "no_base_model"

    champion(home, prints.model_id)
    again = train(home, settings, "quick-stripes", epochs=1, promote="if_better")
    assert (again.promote, again.compared_with) == (False, None)
    assert f"another kind ({prints.model_id}, fingerprints)" in again.result["gate"]["reasons"][0]
    assert home.registry.manifest(again.model_id).parent is None
