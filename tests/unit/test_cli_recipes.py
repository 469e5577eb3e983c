"""The recipes' page and folders, and what a search proposes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from app.cli import recipes_files
from app.cli.recipes_files import RunFolders, chosen, records_of, systems, write_page
from app.cli.recipes_search import replacement
from app.core.errors import InvalidInput
from app.core.json_ready import json_ready
from app.evaluation.run_record import RunRecord
from app.learning.siamese.originals import ATT_ORIGINAL, FASHION_ORIGINAL, STRIPES_ORIGINAL
from app.learning.siamese.recipe import SiameseRecipe
from app.services.run_recipe import with_seed
from app.services.search_recipe import Trial as SearchTrial
from app.services.search_recipe import best_of, own_values, search_space, with_values
from tests.fakes.runs import run_record

STRIPES = replace(STRIPES_ORIGINAL, name="stripes", wrong="All of it.", changed="All of it.")
KNOWN = {recipe.name: recipe for recipe in (STRIPES, ATT_ORIGINAL, STRIPES_ORIGINAL)}


def ran(recipe: SiameseRecipe, seed: int = 1) -> RunRecord:
    return run_record(recipe=json_ready(with_seed(recipe, seed).to_dict()), seed=seed)


def keep(folders: RunFolders, *records: RunRecord) -> None:
    for record in records:
        record.write(folders.record(record.name, record.seed))


@pytest.fixture
def folders(tmp_path: Path) -> RunFolders:
    return RunFolders(tmp_path / "docs" / "recipes", tmp_path / "build")


def test_systems_are_named_by_their_originals_which_come_first() -> None:
    names = ["default", "faces-shared", "a", "faces", "a-original", "faces-original", "faceless"]
    assert systems(names) == {
        "a": ["a-original", "a"],
        "faces": ["faces-original", "faces", "faces-shared"],
    }


def test_all_recipes_are_run_system_by_system() -> None:
    wanted = ["att-faces-original", "stripes-original", "stripes"]
    assert [recipe.name for recipe in chosen(["all"], KNOWN)] == wanted
    assert [recipe.name for recipe in chosen([], KNOWN)] == wanted
    assert [recipe.name for recipe in chosen(["stripes", "stripes"], KNOWN)] == ["stripes"]


def test_a_recipe_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no recipe 'stripe'") as caught:
        chosen(["stripe"], KNOWN)
    assert caught.value.slug == "unknown_recipe"


def test_a_run_is_kept_for_the_recipe_and_seed_that_made_it(folders: RunFolders) -> None:
    keep(folders, ran(STRIPES))
    assert folders.kept(with_seed(STRIPES, 1)) is not None
    assert folders.kept(with_seed(STRIPES, 2)) is None
    assert folders.kept(with_seed(STRIPES_ORIGINAL, 1)) is None
    assert folders.kept(with_seed(replace(STRIPES, changed="Something."), 1)) is not None
    longer = replace(STRIPES, schedule=replace(STRIPES.schedule, epochs=501))
    assert folders.kept(with_seed(longer, 1)) is None


def test_a_run_that_was_cut_short_is_kept_for_limits_no_looser(folders: RunFolders) -> None:
    keep(folders, replace(ran(STRIPES), stopped="after 3 of 500 epochs by the limit of 12 s"))
    seeded = with_seed(STRIPES, 1)
    assert folders.kept(seeded) is None
    assert folders.kept(seeded, seconds=12.0) is not None
    assert folders.kept(seeded, seconds=60.0) is None
    assert folders.kept(seeded, epochs=3) is not None
    assert folders.kept(seeded, epochs=4) is None
    assert [run.seed for run in records_of(folders, KNOWN)["stripes"]] == [1]


def test_runs_are_told_as_long_as_their_recipe_is_the_same(folders: RunFolders) -> None:
    changed = replace(ATT_ORIGINAL, transfer="stripes")
    unknown = replace(ATT_ORIGINAL, name="gone")
    keep(folders, ran(STRIPES, 2), ran(STRIPES), ran(changed), ran(unknown))
    found = records_of(folders, KNOWN)
    assert {name: [run.seed for run in runs] for name, runs in found.items()} == {"stripes": [1, 2]}


def test_words_are_told_as_they_are_now(folders: RunFolders) -> None:
    keep(folders, ran(replace(STRIPES, wrong="Something.")))
    assert records_of(folders, KNOWN)["stripes"][0].recipe["wrong"] == "All of it."


def test_the_page_is_written_around_prose(folders: RunFolders) -> None:
    folders.page.parent.mkdir(parents=True)
    prose = "# Recipes\n\nWords.\n\n<!-- stripes:begin -->\n<!-- stripes:end -->\n\nMore words.\n"
    folders.page.write_text(prose, "utf-8")
    keep(folders, ran(STRIPES), ran(STRIPES_ORIGINAL), ran(ATT_ORIGINAL))
    write_page(folders, KNOWN, "stripes")
    text = folders.page.read_text("utf-8")
    assert text.startswith("# Recipes\n\nWords.\n")
    assert text.endswith("\nMore words.\n")
    assert "| `stripes-original` | `stripes` |" in text
    assert "`whorl recipes run stripes-original stripes --seeds 1`" in text
    assert (folders.out / "stripes-roc.png").is_file()
    assert not (folders.out / "att-faces-roc.png").exists()
    write_page(folders, KNOWN)
    assert "## att-faces\n" in folders.page.read_text("utf-8")


def test_pages_written_side_by_side_lose_nothing(
    folders: RunFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the first, and prose written while curves are drawn stays."""
    keep(folders, ran(STRIPES), ran(ATT_ORIGINAL))
    drawing, go_on = Event(), Event()
    content = recipes_files._content

    def slow(system: str, runs: Any, folders: RunFolders) -> str:
        if system == "stripes":
            drawing.set()
            assert go_on.wait(20)
        return content(system, runs, folders)

    monkeypatch.setattr(recipes_files, "_content", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(write_page, folders, KNOWN, "stripes")
        assert drawing.wait(20)
        second = pool.submit(write_page, folders, KNOWN, "att-faces-original")
        with pytest.raises(TimeoutError):
            second.result(0.3)
        folders.page.write_text("# Recipes\n\nWords written meanwhile.\n", "utf-8")
        go_on.set()
        first.result(20)
        second.result(20)
    text = folders.page.read_text("utf-8")
    assert "Words written meanwhile." in text
    assert "## stripes\n" in text
    assert "## att-faces\n" in text


def test_a_page_that_cannot_be_written_stays_as_it_was(
    folders: RunFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(folders, ran(STRIPES))
    write_page(folders, KNOWN)
    before = folders.page.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_page(folders, KNOWN)
    assert folders.page.read_bytes() == before
    assert not list(folders.out.parent.rglob("*.partial"))


def test_only_drawn_pictures_may_lie_beside_the_page(folders: RunFolders) -> None:
    for recipe in (STRIPES, ATT_ORIGINAL):
        for seed in (1, 2):
            folders.write_sheet(with_seed(recipe, seed), "samples.png", b"png")
    beside = sorted(path.name for path in folders.out.iterdir())
    assert beside == ["stripes-sheet-samples.png"]
    apart = sorted(path.relative_to(folders.pictures).as_posix()
                   for path in folders.pictures.rglob("*.png"))  # fmt: skip
    assert apart == [
        f"{name}-{seed}/samples.png" for name in ("att-faces-original", "stripes") for seed in "12"
    ]


def test_only_what_plays_a_role_is_searched() -> None:
    always = {"learning_rate", "weight_decay", "batch"}
    assert set(search_space(FASHION_ORIGINAL)) == always | {"dropout", "margin"}
    entropy = replace(FASHION_ORIGINAL.loss, kind="binary_crossentropy_distance")
    assert set(search_space(replace(FASHION_ORIGINAL, loss=entropy))) == always | {"dropout"}
    softmax = replace(FASHION_ORIGINAL.loss, kind="additive_margin_softmax")
    assert {"margin", "scale"} < set(search_space(replace(FASHION_ORIGINAL, loss=softmax)))


@pytest.mark.parametrize("recipe", KNOWN.values(), ids=lambda recipe: recipe.name)
def test_a_search_begins_where_the_recipe_stands(recipe: SiameseRecipe) -> None:
    own = own_values(recipe)
    assert all(r.low <= own[name] <= r.high for name, r in search_space(recipe).items())
    assert own["learning_rate"] == recipe.schedule.learning_rate
    assert isinstance(own["batch"], int)


def test_values_that_were_found_go_where_they_belong() -> None:
    values = {"learning_rate": 0.5, "batch": 16, "margin": 2.0, "dropout": 0.125}
    found = with_values(FASHION_ORIGINAL, values)
    assert (found.schedule.learning_rate, found.schedule.batch) == (0.5, 16)
    assert found.schedule.epochs == FASHION_ORIGINAL.schedule.epochs
    assert found.loss == replace(FASHION_ORIGINAL.loss, margin=2.0)
    stack = found.architecture_params["stack"]
    assert [layer.get("rate") for layer in stack] == [None, None, 0.125, None, None]
    assert FASHION_ORIGINAL.architecture_params["stack"][2]["rate"] == 0.4


def test_the_most_accurate_trial_wins_the_first_of_equals() -> None:
    trials = [SearchTrial(k, {}, accuracy, 1) for k, accuracy in enumerate((None, 0.7, 0.8, 0.8))]
    best = best_of(trials)
    assert best is not None
    assert best.number == 2
    assert best_of(trials[:1]) is None


def test_what_was_found_is_python_for_the_recipe() -> None:
    values = {"learning_rate": 0.5, "weight_decay": 0.25, "batch": 16, "margin": 2.0}
    text = replacement(values)
    namespace = {"replace": replace, "recipe": FASHION_ORIGINAL}
    assert eval(text, namespace) == with_values(FASHION_ORIGINAL, values)
    assert replacement(values | {"dropout": 0.125}).endswith("  # dropout(0.125)")
