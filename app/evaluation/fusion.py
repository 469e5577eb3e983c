"""Several enrolled samples of a finger, compared as service does: the best of them counts."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from app.core.types import FloatArray
from app.evaluation.protocol import IntArray, Pairs, finger_codes
from app.evaluation.rates import Scores
from app.evaluation.report import Evaluation, evaluate_pairs

ENROLLED = 3
"""Samples of a finger that are enrolled: what enrolment by a reader usually takes."""


def evaluate_fused(
    name: str,
    fingers: Sequence[str],
    matrix: FloatArray,
    failed: Collection[int] = (),
    *,
    enrolled: int = ENROLLED,
    bootstrap: int = 300,
) -> Evaluation | None:
    """Error rates where the last samples of every finger are enrolled and the others are probes.

    A comparison is a probe against a finger; its score is the greatest of those with the enrolled
    samples (maximum rule: Kittler et al., "On Combining Classifiers", PAMI 20, 1998). A probe meets
    the fingers that come after its own, so that every comparison is one that all pairs hold too.

    Args:
        matrix: float32 [samples, samples], scores of probe (row) and reference above the diagonal.
        failed: samples that failed to enrol; they are neither enrolled nor probes.

    Returns:
        None where no two fingers have so many samples and one more.
    """
    groups = _groups(fingers, frozenset(failed), enrolled)
    genuine = _comparisons(groups, matrix, enrolled, same=True)
    impostor = _comparisons(groups, matrix, enrolled, same=False)
    if not genuine or not impostor:
        return None
    pairs = Pairs(f"enrolled_{enrolled}", _places(genuine), _places(impostor))
    scores = Scores(_scores(genuine), _scores(impostor))
    fte = len(frozenset(failed)) / len(fingers)
    return evaluate_pairs(name, fingers, pairs, scores, fte=fte, bootstrap=bootstrap)


_Comparison = tuple[int, int, float]
"""Probe, first enrolled sample, score."""


def _groups(fingers: Sequence[str], failed: frozenset[int], enrolled: int) -> list[list[int]]:
    """Usable samples of every finger that has enough of them, in order."""
    codes = finger_codes(fingers)
    usable = [n for n in range(len(fingers)) if n not in failed]
    groups = [[n for n in usable if codes[n] == code] for code in np.unique(codes)]
    return [group for group in groups if len(group) > enrolled]


def _comparisons(
    groups: Sequence[Sequence[int]], matrix: FloatArray, enrolled: int, *, same: bool
) -> list[_Comparison]:
    found = []
    for of_probe in groups:
        for of_reference in groups:
            if (of_probe is of_reference) != same:
                continue
            references = of_reference[-enrolled:]
            for probe in of_probe[:-enrolled]:
                if probe < references[0]:
                    score = float(matrix[probe, references].max())
                    found.append((probe, references[0], score))
    return found


def _places(found: Sequence[_Comparison]) -> IntArray:
    return np.array([(probe, reference) for probe, reference, _ in found], np.int64)


def _scores(found: Sequence[_Comparison]) -> FloatArray:
    return np.array([score for _, _, score in found], np.float32)
