"""Runs of recipes side by side in Markdown, and their curves."""

from __future__ import annotations

import pytest

from app.evaluation.recipe_curves import MOST_CURVES, curve_scores, system_curves
from app.evaluation.recipe_tables import amount, commands, figures_table, spread, system_block
from tests.fakes.runs import RECIPE, run_record

ACCURACY = "Accuracy, pairs of single pictures"


def rows_of(table: str) -> dict[str, list[str]]:
    """Cells by the first one of their row."""
    lines = [line.strip("|\n ").split(" | ") for line in table.splitlines() if "|" in line]
    return {first.strip("| "): [cell.strip() for cell in rest] for first, *rest in lines}


IMPROVED = run_record(
    "dots",
    recipe=RECIPE
    | {
        "name": "dots",
        "wrong": "Pairs were blind.",
        "changed": "Pairs are balanced.",
        "data": {"split": "subject", "mixed_conditions": False},
    },
)
BOTH = {"dots-original": [run_record()], "dots": [IMPROVED]}


def test_seeds_are_told_by_mean_and_range() -> None:
    seeds = [run_record(seed=k, figures={"pairs": 4.0, "accuracy": a}) for k, a in
             ((1, 0.5), (2, 0.75), (3, 1.0))]  # fmt: skip
    rows = rows_of(figures_table({"dots-original": seeds}))
    assert rows[ACCURACY] == ["0.900", "0.750 (0.500-1.000)"]
    assert rows["Seeds"] == ["-", "1, 2, 3"]
    assert not any(row.startswith("Precision") for row in rows)


@pytest.mark.parametrize(
    ("values", "told"),
    [([], "-"), ([None], "-"), ([0.5, None], "0.500"), ([1.0, 2.0], "1.500 (1.000-2.000)"),
     ([1234.5], "1,234")],
)  # fmt: skip
def test_what_is_no_number_is_left_out(values: list[float | None], told: str) -> None:
    assert spread(values) == told


@pytest.mark.parametrize(
    ("count", "told"),
    [(12, "12"), (1234, "1.23 k"), (431e6, "431 M"), (2.9e12, "2.9 T"), (3e15, "3 P")],
)
def test_large_amounts_are_told_in_words(count: float, told: str) -> None:
    assert amount(count) == told


def test_recipes_stand_side_by_side_with_what_the_original_reports() -> None:
    table = figures_table(BOTH)
    assert table.splitlines()[0] == "|  | The original reports | `dots-original` | `dots` |"
    rows = rows_of(table)
    assert rows[ACCURACY] == ["0.900", "0.750", "0.750"]
    assert rows["Tested on"][1:] == [
        "other pictures of the classes learned from",
        "classes never seen in training",
    ]
    assert rows["Multiply-adds a picture"] == ["-", "5 M", "5 M"]
    assert rows["Multiply-adds of the training"] == ["-", "about 15 G", "about 15 G"]
    assert rows["Training loss at the end"] == ["-", "0.333", "0.333"]
    assert rows["Epochs run"] == ["-", "3 of 3", "3 of 3"]


def test_a_run_that_was_cut_short_says_so() -> None:
    short = run_record(epochs_planned=70, stopped="after 3 of 70 epochs by the limit of 60 s")
    block = system_block({"dots-original": [short]}, "dots", [])
    assert "**3 of 70, cut short**" in block
    assert (
        "**Cut short**, so that these figures are not what the recipe can do: `dots-original` with "
        "seed 1 (after 3 of 70 epochs by the limit of 60 s).\n"
    ) in block


def test_a_fit_that_found_its_end_by_itself_was_not_cut_short() -> None:
    early = run_record(
        epochs_planned=70, stopped="after 3 of 70 epochs without a lower validation loss"
    )
    assert rows_of(figures_table({"dots": [early]}))["Epochs run"] == ["-", "3 of 70"]
    block = system_block({"dots": [early]}, "dots", [])
    assert "ut short" not in block
    assert "Ended by themselves: `dots-original` with seed 1 (after 3 of 70 epochs without" in block


