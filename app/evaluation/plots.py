"""Pictures as PNG bytes: DET curve and score histogram of an evaluation, course of a training.

Figures are drawn as objects on Agg, with no state of pyplot, so threads do not meet.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from scipy.special import ndtri

from app.evaluation.figures import chart, png_bytes
from app.evaluation.rates import RateArray, Scores, error_curve

DET_TICKS = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
LOWEST_RATE = 1e-4
HISTOGRAM_BINS = 80
DASHES = ("--", "-.")
# Told apart by readers with any kind of colour vision (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def det_png(
    sets: Mapping[str, Scores],
    title: str = "Detection error trade-off",
    *,
    baselines: Mapping[str, Mapping[str, Scores]] | None = None,
) -> bytes:
    """DET curves on normal-deviate axes (Martin et al., Eurospeech 1997), one a set by name.

    A curve ends at the lowest FMR that one impostor comparison can show.

    Args:
        sets: scores by set.
        baselines: scores of other matchers by their name and by set; drawn broken, in the set's
            colour.
    """
    figure, axes = chart(title, (5.6, 5.6))
    low = min([LOWEST_RATE * 10, *(1.0 / len(scores.impostor) for scores in sets.values())])
    low = max(low, LOWEST_RATE)
    _draw_curves(axes, low, sets, baselines or {})
    _det_axes(axes, low)
    return png_bytes(figure)


def det_points_png(curves: Mapping[str, RateArray], title: str) -> bytes:
    """DET curves of points that were kept, on the same axes.

    Args:
        curves: by name, float [points, 2]: FMR and FNMR, the FMR rising.
    """
    figure, axes = chart(title, (5.6, 5.6))
    low = min([LOWEST_RATE * 10, *(float(points[0, 0]) for points in curves.values())])
    low = max(low, LOWEST_RATE)
    for number, (name, points) in enumerate(curves.items()):
        stroke = "-" if number == 0 else DASHES[(number - 1) % len(DASHES)]
        fmr, fnmr = (_deviate(column, low) for column in points.T)
        axes.plot(fmr, fnmr, color=COLOURS[number % len(COLOURS)], linestyle=stroke, label=name)
    _det_axes(axes, low)
    return png_bytes(figure)


def _det_axes(axes: Axes, low: float) -> None:
    ends = _deviate(np.array([low, DET_TICKS[-1]]), low)
    axes.plot(ends, ends, color="0.6", linewidth=0.8, linestyle=":", label="equal error rate")
    ticks = np.array([tick for tick in DET_TICKS if tick >= low])
    labels = [f"{100 * tick:g}" for tick in ticks]
    axes.set_xticks(ndtri(ticks), labels)
    axes.set_yticks(ndtri(ticks), labels)
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_xlabel("False match rate (%)")
    axes.set_ylabel("False non-match rate (%)")
    axes.legend(fontsize=8, loc="upper right")


def histogram_png(scores: Scores, title: str = "Comparison scores") -> bytes:
    """Share of genuine and of impostor comparisons by score; failures to enrol are left out."""
    figure, axes = chart(title, (6.4, 4.0))
    kinds = {"genuine": scores.genuine, "impostor": scores.impostor}
    finite = {kind: values[np.isfinite(values)] for kind, values in kinds.items()}
    both = np.concatenate(list(finite.values()))
    span = (float(both.min()), float(both.max())) if both.size else (0.0, 1.0)
    edges = np.histogram_bin_edges(both, HISTOGRAM_BINS, span)
    for (kind, values), colour in zip(finite.items(), (COLOURS[0], COLOURS[1]), strict=True):
        share = np.histogram(values, edges)[0] / max(len(kinds[kind]), 1)
        label = f"{kind} ({len(kinds[kind]):,})"
        axes.stairs(100 * share, edges, fill=True, alpha=0.5, color=colour, label=label)
    axes.set_xlabel("Comparison score")
    axes.set_ylabel("Share of comparisons (%)")
    axes.legend(fontsize=8)
    return png_bytes(figure)


def training_curve_png(
    losses: Mapping[int, float],
    images_per_s: Mapping[int, float],
    validation_losses: Mapping[int, float] | None = None,
) -> bytes:
    """Loss and pace of a fit over its steps.

    Args:
        losses: mean loss of an epoch by the number of batches seen at its end.
        images_per_s: impressions through the network, likewise.
        validation_losses: of what no step learns from, likewise, where that was measured.
    """
    figure, axes = chart("Training", (6.4, 4.0))
    axes.plot(list(losses), list(losses.values()), color=COLOURS[0], marker=".", label="training")
    if validation_losses:
        steps, found = list(validation_losses), list(validation_losses.values())
        axes.plot(steps, found, color=COLOURS[2], marker=".", linestyle="--", label="validation")
        axes.legend(fontsize=8)
    if losses and min([*losses.values(), *(validation_losses or {}).values()]) > 0:
        axes.set_yscale("log")
    axes.set_xlabel("Step (batches)")
    axes.set_ylabel("Loss", color=COLOURS[0])
    pace = axes.twinx()
    pace.plot(list(images_per_s), list(images_per_s.values()), color=COLOURS[1], linewidth=0.8)
    pace.set_ylim(bottom=0)
    pace.set_ylabel("Impressions a second", color=COLOURS[1])
    return png_bytes(figure)


def _draw_curves(
    axes: Axes,
    low: float,
    sets: Mapping[str, Scores],
    baselines: Mapping[str, Mapping[str, Scores]],
) -> None:
    """A colour a set, a kind of dashes a baseline."""
    for number, (name, scores) in enumerate(sets.items()):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(*_det(scores, low), color=colour)
        axes.plot([], [], color=colour, label=f"{name} ({len(scores.impostor):,} impostor pairs)")
        for dashes, theirs in zip(DASHES, baselines.values(), strict=False):
            if name in theirs:
                axes.plot(*_det(theirs[name], low), color=colour, linestyle=dashes, linewidth=1.0)
    for dashes, matcher in zip(DASHES, baselines, strict=False):
        axes.plot([], [], color="0.3", linestyle=dashes, linewidth=1.0, label=matcher.upper())


def _det(scores: Scores, low: float) -> tuple[RateArray, RateArray]:
    curve = error_curve(scores)
    shown = curve.fmr > 0
    return _deviate(curve.fmr[shown], low), _deviate(curve.fnmr[shown], low)


def _deviate(rates: RateArray, low: float) -> RateArray:
    deviates: RateArray = ndtri(np.clip(rates, low / 2, 1 - LOWEST_RATE))
    return deviates
