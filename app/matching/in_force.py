"""What decisions are made by where a site has measured a model's scores itself.

Both ways give one table like any other, so that nobody who asks for a threshold need know of it.
Below the rates that the site's counts support nothing is extrapolated: there the model's own
thresholds stand, but never below the site's strictest one.
"""

from __future__ import annotations

from collections.abc import Callable

from app.matching.calibration import Calibration


def stricter(promised: Calibration, site: Calibration) -> Calibration:
    """At every rate the higher of the two thresholds.

    Of what the model promised nothing is loosened: every rate that its own table supports is still
    supported, at a threshold that is no lower.
    """
    return _merged(promised, site, lambda rate: max(_at(promised, rate), _at(site, rate)))


def replaced(promised: Calibration, site: Calibration) -> Calibration:
    """The site's thresholds at the rates that its counts support, lower ones of its own too."""

    def threshold(rate: float) -> float:
        if rate >= site.minimum_fmr:
            return site.threshold(rate)
        return max(_at(promised, rate), _at(site, rate))

    return _merged(promised, site, threshold)


def _at(table: Calibration, rate: float) -> float:
    """The table's threshold at a rate, or its strictest where the rate is below its counts."""
    return table.threshold(max(rate, table.minimum_fmr))


def _merged(
    promised: Calibration, site: Calibration, threshold: Callable[[float], float]
) -> Calibration:
    """A table over the rates of both, with the counts of the one that supports the lowest."""
    if not (promised.fmr and site.fmr):
        return promised
    rates = tuple(sorted({*promised.fmr, *site.fmr}, reverse=True))
    counts = min(promised, site, key=lambda table: table.minimum_fmr)
    return Calibration(
        counts.comparisons,
        counts.independent_pairs,
        counts.subjects,
        rates,
        tuple(threshold(rate) for rate in rates),
    )
