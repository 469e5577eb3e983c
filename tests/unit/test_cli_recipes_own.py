"""Recipes of one's own beside the built-in ones: which are meant, and where the page tells them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.cli.recipe_option import named_or_brought
from app.cli.recipes_files import RunFolders, chosen, sections, write_page
from app.cli.recipes_meant import meant_recipes, picture_recipes
from app.core.errors import InvalidInput
from app.core.json_ready import json_ready
from app.evaluation.run_record import RunRecord
from app.learning.recipe_book import find_recipe, recipe_to_run
from app.learning.siamese.improved import ATT_FACES
from app.learning.siamese.originals import STRIPES_ORIGINAL
from app.learning.siamese.recipe import SiameseRecipe
from app.services.run_recipe import with_seed
from tests.fakes.runs import run_record

BADGES = replace(STRIPES_ORIGINAL, name="badges", summary="badges")
FIRST_TRY = replace(BADGES, name="badges-original")
WIDER = replace(BADGES, name="stripes-wider")


def data_of(recipe: SiameseRecipe) -> dict[str, Any]:
    found: dict[str, Any] = json_ready(recipe.to_dict())
    return found


def written(folder: Path, recipe: SiameseRecipe, name: str = "my.json", **changed: Any) -> str:
    path = folder / name
    path.write_text(json.dumps(data_of(recipe) | changed), "utf-8")
    return str(path)


def ran(recipe: SiameseRecipe) -> RunRecord:
    return run_record(recipe=data_of(with_seed(recipe, 1)))


# --- which are meant -----------------------------------------------------------------------------


def test_a_name_is_a_name_and_a_file_its_content(tmp_path: Path) -> None:
    assert named_or_brought("stripes") == ("stripes", None)
    assert named_or_brought(written(tmp_path, BADGES)) == ("badges", data_of(BADGES))


def test_a_recipe_in_a_file_is_known_by_its_name(tmp_path: Path) -> None:
    recipes, known = meant_recipes(["stripes", written(tmp_path, BADGES)])
    assert [recipe.name for recipe in recipes] == ["stripes", "badges"]
    assert recipes[1] == BADGES
    assert known == picture_recipes() | {"badges": BADGES}
    everything, _ = meant_recipes(["all", written(tmp_path, BADGES)])
    assert len(everything) == len(known)
    assert "badges" not in picture_recipes()


def test_a_file_may_be_given_twice_but_not_two_recipes_of_one_name(tmp_path: Path) -> None:
    # What is filled with the border is not a number, and equals nothing, not even itself.
    filled = replace(ATT_FACES, name="filled")
    one = written(tmp_path, filled)
    assert [recipe.name for recipe in meant_recipes([one, one])[0]] == ["filled"]
    other = written(tmp_path, filled, "other.json", transfer="stripes")
    with pytest.raises(InvalidInput, match="another recipe called filled") as caught:
        meant_recipes([one, other])
    assert caught.value.slug == "invalid_recipe"


@pytest.mark.parametrize("name", ["olivetti", "stripes-original"])
def test_a_file_may_repeat_a_built_in_recipe(tmp_path: Path, name: str) -> None:
    recipe = picture_recipes()[name]
    shown = written(tmp_path, recipe, summary="in other words")
    assert meant_recipes([shown])[0] == [find_recipe(name)]
    assert meant_recipes([name, shown])[0] == [find_recipe(name)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "stripes"}, "name of a built-in recipe"),
        ({"name": "default"}, "name of a built-in recipe"),
        ({"transfer": "stripes"}, "name of a built-in recipe"),
        ({"laps": 3}, "does not know laps"),
    ],
)
def test_another_recipe_of_a_built_in_name_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        recipe_to_run(data_of(STRIPES_ORIGINAL) | changed)
    assert caught.value.slug == "invalid_recipe"


def test_a_recipe_that_belongs_to_two_systems_is_run_once() -> None:
    names = ["stripes-original", "stripes-a-original", "stripes-a"]
    known = {name: replace(BADGES, name=name) for name in names}
    assert sorted(recipe.name for recipe in chosen(["all"], known)) == sorted(names)


# --- where they are told -------------------------------------------------------------------------

BUILT_IN = ["stripes-original", "stripes", "olivetti-original", "olivetti"]


def test_a_recipe_of_ones_own_stands_beside_those_that_it_is_named_after() -> None:
    known = [*BUILT_IN, "badges", "stripes-wider", "badges-original", "badger"]
    assert sections(known, known) == {
        "olivetti": ["olivetti-original", "olivetti"],
        "stripes": ["stripes-original", "stripes"],
        "badges": ["badges-original", "badges"],
        "badger": ["badger"],
        "stripes-wider": ["stripes-original", "stripes", "stripes-wider"],
    }


def test_what_has_not_been_run_is_not_told() -> None:
    known = [*BUILT_IN, "stripes-wider", "badges-original", "badges"]
    assert sections(known, {"stripes", "badges"}) == {"stripes": ["stripes"], "badges": ["badges"]}


def test_sections_of_ones_own_stay_as_they_are_where_nobody_brings_the_recipe(
    tmp_path: Path,
) -> None:
    folders = RunFolders(tmp_path / "recipes", tmp_path / "build")
    for recipe in (STRIPES_ORIGINAL, BADGES, FIRST_TRY, WIDER):
        ran(recipe).write(folders.record(recipe.name, 1))
    built_in = picture_recipes()
    text = write_page(folders, built_in).read_text("utf-8")
    assert "badges" not in text
    assert "stripes-wider" not in text
    own = {recipe.name: recipe for recipe in (BADGES, FIRST_TRY, WIDER)}
    write_page(folders, built_in | own, "badges")
    write_page(folders, built_in | own, "stripes-wider")
    told = folders.page.read_text("utf-8")
    assert told.startswith(text.rstrip())
    assert "| `badges-original` | `badges` |" in told
    assert "| `stripes-original` | `stripes-wider` |" in told
    assert told.count("Measured by `whorl recipes run FILE.json`.") == 2
    assert (folders.out / "badges-roc.png").is_file()
    assert write_page(folders, built_in).read_text("utf-8") == told
