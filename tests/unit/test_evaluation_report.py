from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from app.core.errors import InvalidInput
from app.core.types import FloatArray
from app.evaluation.plots import COLOURS, det_png, histogram_png
from app.evaluation.protocol import all_pairs
from app.evaluation.rates import Scores, pair_scores
from app.evaluation.report import error_ratio, evaluate_scores
from app.evaluation.tables import altered_table, markdown_table

FINGERS = [f"{101 + i // 8}" for i in range(80)]


def matrix_of(fingers: list[str], overlap: float = 0.2) -> FloatArray:
    """Genuine scores around 0.7, impostor scores around 0, symmetric."""
    rng = np.random.default_rng(0)
    same = np.asarray(fingers)[:, None] == np.asarray(fingers)[None]
    noise = rng.normal(0.0, overlap, same.shape)
    found: FloatArray = (np.where(same, 0.7, 0.0) + np.triu(noise) + np.triu(noise, 1).T).astype(
        np.float32
    )
    return found


def test_the_json_form_has_the_fields_that_programs_read() -> None:
    data = evaluate_scores("DB1_B", FINGERS, matrix_of(FINGERS), {3}).to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert (data["genuine"], data["impostor"]) == (280, 2880)
    assert (data["fingers"], data["images"], data["fte"]) == (10, 80, 1 / 80)
    assert data["protocol"] == "all_pairs"
    assert set(data["fnmr_at_fmr"]) == {"0.01", "0.001"}
    assert data["fmr100"] == data["fnmr_at_fmr"]["0.01"]
    assert data["fmr1000"] == data["fnmr_at_fmr"]["0.001"] <= data["zero_fmr"]
    low, high = data["intervals"]["eer"]
    assert low <= data["eer"] <= high
    low, high = data["intervals"]["fnmr_at_fmr"]["0.01"]
    assert low <= data["fmr100"] <= high
    assert data["baselines"] == {}


def test_what_the_counts_cannot_say_is_null() -> None:
    fvc = evaluate_scores("DB1_B", FINGERS, matrix_of(FINGERS)).to_dict()["fvc"]
    assert (fvc["protocol"], fvc["genuine"], fvc["impostor"]) == ("fvc", 280, 45)
    assert fvc["fnmr_at_fmr"] == {"0.01": None, "0.001": None}
    assert fvc["intervals"]["fnmr_at_fmr"] == {"0.01": None, "0.001": None}
    assert fvc["fmr100"] is None
    assert 0.0 <= fvc["eer"] <= fvc["zero_fmr"] <= 1.0


def test_figures_worked_out_by_hand() -> None:
    matrix = np.zeros((4, 4), np.float32)
    matrix[0, 1], matrix[2, 3] = 0.9, 0.2
    matrix[0, 2], matrix[0, 3], matrix[1, 2], matrix[1, 3] = 0.1, 0.3, 0.0, 0.1
    found = evaluate_scores("four", ["a", "a", "b", "b"], matrix, bootstrap=0)
    assert found.eer == pytest.approx((0.25 + 0.0) / 2)
    assert found.zero_fmr == 0.5
    assert found.fnmr_at_fmr == {"0.01": None, "0.001": None}
    assert found.eer_interval is None
    assert found.fvc is not None
    assert (found.fvc.impostor, found.fvc.eer) == (1, 0.0)


def test_a_failure_to_enrol_costs_its_genuine_pairs() -> None:
    perfect = matrix_of(FINGERS, overlap=0.01)
    assert evaluate_scores("s", FINGERS, perfect, bootstrap=0).zero_fmr == 0.0
    assert evaluate_scores("s", FINGERS, perfect, {0}, bootstrap=0).zero_fmr == 7 / 280


def test_the_same_seed_gives_the_same_figures() -> None:
    matrix = matrix_of(FINGERS)
    one = evaluate_scores("s", FINGERS, matrix, bootstrap=20, seed=1)
    assert one == evaluate_scores("s", FINGERS, matrix, bootstrap=20, seed=1)
    assert (
        one.eer_interval != evaluate_scores("s", FINGERS, matrix, bootstrap=20, seed=2).eer_interval
    )


def test_a_baseline_has_the_same_form_and_stands_beside_under_both_protocols() -> None:
    own = evaluate_scores("s", FINGERS, matrix_of(FINGERS), bootstrap=20)
    other = evaluate_scores("s", FINGERS, matrix_of(FINGERS, 0.5), {1}, bootstrap=20)
    found = own.beside({"nbis": other})
    data = found.to_dict()
    assert data["baselines"] == {"nbis": other.to_dict()}
    assert set(data["baselines"]["nbis"]) == set(data)
    assert {key: value for key, value in data.items() if key != "baselines"} == {
        key: value for key, value in own.to_dict().items() if key != "baselines"
    }
    assert found.fvc is not None
    assert found.fvc.baselines == {"nbis": other.fvc}


