"""An evaluation's figures, for programs and for people."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.core.types import FloatArray
from app.evaluation.bootstrap import Interval, Statistic, bootstrap_intervals
from app.evaluation.protocol import Pairs, all_pairs, finger_codes, fvc_pairs
from app.evaluation.rates import (
    ErrorCurve,
    RankedScores,
    Scores,
    equal_error_rate,
    fnmr_at_fmr,
    pair_scores,
    supports_fmr,
)

REPORTED_FMRS = (0.01, 0.001)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Error rates of one set under one protocol, as fractions; None where counts cannot say.

    Attributes:
        name: of the set.
        protocol: which samples were compared.
        images: samples given, failures included.
        fingers: different fingers among them.
        genuine: genuine comparisons.
        impostor: impostor comparisons.
        fte: failure-to-enrol rate of the samples.
        eer: equal error rate.
        fnmr_at_fmr: FNMR by FMR, the keys as in "0.01".
        zero_fmr: FNMR where no impostor comparison matches.
        eer_interval: 95 % interval.
        fnmr_intervals: 95 % intervals, keys as in `fnmr_at_fmr`.
        fvc: the same set under the FVC protocol.
        baselines: other matchers on the same pairs, by name.
    """

    name: str
    protocol: str
    images: int
    fingers: int
    genuine: int
    impostor: int
    fte: float
    eer: float
    fnmr_at_fmr: dict[str, float | None]
    zero_fmr: float
    eer_interval: Interval | None = None
    fnmr_intervals: dict[str, Interval | None] = field(default_factory=dict)
    fvc: Evaluation | None = None
    baselines: dict[str, Evaluation] = field(default_factory=dict)

    def beside(self, baselines: Mapping[str, Evaluation]) -> Evaluation:
        """The same with other matchers beside it, also under the FVC protocol."""
        if self.fvc is None:
            return replace(self, baselines=dict(baselines))
        theirs = {name: other.fvc for name, other in baselines.items() if other.fvc is not None}
        return replace(self, baselines=dict(baselines), fvc=self.fvc.beside(theirs))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; `fmr100` and `fmr1000` are the FVC's names of FNMR at 1 % and 0.1 %."""
        data: dict[str, Any] = {
            "name": self.name,
            "protocol": self.protocol,
            "images": self.images,
            "fingers": self.fingers,
            "genuine": self.genuine,
            "impostor": self.impostor,
            "fte": self.fte,
            "eer": self.eer,
            "fnmr_at_fmr": dict(self.fnmr_at_fmr),
            "fmr100": self.fnmr_at_fmr["0.01"],
            "fmr1000": self.fnmr_at_fmr["0.001"],
            "zero_fmr": self.zero_fmr,
            "intervals": {
                "eer": _pair(self.eer_interval),
                "fnmr_at_fmr": {
                    key: _pair(self.fnmr_intervals.get(key)) for key in self.fnmr_at_fmr
                },
            },
        }
        if self.fvc is not None:
            data["fvc"] = self.fvc.to_dict()
            data["baselines"] = {name: found.to_dict() for name, found in self.baselines.items()}
        return data


def evaluate_scores(
    name: str,
    fingers: Sequence[str],
    matrix: FloatArray,
    failed: Collection[int] = (),
    *,
    failed_probes: Collection[int] | None = None,
    bootstrap: int = 300,
    seed: int = 0,
) -> Evaluation:
    """Evaluate all pairs, and beside them the FVC protocol.

    Args:
        name: of the set.
        fingers: the finger of each sample; a finger's first sample is its first here.
        matrix: float32 [samples, samples], comparison scores of probe (row) and reference; only
            the part above the diagonal is used.
        failed: numbers of the samples that failed to enrol; their scores do not matter.
        failed_probes: those that failed where they were the probe, if these are others; the
            failure rate is then theirs.
        bootstrap: replicates of the intervals; 0 leaves them out.
        seed: of the bootstrap.

    Raises:
        InvalidInput: there are not two fingers, one of them with two samples (`too_few_samples`).
        ValueError: the matrix does not fit the samples, or a score is not a number.
    """
    samples = len(fingers)
    if matrix.shape != (samples, samples):
        raise ValueError(f"{samples} samples do not fit scores of shape {matrix.shape}")
    lost = frozenset(failed)
    lost_probes = lost if failed_probes is None else frozenset(failed_probes)

    def under(pairs: Pairs, fvc: Evaluation | None = None) -> Evaluation:
        scores = pair_scores(matrix, pairs, lost, lost_probes)
        fte = len(lost_probes) / max(samples, 1)
        return evaluate_pairs(
            name,
            fingers,
            pairs,
            scores,
            fte=fte,
            bootstrap=bootstrap,
            seed=seed,
            fvc=fvc,
        )

    return under(all_pairs(fingers), under(fvc_pairs(fingers)))


def error_ratio(found: Evaluation, before: Evaluation) -> dict[str, Any]:
    """How many times the errors of `before` were made: `eer`, `fnmr_at_fmr` by FMR.

    None where a rate is missing or there were no errors before.
    """
    fnmr = {key: _ratio(rate, before.fnmr_at_fmr[key]) for key, rate in found.fnmr_at_fmr.items()}
    return {"eer": _ratio(found.eer, before.eer), "fnmr_at_fmr": fnmr}


def evaluate_pairs(
    name: str,
    fingers: Sequence[str],
    pairs: Pairs,
    scores: Scores,
    *,
    fte: float = 0.0,
    bootstrap: int = 300,
    seed: int = 0,
    fvc: Evaluation | None = None,
) -> Evaluation:
    """Evaluate the scores of chosen pairs; arguments and errors as in `evaluate_scores`."""
    ranked = RankedScores.of(scores)
    curve = ranked.curve()
    codes = finger_codes(fingers)
    rates = [fmr for fmr in REPORTED_FMRS if supports_fmr(fmr, len(scores.impostor))]
    statistics: dict[str, Statistic] = {"eer": equal_error_rate}
    statistics |= {f"{fmr:g}": _fnmr_statistic(fmr) for fmr in rates}
    intervals = bootstrap_intervals(
        ranked, pairs, codes, statistics, replicates=bootstrap, seed=seed
    )
    found = {key: statistic(curve) for key, statistic in statistics.items()}
    keys = [f"{fmr:g}" for fmr in REPORTED_FMRS]
    return Evaluation(
        name=name,
        protocol=pairs.protocol,
        images=len(fingers),
        fingers=int(codes.max()) + 1,
        genuine=len(scores.genuine),
        impostor=len(scores.impostor),
        fte=fte,
        eer=found["eer"],
        fnmr_at_fmr={key: found.get(key) for key in keys},
        zero_fmr=fnmr_at_fmr(curve, 0.0),
        eer_interval=intervals.get("eer"),
        fnmr_intervals={key: intervals.get(key) for key in keys},
        fvc=fvc,
    )


def _fnmr_statistic(fmr: float) -> Statistic:
    def statistic(curve: ErrorCurve) -> float:
        return fnmr_at_fmr(curve, fmr)

    return statistic


def _pair(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _ratio(rate: float | None, before: float | None) -> float | None:
    return None if rate is None or not before else rate / before
