"""Fits on right labels and on shuffled ones, and what the error rates alone say of their models.

What is found of the labels themselves is looked at in ``test_poisoned_trainings``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import keras
import numpy as np
import pytest

from app.evaluation.paired import compare_paired
from app.evaluation.paired_figures import ScoredSet
from app.learning.fit import fit, new_encoder
from app.learning.folders import FolderPairs, LabelledSamples, split_subjects
from app.learning.gate import GateDecision, GateFigures, Golden, Latency, decide
from app.learning.judge import embed_gallery
from app.networks.forward import inference_function
from tests.fakes.touches import CLEAN, NOISY, TOUCHES, touches

pytestmark = pytest.mark.timeout(900)

FMR = 0.02
"""As much as sets of this size support with some certainty."""


@dataclass(frozen=True)
class Champion:
    encoder: keras.Model
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


@cache
def benchmark() -> LabelledSamples:
    return touches(1000, 120, (CLEAN,) * 4)


def measured(encoder: keras.Model, held_out: LabelledSamples) -> tuple[ScoredSet, ScoredSet]:
    return scored(encoder, benchmark(), "synthetic"), scored(encoder, held_out, "site")


@pytest.fixture(scope="module")
def champion() -> Champion:
    """One that has learned from the clean device alone, and not to the end."""
    encoder = trained(touches(0, 80, (CLEAN,) * 4), None, 150)
    site = touches(2000, 160, (CLEAN, CLEAN, CLEAN, NOISY, NOISY), fingers_each=4)
    learned, held_out = split_subjects(site, 0.7)
    return Champion(encoder, learned, held_out, measured(encoder, held_out))


def shuffled(part: LabelledSamples) -> LabelledSamples:
    fingers = np.random.default_rng(3).permutation(part.fingers)
    return replace(part, fingers=tuple(fingers.tolist()))


def judged(champion: Champion, part: LabelledSamples) -> GateDecision:
    """Train on the labels as they are, and let the gate decide."""
    challenger = trained(part, champion.encoder, 120)
    new = measured(challenger, champion.held_out)
    sets = tuple(compare_paired(*pair, FMR) for pair in zip(new, champion.sets, strict=True))
    # Golden vectors, latency and calibration are those of a model that nothing is wrong with.
    sound = Golden(0.0, 0.02), Latency(10.0, 10.0, 11)
    return decide(GateFigures("site", sets, (1e-4, 1e-4), *sound))


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
    assert "fnmr" in failed(decision), decision.reasons
