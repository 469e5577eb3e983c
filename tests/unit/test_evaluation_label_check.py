"""Labels against scores: what is found, and that right labels are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.types import FloatArray
from app.evaluation.label_check import (
    LabelCheck,
    LabelThresholds,
    Suspect,
    check_labels,
    tells_apart,
)
from app.evaluation.protocol import all_pairs
from app.evaluation.rates import pair_scores

THRESHOLDS = LabelThresholds(half=0.2, apart=0.45, link=0.6, match=0.7)


def scores_of(truth: list[str], seed: int = 0, impostor: float = 0.2) -> FloatArray:
    """A model that tells fingers apart: genuine around 0.85, impostors around 0.2."""
    rng = np.random.default_rng(seed)
    same = np.equal.outer(np.array(truth), np.array(truth))
    noise = rng.uniform(-0.1, 0.1, same.shape)
    return np.asarray(np.where(same, 0.85, impostor) + noise, np.float32)


def fingers(count: int, captures: int = 4) -> list[str]:
    return [f"f{k}" for k in range(count) for _ in range(captures)]


def found(labels: list[str], truth: list[str]) -> tuple[Suspect, ...]:
    return check_labels(labels, scores_of(truth), THRESHOLDS)


@given(st.integers(2, 8), st.integers(1, 5))
def test_right_labels_are_left_alone(count: int, captures: int) -> None:
    truth = fingers(count, captures)
    assert found(truth, truth) == ()


@pytest.mark.parametrize("captures", [2, 3, 8])
def test_two_fingers_under_one_label_fall_apart(captures: int) -> None:
    truth = fingers(6, captures)
    labels = ["f1" if label == "f0" else label for label in truth]
    assert found(labels, truth) == (Suspect("f1", "falls_apart", "", captures),)


def test_one_finger_under_two_labels_is_the_same() -> None:
    truth = fingers(6, 4)
    labels = [*truth[:2], "again", "again", *truth[4:]]
    assert found(labels, truth) == (Suspect("f0", "same_as", "again", 2),)


def test_swapped_captures_stray() -> None:
    truth = fingers(6, 4)
    labels = list(truth)
    labels[0], labels[4] = labels[4], labels[0]
    assert set(found(labels, truth)) == {
        Suspect("f0", "strays", "f1", 1),
        Suspect("f1", "strays", "f0", 1),
    }


def test_shuffled_labels_are_scattered() -> None:
    truth = fingers(30, 4)
    labels = np.random.default_rng(1).permutation(truth).tolist()
    suspects = LabelCheck(30, 30, found(labels, truth)).suspects
    assert len(suspects) > 25


def test_a_model_that_does_not_know_its_own_objects_to_nothing() -> None:
    """Genuine comparisons that do not match are no contradiction."""
    truth = fingers(8, 4)
    low = scores_of(truth) - 0.5
    assert check_labels(truth, low, THRESHOLDS) == ()


def test_thresholds_move_with_a_sensor_that_makes_all_alike() -> None:
    truth = fingers(10, 4)
    scores = scores_of(truth, impostor=0.8)
    impostor = pair_scores(scores, all_pairs(truth)).impostor
    assert check_labels(truth, scores, THRESHOLDS) != ()  # false alarms, as they are
    moved = THRESHOLDS.moved(impostor)
    assert moved.match == pytest.approx(0.7 + 0.6, abs=0.01)
    assert check_labels(truth, scores, moved) == ()
    assert THRESHOLDS.moved(impostor - 0.9) == THRESHOLDS  # never down


def test_a_model_that_matches_all_with_all_is_not_asked() -> None:
    truth = fingers(10, 4)
    able = pair_scores(scores_of(truth), all_pairs(truth))
    assert tells_apart(able, THRESHOLDS.match)
    shuffled = np.random.default_rng(1).permutation(truth).tolist()
    assert tells_apart(pair_scores(scores_of(truth), all_pairs(shuffled)), THRESHOLDS.match)
    blind = pair_scores(scores_of(truth, impostor=0.75), all_pairs(truth))
    assert not tells_apart(blind, THRESHOLDS.match)


def test_suspects_are_named_once() -> None:
    check = LabelCheck(9, 9, (Suspect("b", "same_as", "a", 4), Suspect("a", "falls_apart", "", 2)))
    assert check.suspects == ("a", "b")


def test_labels_are_called_otherwise_where_there_is_another_name() -> None:
    findings = (Suspect("a", "same_as", "b", 2), Suspect("b", "scattered", "", 1))
    check = LabelCheck(3, 3, findings)
    renamed = check.renamed({"a": "1", "c": "3"})
    assert renamed.findings == (Suspect("1", "same_as", "b", 2), Suspect("b", "scattered", "", 1))
    assert renamed.suspects == ("1", "b")
    assert check.findings == findings
