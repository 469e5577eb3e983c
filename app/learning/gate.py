"""Whether a challenger may take the champion's place, by figures alone.

What "not worse" means, and why, stands in docs/adr/0019.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.evaluation.label_check import LabelCheck
from app.evaluation.paired_figures import GroupFigures, NotJudged, PairedFigures
from app.matching.calibration import DEFAULT_FMR

POLICY_FMR = DEFAULT_FMR
"""What FNMR is compared at, where a set's counts support it."""
SET_MARGIN = 0.02
"""FNMR by which a challenger could be worse on a set at most, at 95 % confidence."""
GROUP_MARGIN = 0.05
"""FNMR by which a challenger may be worse in a group."""
GROUP_GENUINE, GROUP_DRAWN = 30, 8
"""Genuine comparisons, and subjects among them, from which on a group has a say."""
LATENCY_FACTOR = 1.5
LATENCY_SLACK_MS = 5.0
"""So much slower is lost in the noise of a measurement, whatever the factor."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        criterion: "calibration", "golden", "latency", "labels", "fnmr", "gain", "group" or
            "comparable".
        subject: the set, or the set and the group; "" where there is none.
        passed: None where the figures could decide nothing.
        detail: what was found, in words.
    """

    criterion: str
    subject: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class GateDecision:
    """The verdict and what it rests on."""

    better: bool
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The findings as sentences, what does not pass marked."""
        marks = {True: "", False: " (not passed)", None: " (no say)"}
        return tuple(f"{found.detail}{marks[found.passed]}" for found in self.findings)


@dataclass(frozen=True, slots=True)
class Golden:
    """What the exported files make of the golden inputs, beside what the trained networks made.

    Attributes:
        difference: the largest of a component.
        tolerance: what is allowed.
    """

    difference: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Median time of embedding one sample in all its views, measured turn by turn."""

    challenger_ms: float
    champion_ms: float
    runs: int

    @property
    def budget_ms(self) -> float:
        """What the challenger may take."""
        return max(LATENCY_FACTOR * self.champion_ms, self.champion_ms + LATENCY_SLACK_MS)


@dataclass(frozen=True, slots=True)
class GateFigures:
    """All that a verdict rests on.

    Attributes:
        target: the set that the training was for.
        sets: both models on the same comparisons, set by set.
        minimum_fmr: the smallest FMR that each calibration supports, challenger's and champion's.
        labels: of the site's data, where there are some.
    """

    target: str
    sets: tuple[PairedFigures | NotJudged, ...]
    minimum_fmr: tuple[float, float]
    golden: Golden
    latency: Latency
    labels: LabelCheck | None = None


def decide(figures: GateFigures) -> GateDecision:
    """Better means that every finding passes that has a say.

    - The calibration supports the FMRs in use: the default one, or the champion's own minimum.
    - The exported files reproduce the golden vectors, within the latency's budget.
    - No label of the site's data contradicts the model in service.
    - On every set FNMR at the policy's FMR is not worse: the upper end of the one-sided 95 %
      interval of the difference is at most ``SET_MARGIN``.
    - On the target FNMR falls, or the EER where FNMR stays the same.
    - No group is worse by more than ``GROUP_MARGIN``, unless that may be chance: the lower end of
      the one-sided 95 % interval is 0 or less.
    """
    findings = (
        _calibration(*figures.minimum_fmr),
        _golden(figures.golden),
        _latency(figures.latency),
        *([] if figures.labels is None else [_labels(figures.labels)]),
        *(found for one in figures.sets for found in _of_set(one, one.name == figures.target)),
    )
    return GateDecision(all(found.passed is not False for found in findings), findings)


def not_compared(reason: str) -> GateDecision:
    """The verdict where no comparison can tell which of the two is better."""
    return GateDecision(False, (Finding("comparable", "", False, reason),))


def not_comparable(champion: str, kind: str) -> GateDecision:
    """The verdict on a challenger of another kind: no figure tells which of the two is wanted.

    Args:
        champion: id of the model in service.
        kind: what it is of.
    """
    return not_compared(
        f"the model in service is of another kind ({champion}, {kind}); promote this one by hand "
        "if you mean to"
    )


def _calibration(challenger: float, champion: float) -> Finding:
    needed = max(champion, POLICY_FMR)
    detail = f"calibration: supports FMR {challenger:.2g}, needed {needed:.2g}"
    return Finding("calibration", "", challenger <= needed, detail)


def _golden(found: Golden) -> Finding:
    detail = (
        f"golden vectors: the exported files are off by {found.difference:.2g}, allowed "
        f"{found.tolerance:.2g}"
    )
    return Finding("golden", "", found.difference <= found.tolerance, detail)


def _latency(found: Latency) -> Finding:
    detail = (
        f"latency: {found.champion_ms:.1f} ms -> {found.challenger_ms:.1f} ms a sample, allowed "
        f"{found.budget_ms:.1f} ms"
    )
    return Finding("latency", "", found.challenger_ms <= found.budget_ms, detail)


def _labels(check: LabelCheck) -> Finding:
    count = len(check.suspects)
    detail = f"labels: {count} of {check.fingers} fingers contradict the model in service"
    if count:
        detail += "; correct them and train again, or promote by hand"
    return Finding("labels", "", not count, detail)


def _of_set(found: PairedFigures | NotJudged, target: bool) -> Iterator[Finding]:
    if isinstance(found, NotJudged):
        detail = f"{found.name}: not judged: {found.reason}"
        if target:
            detail += "; so nothing shows a gain"
        yield Finding("fnmr", found.name, False if target else None, detail)
        return
    apart = found.difference
    yield Finding(
        "fnmr",
        found.name,
        apart.upper <= SET_MARGIN,
        f"{found.name}: FNMR at FMR {100 * found.fmr:.2g} % {found.champion.fnmr:.4f} -> "
        f"{found.challenger.fnmr:.4f}, at 95 % confidence at most {apart.upper:+.4f}, allowed "
        f"{SET_MARGIN:+.4f}",
    )
    if target:
        yield _gain(found)
    for group in found.groups:
        yield _of_group(found.name, group)


def _gain(found: PairedFigures) -> Finding:
    apart = found.difference.value
    gained = apart or found.challenger_eer - found.champion_eer
    detail = (
        f"{found.name}, the target: FNMR {apart:+.4f}, EER {found.champion_eer:.4f} -> "
        f"{found.challenger_eer:.4f}; a gain is wanted"
    )
    return Finding("gain", found.name, gained < 0.0, detail)


def _of_group(name: str, group: GroupFigures) -> Finding:
    apart = group.difference
    worse = apart.value > GROUP_MARGIN and apart.lower > 0.0
    enough = group.genuine >= GROUP_GENUINE and group.drawn >= GROUP_DRAWN
    return Finding(
        "group",
        f"{name}, {group.kind} {group.group}",
        not worse if enough else None,
        f"{name}, {group.kind} {group.group}: FNMR {group.champion.fnmr:.4f} -> "
        f"{group.challenger.fnmr:.4f} of {group.genuine} comparisons, allowed {GROUP_MARGIN:+.4f}",
    )