def test_the_table_shows_a_baseline_where_there_is_one() -> None:
    own = evaluate_scores("s", FINGERS, matrix_of(FINGERS), bootstrap=20)
    other = evaluate_scores("s", FINGERS, matrix_of(FINGERS, 0.5), bootstrap=20)
    head, _, with_it, without = markdown_table([own.beside({"nbis": other}), own]).splitlines()
    column = head.split(" | ").index("EER of NBIS")
    assert head.split(" | ")[column - 1] == "EER"
    assert with_it.split(" | ")[column].startswith(f"{100 * other.eer:.1f} % (")
    assert without.split(" | ")[column] == "-"


def test_probes_that_failed_cost_only_their_own_comparisons() -> None:
    perfect = matrix_of(FINGERS, overlap=0.01)
    found = evaluate_scores("s", FINGERS, perfect, (), failed_probes={6, 7}, bootstrap=0)
    # Of a finger's 8 samples the seventh is the probe of one pair and the last of none.
    assert found.zero_fmr == 1 / 280
    assert found.fte == 2 / 80
    both = evaluate_scores("s", FINGERS, perfect, {7}, failed_probes={6}, bootstrap=0)
    assert both.zero_fmr == 7 / 280


def test_the_cost_of_altered_probes_is_a_ratio() -> None:
    before = evaluate_scores("s", FINGERS, matrix_of(FINGERS), bootstrap=0)
    after = evaluate_scores("s", FINGERS, matrix_of(FINGERS, 0.4), (), bootstrap=0)
    ratio = error_ratio(after, before)
    assert ratio["eer"] == after.eer / before.eer > 1.0
    lost = [found.fnmr_at_fmr["0.01"] or 0.0 for found in (after, before)]
    assert ratio["fnmr_at_fmr"]["0.01"] == lost[0] / lost[1] > 1.0
    row = altered_table([(after, before)]).splitlines()[2]
    assert f"| {100 * before.eer:.1f} % → {100 * after.eer:.1f} % (x {ratio['eer']:.2f}) |" in row
    perfect = evaluate_scores("s", FINGERS, matrix_of(FINGERS, 0.01), bootstrap=0)
    assert error_ratio(after, perfect)["eer"] is None


def test_sets_that_cannot_be_evaluated_are_refused() -> None:
    for fingers in ([], ["a"], ["a", "a"], ["a", "b"]):
        with pytest.raises(InvalidInput) as caught:
            evaluate_scores("s", fingers, np.zeros((len(fingers),) * 2, np.float32))
        assert caught.value.slug == "too_few_samples"
    with pytest.raises(ValueError, match="do not fit"):
        evaluate_scores("s", ["a", "b"], np.zeros((3, 3), np.float32))


def test_the_table_has_a_row_for_each_set() -> None:
    found = evaluate_scores("DB1_B", FINGERS, matrix_of(FINGERS), {3})
    assert found.fvc is not None
    head, rule, row, fvc = markdown_table([found, found.fvc]).splitlines()
    assert head.count("|") == rule.count("|") == row.count("|") == fvc.count("|")
    assert row.startswith("| DB1_B | 10 | 80 | 280 | 2,880 | 1.2 % |")
    assert f" {100 * found.eer:.1f} % (" in row
    assert fvc.count("too few pairs") == 2


def pixels_of(png: bytes, colour: str) -> int:
    rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return int((np.asarray(image.convert("RGB")) == rgb).all(axis=-1).sum())


def test_the_det_plot_draws_each_set() -> None:
    found = pair_scores(matrix_of(FINGERS), all_pairs(FINGERS), {3})
    one, two = det_png({"one": found}), det_png({"one": found, "two": found})
    assert pixels_of(one, COLOURS[0]) > 100
    assert pixels_of(one, COLOURS[1]) == 0
    assert pixels_of(two, COLOURS[1]) > 100
    other = pair_scores(matrix_of(FINGERS, 0.5), all_pairs(FINGERS))
    beside = det_png({"one": found}, baselines={"nbis": {"one": other}})
    assert pixels_of(beside, COLOURS[0]) > pixels_of(one, COLOURS[0]) + 100


def test_the_histogram_draws_what_is_finite() -> None:
    found = pair_scores(matrix_of(FINGERS), all_pairs(FINGERS), {3})
    failed = Scores(np.full(3, -np.inf, np.float32), np.full(3, -np.inf, np.float32))
    assert len(histogram_png(found)) > len(histogram_png(failed)) > 1000
