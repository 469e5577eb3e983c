"""Whether a challenger is better than the champion, on fingers that neither learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.evaluation.report import Evaluation
from app.matching.calibration import DEFAULT_FMR

POLICY_FMR = "0.01"
WHOLE = "synthetic_whole"
"""Held-out synthetic fingers without the touches that were drawn as partial."""


@dataclass(frozen=True, slots=True)
class GateDecision:
    """The verdict with its reasons, one sentence a set."""

    better: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """A model's evaluations by set, and the smallest FMR that its calibration supports."""

    evaluations: Mapping[str, Evaluation]
    minimum_fmr: float


def decide(challenger: Judged, champion: Judged, target: str) -> GateDecision:
    """Better means: a lower EER on the target set, on no set a higher FNMR at FMR 1 %, and a
    calibration that supports the FMRs in use (1e-4, or the champion's own minimum above it).

    Args:
        challenger: the new model.
        champion: the model in service, on the same sets.
        target: the set that the training was for.
    """
    needed = max(champion.minimum_fmr, DEFAULT_FMR)
    better = challenger.minimum_fmr <= needed
    reasons = [
        f"calibration: supports FMR {challenger.minimum_fmr:.2g}, needed {needed:.2g}"
        + ("" if better else " (too few fingers)")
    ]
    for name, new in challenger.evaluations.items():
        if name == WHOLE:  # a part of another set has no say of its own
            continue
        old = champion.evaluations[name]
        miss_new, miss_old = new.fnmr_at_fmr[POLICY_FMR], old.fnmr_at_fmr[POLICY_FMR]
        worse = miss_new is not None and miss_old is not None and miss_new > miss_old
        gained = name != target or new.eer < old.eer
        better = better and gained and not worse
        reasons.append(
            f"{name}: EER {old.eer:.4f} -> {new.eer:.4f}, FNMR at FMR 1 % "
            f"{_rate(miss_old)} -> {_rate(miss_new)}"
            + (" (worse)" if worse else "" if gained else " (no gain)")
        )
    return GateDecision(better, tuple(reasons))


def not_comparable(champion: str, kind: str) -> GateDecision:
    """The verdict on a challenger of another kind: no figure tells which of the two is wanted.

    Args:
        champion: id of the model in service.
        kind: what it is of.
    """
    reason = (
        f"the model in service is of another kind ({champion}, {kind}); promote this one by hand "
        "if you mean to"
    )
    return GateDecision(False, (reason,))


def _rate(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
