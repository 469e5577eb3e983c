"""The shipped model as champion, trainings on wrong labels, and what keeps those out of service.

The fits are real and short: what stops such a training is not what its model then does, which
``test_poisoned_labels`` looks at, but that its labels contradict a model that knows fingers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from app.core.errors import Cancelled
from app.core.params import MatchingParams
from app.learning.folders import LabelledSamples, split_subjects
from app.learning.gate import GateDecision, Latency, decide
from app.learning.gate_report import GateReport
from app.learning.gathering import LEARNED_SHARE
from app.learning.order import BaseModel, Order
from app.learning.recipes import (
    SERVED_CONTRAST,
    SERVED_NOISE,
    Population,
    PoseSchedule,
    Recipe,
    Schedule,
)
from app.learning.train import train
from app.networks.device import Device, find_device
from app.services.training_base import print_champion
from app.settings import Settings
from model_store import Registry
from tests.fakes.site_prints import SitePrints, site_prints
from tests.fakes.training import grow_here

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("uncompiled")]

NARROW = MatchingParams((-10.0, 0.0, 10.0), 2, 20.0)
"""A search that costs a small part of the shipped model's. It finds no higher scores than that one
does, so what matches by it matches there too."""
SHORT = Recipe(
    "short",
    "for tests",
    matching=NARROW,
    population=Population(training=4, held_out=8, impressions=2, calibration=8, seed=500),
    schedule=Schedule(2, 2, 4, 3e-4, 1, 1e-3, 1),
    contrast=SERVED_CONTRAST,
    noise=SERVED_NOISE,
    pose=PoseSchedule(steps=0),
)
PERSONS, FINGERS_EACH = 12, 2
FEW = 8
"""Persons of the trainings on wrong labels, which need none to be compared on."""
READERS = ("white", "white", "white", "grey", "grey")


@dataclass(frozen=True)
class Site:
    device: Device
    champion: BaseModel
    right: LabelledSamples
    few: LabelledSamples


@pytest.fixture(scope="module")
def site() -> Site:
    device = find_device("cpu")
    registry = Registry(Settings().shipped_dir)
    newest = registry.ids()[-1]
    champion = print_champion(registry, device, newest, dispensable=False, believed=True).model
    assert champion is not None
    champion = replace(champion, matching=NARROW)
    right = site_prints(5000, PERSONS, FINGERS_EACH, READERS, champion.preparation)
    few = right.rows(range(FEW * FINGERS_EACH * len(READERS)))
    return Site(device, champion, right, few)


@pytest.fixture(autouse=True)
def _cached_fingers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.learning.gathering.grow_fingers", grow_here)


def labelled(part: LabelledSamples, rows: np.ndarray[Any, Any]) -> LabelledSamples:
    """Each capture under the finger, and so the person, of another row."""
    return replace(
        part,
        fingers=tuple(part.fingers[row] for row in rows),
        subjects=tuple(part.subjects[row] for row in rows),
    )


def shuffled(part: LabelledSamples) -> LabelledSamples:
    return labelled(part, np.random.default_rng(3).permutation(len(part.fingers)))


def swapped(part: LabelledSamples) -> LabelledSamples:
    """A fifth of the labels go round among their captures."""
    rows = np.arange(len(part.fingers))
    some = np.random.default_rng(3).permutation(rows)[: len(rows) // 5]
    rows[some] = np.roll(some, 1)
    return labelled(part, rows)


def merged(part: LabelledSamples) -> LabelledSamples:
    """Two persons as one, finger by finger."""
    one, other = two_persons(part)
    return replace(
        part,
        fingers=tuple(finger.replace(f"{other},", f"{one},") for finger in part.fingers),
        subjects=tuple(one if subject == other else subject for subject in part.subjects),
    )


def two_persons(part: LabelledSamples) -> list[str]:
    """Two who are learned from."""
    learned, _ = split_subjects(part, LEARNED_SHARE)
    return sorted(set(learned.subjects))[:2]


def trained(
    site: Site,
    part: LabelledSamples,
    sink: Callable[[dict[str, Any]], None] = lambda _: None,
    aliases: dict[str, str] | None = None,
) -> GateReport:
    own = SitePrints(part, aliases or {})
    recipe = replace(SHORT, preparation=site.champion.preparation)
    return train(Order(recipe, site.device, site.champion, own=own), sink).report


def failed(report: GateReport) -> set[str]:
    return {found.criterion for found in judged(report).findings if found.passed is False}


def judged(report: GateReport) -> GateDecision:
    """The verdict but for what only comes of so small a training, and of a busy machine."""
    assert report.figures is not None
    sound = replace(report.figures, minimum_fmr=(1e-4, 1e-4), latency=Latency(10.0, 10.0, 11))
    return decide(sound)


def wrongly_labelled(right: LabelledSamples, wrong: LabelledSamples) -> set[str]:
    return {b for a, b in zip(right.fingers, wrong.fingers, strict=True) if a != b}


def test_right_labels_stand_and_the_checks_tell_how_far_they_are(site: Site) -> None:
    told: list[dict[str, Any]] = []
    report = trained(site, site.right, told.append)
    assert "labels" not in failed(report)
    assert report.figures is not None
    assert report.figures.labels is not None
    assert report.figures.labels.fingers == PERSONS * FINGERS_EACH
    assert report.figures.labels.findings == ()
    for phase in (
        "aligning impressions",
        "checking labels",
        "measuring the time of a sample",
        "comparing with the champion",
    ):
        done = [(at["done"], at["of"]) for at in told if at["phase"] == phase and "done" in at]
        assert len(done) > 1, phase
        assert done[-1][0] == done[-1][1], phase
    checked = [at for at in told if at["phase"] == "checking labels" and "done" in at]
    assert [at["done"] for at in checked] == sorted(at["done"] for at in checked)
    assert len({at["of"] for at in checked}) == 1


def test_a_training_is_cancelled_while_its_labels_are_checked(site: Site) -> None:
    phases: list[str] = []

    def cancel(progress: dict[str, Any]) -> None:
        phases.append(progress["phase"])
        if progress["phase"] == "checking labels" and progress.get("done") == 3:
            raise Cancelled("somebody asked the job to stop")

    with pytest.raises(Cancelled):
        trained(site, site.few, cancel)
    assert phases[-1] == "checking labels"


def test_shuffled_labels_are_stopped(site: Site) -> None:
    report = trained(site, shuffled(site.few))
    assert not judged(report).better
    assert "labels" in failed(report)
    assert report.figures is not None
    assert report.figures.labels is not None
    assert len(report.figures.labels.suspects) > FEW * FINGERS_EACH / 2


def test_a_fifth_of_swapped_labels_is_stopped(site: Site) -> None:
    part = swapped(site.few)
    report = trained(site, part)
    assert not judged(report).better
    assert "labels" in failed(report)
    assert report.figures is not None
    assert report.figures.labels is not None
    suspects = set(report.figures.labels.suspects)
    wrong = wrongly_labelled(site.few, part)
    assert len(suspects & wrong) > len(wrong) / 2
    assert len(suspects - wrong) <= len(suspects) / 4


def test_two_persons_as_one_are_stopped_and_nobody_is_named(site: Site) -> None:
    part = merged(site.few)
    aliases = {finger: f"t{number}" for number, finger in enumerate(dict.fromkeys(part.fingers))}
    told: list[dict[str, Any]] = []
    report = trained(site, part, told.append, aliases)
    assert not judged(report).better
    assert "labels" in failed(report)
    assert report.figures is not None
    assert report.figures.labels is not None
    (one, _) = two_persons(site.few)
    of_two = {alias for finger, alias in aliases.items() if finger.startswith(f"{one},")}
    assert len(of_two) == FINGERS_EACH
    assert {found.why for found in report.figures.labels.findings} == {"falls_apart"}
    assert set(report.figures.labels.suspects) <= of_two
    notes = [note for at in told for note in at.get("notes", ())]
    assert any(note.startswith(f"{report.figures.labels.suspects[0]}: ") for note in notes)
    assert "visitor" not in str([*notes, report.to_dict(), report.figures.labels])
