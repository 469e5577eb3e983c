"""A fit on labels that are wrong, really trained, and what keeps its model out of service."""

from __future__ import annotations

from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest

from app.evaluation.label_check import LabelCheck
from app.evaluation.paired import ScoredSet, compare_paired
from app.learning.fit import fit, new_encoder
from app.learning.folders import FolderPairs, LabelledSamples, split_subjects
from app.learning.gate import GateDecision, GateFigures, Golden, Latency, decide
from app.learning.judge import embed_gallery
from app.learning.site_data import check_site_labels
from app.matching.calibration import Calibration, calibrate
from app.networks.forward import inference_function
from tests.fakes.touches import CLEAN, NOISY, TOUCHES, touches

pytestmark = pytest.mark.timeout(900)

FMR = 0.02
"""As much as sets of this size support with some certainty."""
SITE = touches(2000, 160, (CLEAN, CLEAN, CLEAN, NOISY, NOISY), fingers_each=4)
STRANGERS = 800
BENCHMARK = touches(1000, 120, (CLEAN,) * 4)


@dataclass(frozen=True)
class Champion:
    encoder: keras.Model
    calibration: Calibration
    learned: LabelledSamples
    held_out: LabelledSamples
    sets: tuple[ScoredSet, ScoredSet]


def trained(part: LabelledSamples, base: keras.Model | None, steps: int) -> keras.Model:
    keras.utils.set_random_seed(1)
    encoder = new_encoder(TOUCHES)
    pairs = FolderPairs(part, encoder if base is None else base, TOUCHES.matching)
    if base is not None:
        encoder.set_weights(base.get_weights())
    schedule = replace(TOUCHES.schedule, steps=steps, steps_per_epoch=steps)
    if base is None:
        schedule = replace(schedule, learning_rate=3e-3)
    fit(replace(TOUCHES, schedule=schedule), encoder, pairs, lambda _: None, None)
    return encoder


def scored(encoder: keras.Model, part: LabelledSamples, name: str) -> ScoredSet:
    gallery = embed_gallery(inference_function(encoder), part.samples, TOUCHES.matching)
    scores = gallery.scores(TOUCHES.matching)
    return ScoredSet(name, part.fingers, part.subjects, scores, part.groups)


def measured(encoder: keras.Model, held_out: LabelledSamples) -> tuple[ScoredSet, ScoredSet]:
    return scored(encoder, BENCHMARK, "synthetic"), scored(encoder, held_out, "site")


@pytest.fixture(scope="module")
def champion() -> Champion:
    """One that has learned from the clean device alone, and not to the end."""
    encoder = trained(touches(0, 80, (CLEAN,) * 4), None, 150)
    alone = scored(encoder, touches(3000, STRANGERS, (CLEAN,)), "calibration").scores
    impostor = alone[np.triu_indices(STRANGERS, 1)]
    learned, held_out = split_subjects(SITE, 0.7)
    calibration = calibrate(impostor, impostor.size, STRANGERS)
    return Champion(encoder, calibration, learned, held_out, measured(encoder, held_out))


def relabelled(part: LabelledSamples, fingers: list[str]) -> LabelledSamples:
    return replace(part, fingers=tuple(fingers))


def shuffled(part: LabelledSamples) -> LabelledSamples:
    return relabelled(part, np.random.default_rng(3).permutation(part.fingers).tolist())


def swapped(part: LabelledSamples) -> LabelledSamples:
    """A fifth of the labels go round among their captures."""
    fingers = list(part.fingers)
    rows = np.random.default_rng(3).permutation(len(fingers))[: len(fingers) // 5].tolist()
    for row, label in zip(rows, [part.fingers[row] for row in rows[1:] + rows[:1]], strict=True):
        fingers[row] = label
    return relabelled(part, fingers)


def merged(part: LabelledSamples) -> LabelledSamples:
    """Two persons as one, finger by finger."""
    fingers = _merged_fingers(part)
    return relabelled(part, [fingers.get(label, label) for label in part.fingers])


def _merged_fingers(part: LabelledSamples) -> dict[str, str]:
    """The second person's fingers, and whose they are said to be."""
    one, other = sorted(set(part.subjects))[:2]
    of = {
        person: sorted({f for f, s in zip(part.fingers, part.subjects, strict=True) if s == person})
        for person in (one, other)
    }
    return dict(zip(of[other], of[one], strict=True))


def checked(champion: Champion, part: LabelledSamples) -> LabelCheck:
    run = inference_function(champion.encoder)
    gallery = embed_gallery(run, part.samples, TOUCHES.matching)
    found = check_site_labels(part.fingers, gallery, TOUCHES.matching, champion.calibration)
    assert found is not None
    return found


def judged(champion: Champion, part: LabelledSamples) -> GateDecision:
    """Train on the labels as they are, and let the gate decide."""
    challenger = trained(part, champion.encoder, 120)
    new = measured(challenger, champion.held_out)
    sets = tuple(compare_paired(*pair, FMR) for pair in zip(new, champion.sets, strict=True))
    # Golden vectors, latency and calibration are those of a model that nothing is wrong with.
    sound = Golden(0.0, 0.02), Latency(10.0, 10.0, 11)
    return decide(GateFigures("site", sets, (1e-4, 1e-4), *sound, checked(champion, part)))


def failed(decision: GateDecision) -> set[str]:
    return {found.criterion for found in decision.findings if found.passed is False}


def test_right_labels_pass(champion: Champion) -> None:
    decision = judged(champion, champion.learned)
    assert failed(decision) == set(), decision.reasons
    assert decision.better
    groups = [found.subject for found in decision.findings if found.criterion == "group"]
    assert groups == ["site, device clean", "site, device noisy"]


def test_shuffled_labels_are_stopped_by_the_error_rates_alone(champion: Champion) -> None:
    decision = judged(champion, shuffled(champion.learned))
    assert not decision.better
    assert {"fnmr", "labels"} <= failed(decision), decision.reasons


def test_a_fifth_of_swapped_labels_is_stopped(champion: Champion) -> None:
    part = swapped(champion.learned)
    decision = judged(champion, part)
    assert not decision.better
    assert "labels" in failed(decision), decision.reasons
    changed = {b for a, b in zip(champion.learned.fingers, part.fingers, strict=True) if a != b}
    suspects = set(checked(champion, part).suspects)
    assert len(suspects) > len(changed) / 4
    assert len(suspects - changed) <= len(suspects) / 4


def test_two_persons_as_one_are_stopped(champion: Champion) -> None:
    part = merged(champion.learned)
    decision = judged(champion, part)
    assert not decision.better
    assert failed(decision) == {"labels"}, decision.reasons  # no error rate shows so few
    found = checked(champion, part)
    assert {suspect.why for suspect in found.findings} == {"falls_apart"}
    assert set(found.suspects) <= set(_merged_fingers(champion.learned).values())