def test_the_cost_of_a_run_that_was_cut_short_is_told_beside_that_of_a_whole_one() -> None:
    short = run_record(epochs_planned=30, stopped="after 3 of 30 epochs by the limit of 60 s")
    rows = rows_of(figures_table({"dots": [short]}))
    assert rows["Multiply-adds of the training"] == ["-", "about 15 G of about 150 G"]


def test_sizes_that_differ_by_seed_are_told_as_a_range() -> None:
    parts = {"test": {"pictures": 25, "classes": 4, "subjects": 4}}
    rows = rows_of(figures_table({"dots": [run_record(), run_record(seed=2, parts=parts)]}))
    assert rows["Test classes, pictures, pairs"] == ["-", "4, 20-25, 4"]


def test_what_a_threshold_of_the_tests_own_would_give_is_told() -> None:
    title = "Accuracy of pairs, had the test chosen the threshold"
    # Genuine 0.6 and 0.9, impostor 0.1 and 0.7: any threshold errs once.
    assert rows_of(figures_table({"dots": [run_record()]}))[title] == ["-", "0.750"]
    apart = run_record(impostor=[0.1, 0.2])
    assert rows_of(figures_table({"dots": [apart]}))[title] == ["-", "1.000"]
    assert title not in figures_table({"dots": [run_record(impostor=[])]})


def test_what_was_read_is_told_once() -> None:
    read = ["9 pictures of 3 classes", "1 skipped"]
    runs = {"dots": [run_record(reading=read), run_record(seed=2, reading=read)]}
    assert "Read: 9 pictures of 3 classes; 1 skipped.\n" in system_block(runs, "dots", [])
    assert "Read:" not in system_block(BOTH, "dots", [])


def test_the_commands_name_the_seeds() -> None:
    runs = {"one": [run_record(seed=k) for k in (1, 2, 3)], "two": [run_record(seed=3)]}
    more = runs | {"three": [run_record(seed=10)]}
    assert commands(runs) == "`whorl recipes run one two --seeds 3`"
    assert commands(more) == f"{commands(runs)}, `whorl recipes run three --seeds 10`"


def test_the_loss_that_an_original_reports_is_that_of_its_training() -> None:
    figures = {"pairs": 4.0, "accuracy": 0.75, "loss": 0.5}
    told = run_record(recipe=RECIPE | {"reported": {"loss": 0.25}}, figures=figures)
    rows = rows_of(figures_table({"dots-original": [told]}))
    assert rows["Training loss at the end"] == ["0.250", "0.333"]
    assert rows["Loss of the test pairs"] == ["-", "0.500"]


def test_claims_are_explained_where_pictures_are_enrolled() -> None:
    figures = {"pairs": 4.0, "accuracy": 0.75, "claim_accuracy": 0.9, "rank_one": 1.0}
    recipe = IMPROVED.recipe | {"protocol": {"one_against_all": True, "enrolled": 5}}
    runs = BOTH | {"dots": [run_record("dots", recipe=recipe, figures=figures)]}
    rows = rows_of(figures_table(runs))
    assert rows["Pictures enrolled a class"] == ["-", "-", "5"]
    assert rows["Claims decided rightly (balanced)"] == ["-", "-", "0.900"]
    assert rows["Right class first, one against all"] == ["-", "-", "1.000"]
    assert "A claim is one picture, the probe, against" in system_block(runs, "dots", [])
    without = system_block(BOTH, "dots", [])
    assert "claim" not in without
    assert "Pictures enrolled" not in without


def test_what_was_wrong_and_what_changed_is_told_of_the_recipe_that_says_it() -> None:
    block = system_block(BOTH, "dots", [])
    assert "- **What was wrong** (`dots`): Pairs were blind.\n" in block
    assert "- **What changed** (`dots`): Pairs are balanced.\n" in block
    assert "(`dots-original`)" not in block


