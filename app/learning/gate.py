"""Whether a challenger is better than the champion, on fingers that neither learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.evaluation.report import Evaluation

POLICY_FMR = "0.01"


@dataclass(frozen=True, slots=True)
class GateDecision:
    """The verdict with its reasons, one sentence a set."""

    better: bool
    reasons: tuple[str, ...]


def decide(
    challenger: Mapping[str, Evaluation], champion: Mapping[str, Evaluation], target: str
) -> GateDecision:
    """Better means: a lower EER on the target set, and on no set a higher FNMR at FMR 1 %.

    Args:
        challenger: evaluations by set.
        champion: the same sets.
        target: the set that the training was for.
    """
    reasons, better = [], True
    for name, new in challenger.items():
        old = champion[name]
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


def _rate(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
