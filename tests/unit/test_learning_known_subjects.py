"""From whom a model may have learned, as its manifest tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.core.types import PreparedSample
from app.learning.folders import LabelledSamples, split_subjects
from app.learning.known_subjects import FACT, NOBODY, KnownSubjects
from app.learning.site_data import strangers_only


def labelled(subjects: list[str], fingers: int = 2) -> LabelledSamples:
    nothing = PreparedSample(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32))
    rows = [(s, f"{s}_{f}") for s in subjects for f in range(fingers) for _ in range(2)]
    return LabelledSamples(
        (nothing,) * len(rows), tuple(f for _, f in rows), tuple(s for s, _ in rows), {}
    )


def people(count: int) -> list[str]:
    return [f"person {k}" for k in range(count)]


@given(st.integers(4, 30), st.integers(4, 60))
def test_whoever_was_learned_from_is_never_a_stranger(before: int, after: int) -> None:
    """Also where the folder grew or shrank between the two trainings."""
    learned, _ = split_subjects(labelled(people(before)), 0.7)
    known = KnownSubjects.of_split(learned)
    _, kept = split_subjects(labelled(people(after)), 0.7)
    strangers = {kept.subjects[row] for row in known.strangers(kept)}
    assert not strangers & set(learned.subjects)


def test_a_split_that_stays_leaves_all_held_out_as_strangers() -> None:
    learned, kept = split_subjects(labelled(people(60)), 0.7)
    known = KnownSubjects.of_split(learned)
    assert known.finger == 0.0
    assert len(known.strangers(kept)) == len(kept.samples)
    assert len(known.strangers(learned)) == 0


def test_a_split_by_finger_is_remembered_as_one() -> None:
    learned, _ = split_subjects(labelled(["one", "two"], fingers=8), 0.7)
    known = KnownSubjects.of_split(learned)
    assert known.subject == 0.0 < known.finger < 1.0
    part = labelled(["one", "two"], fingers=8)
    left = {part.fingers[row] for row in known.strangers(part)}
    assert left
    assert not left & set(learned.fingers)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_manifest_gives_back_what_was_written(a: float, b: float, c: float, d: float) -> None:
    both = KnownSubjects(a, b).and_also(KnownSubjects(c, d))
    assert both == KnownSubjects(max(a, c), max(b, d))
    assert KnownSubjects.of_manifest({"data": {FACT: both.to_dict()}}, "parent") == both


def test_a_model_that_does_not_say_may_know_anybody() -> None:
    anybody = KnownSubjects(1.0, 1.0)
    of = KnownSubjects.of_manifest
    assert of({"data": {"kind": "synthetic"}}, None) == NOBODY
    assert of({"data": {"kind": "synthetic"}}, "its parent may have learned") == anybody
    assert of({"data": {"kind": "folder"}}, None) == anybody
    assert of({"data": {"kind": "synthetic", FACT: "all"}}, None) == NOBODY
    assert of({}, None) == anybody
    for bound in (-1, 2, "0", None, float("nan")):
        data = {"kind": "synthetic", FACT: {"subject": 0.0, "finger": bound}}
        assert of({"data": data}, None) == anybody


@given(st.integers(4, 12))
def test_a_set_that_the_champion_may_know_is_left_out_and_the_report_says_so(count: int) -> None:
    _, kept = split_subjects(labelled(people(count)), 0.7)
    assume(len(kept.samples))
    samples, reason = strangers_only(kept, NOBODY)
    assert (samples, reason) == (kept, None)
    samples, reason = strangers_only(kept, KnownSubjects(1.0, 1.0))
    assert samples is None
    assert reason is not None
    fingers = len(set(kept.fingers))
    assert f"may have learned from {fingers} of {fingers} held-out fingers" in reason.reason


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.0, 1.0)])
def test_either_bound_excludes(bounds: tuple[float, float]) -> None:
    part = labelled(people(5))
    assert len(KnownSubjects(*bounds).strangers(part)) == 0


SETS = st.frozensets(st.sampled_from("abc"))


@given(SETS, SETS)
def test_a_line_spares_what_all_its_trainings_spared(
    one: frozenset[str], two: frozenset[str]
) -> None:
    first, second = KnownSubjects(0.5, 0.0, one), KnownSubjects(0.7, 0.0, two)
    assert first.and_also(second) == KnownSubjects(0.7, 0.0, one & two)
    assert NOBODY.and_also(first) == first
    assert NOBODY.spares("abc")
    assert first.spares(one)
    assert first.spares("abc") == (one == frozenset("abc"))
    assert KnownSubjects.of_manifest({"data": {FACT: first.to_dict()}}, "parent") == first


@pytest.mark.parametrize("spared", ["abc", [1], None])
def test_a_list_that_is_none_spares_nobody(spared: object) -> None:
    told = {"subject": 0.1, "finger": 0.0, "spared": spared}
    known = KnownSubjects.of_manifest({"data": {FACT: told}}, "parent")
    assert known == KnownSubjects(1.0, 1.0)