def test_a_symptom_is_told_once_with_the_number_of_seeds() -> None:
    found = [{"epoch": 2, "name": "collapse", "detail": "all alike"}]
    runs = [run_record(seed=k, symptoms=found if k < 3 else []) for k in (1, 2, 3)]
    block = system_block({"dots-original": runs}, "dots", [])
    assert block.count("all alike") == 1
    assert "`dots-original`, 2 of 3 seeds, from epoch 2 (seed 1): all alike." in block


def test_altered_copies_are_never_called_verification() -> None:
    data = {"split": "picture", "mixed_conditions": True}
    figures = {"pairs": 2.0, "accuracy": 0.5, "precision": None, "recall": 0.0, "roc_auc": 0.4}
    altered = run_record(recipe=RECIPE | {"data": data}, by_condition={"hard": figures})
    block = system_block({"dots-original": [altered]}, "dots", [])
    assert block.startswith("**Near-duplicate detection")
    assert "no error rates of verification" in block
    assert rows_of(block)["hard"][:4] == ["`dots-original`", "2.000", "0.500", "-"]
    assert "Near-duplicate" not in system_block(BOTH, "dots", [])


def test_conditions_are_told_in_order_also_where_an_older_record_lacks_some() -> None:
    figures = {"pairs": 2.0, "accuracy": 0.5}
    older = run_record(by_condition=dict.fromkeys(["easy", "medium"], figures))
    newer = run_record("dots", by_condition=dict.fromkeys(["easy", "medium", "men"], figures))
    block = system_block({"dots-original": [older], "dots": [newer]}, "dots", [])
    begins = ("| easy |", "| medium |", "| men |")
    told = [line for line in block.splitlines() if line.startswith(begins)]
    assert [line.split(" | ")[0] for line in told] == [
        "| easy", "| easy", "| medium", "| medium", "| men", "| men",
    ]  # fmt: skip
    assert told[4].startswith("| men | `dots-original` | - | - |")
    assert told[5].startswith("| men | `dots` | 2.000 | 0.500 |")


def test_losses_and_roc_are_shown_and_the_rest_linked() -> None:
    block = system_block(BOTH, "dots", ["dots-loss", "dots-roc", "dots-decisions"])
    assert "![dots-loss](dots/dots-loss.png) ![dots-roc](dots/dots-roc.png)" in block
    assert "[dots-decisions](dots/dots-decisions.png)" in block
    assert "![dots-decisions]" not in block


def test_every_curve_is_a_picture_and_named_after_recipe_or_system() -> None:
    searched = run_record(search_scores=[[0.9, 0.1], [0.2, 0.8]])
    curves = dict(system_curves("dots", {"dots-original": [searched], "dots": [IMPROVED]}))
    assert list(curves) == [
        "dots-original-loss", "dots-loss", "dots-roc", "dots-precision-recall",
        "dots-original-decisions", "dots-original-scores", "dots-decisions",
    ]  # fmt: skip
    assert all(png.startswith(b"\x89PNG") for png in curves.values())


def test_curves_are_of_single_runs_unless_they_are_too_many() -> None:
    few = {"dots": [run_record(seed=k) for k in (1, 2)]}
    assert list(curve_scores(few)) == ["dots, seed 1", "dots, seed 2"]
    many = {"dots": [run_record(seed=k) for k in range(1, MOST_CURVES + 2)], "one": [IMPROVED]}
    found = curve_scores(many)
    assert list(found) == [f"dots, {MOST_CURVES + 1} seeds together", "one, 1 seed together"]
    together = found[f"dots, {MOST_CURVES + 1} seeds together"]
    assert sorted(set(together.genuine.tolist())) == pytest.approx([0.6, 0.9])
    assert len(together.impostor) == 2 * (MOST_CURVES + 1)
