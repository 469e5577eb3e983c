"""Which samples are compared with which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Comparisons to make; a pair is (probe, reference) by number.

    Attributes:
        protocol: its name in reports.
        genuine: int64 [genuine, 2], two samples of one finger.
        impostor: int64 [impostor, 2], samples of two fingers.
    """

    protocol: str
    genuine: IntArray
    impostor: IntArray


def all_pairs(fingers: Sequence[str]) -> Pairs:
    """Every pair of samples once; `fingers` names the finger of each sample."""
    codes = finger_codes(fingers)
    first, second = np.triu_indices(len(codes), k=1)
    same = codes[first] == codes[second]
    pairs = np.stack([first, second], axis=1).astype(np.int64)
    return Pairs("all_pairs", pairs[same], pairs[~same])


def fvc_pairs(fingers: Sequence[str]) -> Pairs:
    """The protocol of the Fingerprint Verification Competitions (Maio et al., PAMI 24, 2002).

    Genuine: every pair of samples of a finger once. Impostor: the first samples of all fingers,
    every pair once; the first is the one that comes first in `fingers`.
    """
    codes = finger_codes(fingers)
    firsts = np.sort(np.unique(codes, return_index=True)[1])
    first, second = np.triu_indices(len(firsts), k=1)
    impostor = np.stack([firsts[first], firsts[second]], axis=1).astype(np.int64)
    return Pairs("fvc", all_pairs(fingers).genuine, impostor)


def finger_codes(fingers: Sequence[str]) -> IntArray:
    """Fingers by number: int64 [samples]."""
    if not fingers:
        return np.zeros(0, np.int64)
    return np.unique(np.asarray(fingers), return_inverse=True)[1].astype(np.int64)
