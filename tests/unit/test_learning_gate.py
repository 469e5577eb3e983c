"""The gate's verdict from figures, one criterion after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.evaluation.label_check import LabelCheck, Suspect
from app.evaluation.paired_figures import Difference, GroupFigures, NotJudged, PairedFigures, Rate
from app.learning.gate import (
    GateDecision,
    GateFigures,
    Golden,
    Latency,
    decide,
    not_comparable,
)


def rate(fnmr: float) -> Rate:
    return Rate(fnmr, (fnmr - 0.01, fnmr + 0.01))


def paired(name: str, old: float, new: float, width: float = 0.01, **changed: Any) -> PairedFigures:
    apart = Difference(new - old, new - old - width, new - old + width)
    found = PairedFigures(
        name, 1e-4, "subject", 60, 360, 28_000, 0.01, 0.02, rate(new), rate(old), apart
    )
    return replace(found, **changed)


def group(old: float, new: float, width: float = 0.01, genuine: int = 90) -> GroupFigures:
    apart = Difference(new - old, new - old - width, new - old + width)
    return GroupFigures("device", "old one", genuine, 20, rate(new), rate(old), apart)


GOOD = GateFigures(
    "site",
    (paired("synthetic", 0.03, 0.03), paired("site", 0.2, 0.1)),
    (1e-5, 1e-5),
    Golden(0.001, 0.02),
    Latency(20.0, 20.0, 11),
    LabelCheck(35, 35),
)


def failed(decision: GateDecision) -> list[str]:
    return [found.criterion for found in decision.findings if found.passed is False]


def with_sets(*sets: PairedFigures | NotJudged) -> GateFigures:
    return replace(GOOD, sets=sets)


def test_a_model_that_gains_and_loses_nowhere_is_better() -> None:
    decision = decide(GOOD)
    assert decision.better
    assert [found.criterion for found in decision.findings] == [
        "calibration", "golden", "latency", "labels", "fnmr", "fnmr", "gain",
    ]  # fmt: skip
    assert not any("(" in reason for reason in decision.reasons)
    assert decision.reasons[4] == (
        "synthetic: FNMR at FMR 0.01 % 0.0300 -> 0.0300, at 95 % confidence at most +0.0100, "
        "allowed +0.0200"
    )


def test_what_could_be_worse_by_more_than_the_margin_is_refused_though_it_looks_better() -> None:
    decision = decide(with_sets(paired("synthetic", 0.03, 0.02, 0.04), GOOD.sets[1]))
    assert (decision.better, failed(decision)) == (False, ["fnmr"])
    assert decision.reasons[4].endswith("(not passed)")
    assert decide(with_sets(paired("synthetic", 0.03, 0.038, 0.01), GOOD.sets[1])).better


def test_the_target_must_gain() -> None:
    for new, eer, gained in ((0.19, 0.03, True), (0.2, 0.01, True), (0.2, 0.02, False)):
        target = paired("site", 0.2, new, challenger_eer=eer)
        assert decide(with_sets(target)).better is gained
    assert failed(decide(with_sets(paired("site", 0.2, 0.201)))) == ["gain"]
    assert decide(with_sets(paired("synthetic", 0.2, 0.201), GOOD.sets[1])).better


def test_a_target_that_could_not_be_judged_shows_no_gain_and_another_set_has_no_say() -> None:
    too_few = NotJudged("site", "3 fingers")
    assert failed(decide(with_sets(GOOD.sets[0], too_few))) == ["fnmr"]
    decision = decide(with_sets(NotJudged("synthetic", "3 fingers"), GOOD.sets[1]))
    assert decision.better
    assert decision.reasons[4] == "synthetic: not judged: 3 fingers (no say)"


@pytest.mark.parametrize(
    ("found", "passed"),
    [
        (group(0.1, 0.16, 0.05), False),
        (group(0.1, 0.16, 0.07), True),  # may be chance
        (group(0.1, 0.14, 0.01), True),  # within the margin
        (group(0.1, 0.3, 0.01, genuine=29), None),
        (replace(group(0.1, 0.3), drawn=7), None),
    ],
)
def test_a_group_must_not_pay_for_the_rest(found: GroupFigures, passed: bool | None) -> None:
    decision = decide(with_sets(paired("site", 0.2, 0.1, groups=(found,))))
    assert decision.findings[-1].passed is passed
    assert decision.findings[-1].subject == "site, device old one"
    assert decision.better is (passed is not False)


@pytest.mark.parametrize("difference", [0.021, float("inf"), float("nan")])
def test_an_export_that_is_not_what_was_trained_is_refused(difference: float) -> None:
    assert failed(decide(replace(GOOD, golden=Golden(difference, 0.02)))) == ["golden"]


@pytest.mark.parametrize(
    ("new_ms", "old_ms", "passed"),
    [(30.0, 20.0, True), (31.0, 20.0, False), (5.9, 1.0, True), (6.1, 1.0, False)],
)
def test_a_model_must_not_be_much_slower(new_ms: float, old_ms: float, passed: bool) -> None:
    decision = decide(replace(GOOD, latency=Latency(new_ms, old_ms, 11)))
    assert decision.better is passed
    assert f"{old_ms:.1f} ms -> {new_ms:.1f} ms" in decision.reasons[2]


def test_labels_that_contradict_the_champion_keep_the_model_out() -> None:
    found = (Suspect("a", "same_as", "b", 4), Suspect("b", "falls_apart", "", 2))
    decision = decide(replace(GOOD, labels=LabelCheck(35, 35, found)))
    assert failed(decision) == ["labels"]
    assert "2 of 35 fingers" in decision.reasons[3]
    assert decide(replace(GOOD, labels=None)).better


@pytest.mark.parametrize(
    ("new_fmr", "old_fmr", "enough"),
    [
        (1e-4, 1e-6, True),  # the rate in use is supported, whatever the champion could
        (1.1e-4, 1e-6, False),
        (1e-2, 1e-2, True),  # the champion could not do better either
        (1e-2, 1e-3, False),
        (1e-6, 1e-2, True),
    ],
)
def test_a_calibration_must_support_the_rates_in_use(
    new_fmr: float, old_fmr: float, enough: bool
) -> None:
    decision = decide(replace(GOOD, minimum_fmr=(new_fmr, old_fmr)))
    assert decision.better is enough
    assert decision.reasons[0].startswith("calibration: supports FMR")


def test_a_model_of_another_kind_is_for_a_person_to_decide() -> None:
    decision = not_comparable("0123", "pictures")
    assert failed(decision) == ["comparable"]
    assert "(0123, pictures)" in decision.reasons[0]
