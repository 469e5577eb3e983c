"""Curves of verifiers as PNG bytes: precision and recall, ROC, confusion, scores, losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from app.core.types import FloatArray
from app.evaluation.decisions import labelled_scores, precision_recall_curve, roc_auc
from app.evaluation.figures import chart, png_bytes
from app.evaluation.plots import COLOURS
from app.evaluation.protocol import IntArray
from app.evaluation.rates import Scores, error_curve

SQUARE_IN = (5.6, 5.6)
WIDE_IN = (6.4, 4.0)
# Colours come round after six curves; then the line tells them apart.
STROKES = ("-", "--", "-.", ":")
Value = TypeVar("Value")
KINDS = ("genuine", "impostor")
DECISIONS = ("decided the same", "decided different")

MARKED_EPOCHS = 40
LOGARITHMIC_RANGE = 50.0
"""A figure that falls by more than this is drawn by its logarithm."""


def precision_recall_png(sets: Mapping[str, Scores], title: str = "Precision and recall") -> bytes:
    """Precision over recall, a curve a name.

    The precision of whoever calls every pair the same depends on how many genuine pairs there are:
    it is drawn dotted where all curves share it.

    Raises:
        InvalidInput: a set has pairs of one kind only (``too_few_samples``).
    """
    figure, axes = chart(title, SQUARE_IN)
    shares = set()
    for name, scores, colour, stroke in _styled(sets):
        curve = precision_recall_curve(*labelled_scores(scores))
        # Precision at no recall is that of the highest score, not 1 by decree.
        recall = np.insert(curve.recall, 0, 0.0)
        precision = np.insert(curve.precision, 0, curve.precision[0])
        axes.step(recall, precision, where="pre", color=colour, linestyle=stroke, label=name)
        shares.add(len(scores.genuine) / (len(scores.genuine) + len(scores.impostor)))
    if len(shares) == 1:
        share = shares.pop()
        label = f"every pair the same ({share:.2g})"
        axes.axhline(share, color="0.6", linewidth=0.8, linestyle=":", label=label)
    _unit_square(axes)
    axes.set_xlabel("Recall")
    axes.set_ylabel("Precision")
    axes.legend(fontsize=8, loc="lower left")
    return png_bytes(figure)


def roc_png(sets: Mapping[str, Scores], title: str = "Receiver operating characteristic") -> bytes:
    """True match rate over false match rate, a curve a name, with the area under it.

    Raises:
        InvalidInput: a set has pairs of one kind only (``too_few_samples``).
    """
    figure, axes = chart(title, SQUARE_IN)
    for name, scores, colour, stroke in _styled(sets):
        curve = error_curve(scores)
        label = f"{name} (area {roc_auc(*labelled_scores(scores)):.4f})"
        axes.plot(curve.fmr, 1.0 - curve.fnmr, color=colour, linestyle=stroke, label=label)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":", label="chance")
    _unit_square(axes)
    axes.set_xlabel("False match rate")
    axes.set_ylabel("True match rate")
    axes.legend(fontsize=8, loc="lower right")
    return png_bytes(figure)


def confusion_png(
    counts: IntArray,
    title: str = "Decisions",
    *,
    kinds: tuple[str, str] = KINDS,
    decisions: tuple[str, str] = DECISIONS,
) -> bytes:
    """Counts of decisions as a table, shaded and with their share of each kind of pair.

    Args:
        counts: int [2, 2], as ``DecisionCounts.table``.
        kinds: names of the rows.
        decisions: names of the columns.

    Raises:
        ValueError: the counts have another shape.
    """
    table = np.asarray(counts, np.int64)
    if table.shape != (2, 2):
        raise ValueError(f"decisions are counted as [2, 2], not {list(table.shape)}")
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    figure, axes = chart(title, (4.4, 4.0))
    axes.grid(visible=False)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for row, column in np.ndindex(2, 2):
        share = float(shares[row, column])
        axes.text(
            column,
            row,
            f"{table[row, column]:,}\n{100 * share:.1f} %",
            ha="center",
            va="center",
            fontsize=12,
            color="white" if share > 0.5 else "black",
        )
    axes.set_xticks([0, 1], decisions)
    axes.set_yticks([0, 1], kinds, rotation=90, va="center")
    axes.tick_params(length=0)
    return png_bytes(figure)


def score_table_png(scores: FloatArray, title: str = "Comparison scores") -> bytes:
    """Scores of every probe with every reference as a heat map; the own class is the diagonal.

    Args:
        scores: float [probes, references], a row and a column a class.

    Raises:
        ValueError: the scores are not a table.
    """
    table = np.asarray(scores, np.float32)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"scores of shape {list(table.shape)} are not a table")
    figure, axes = chart(title, SQUARE_IN)
    axes.grid(visible=False)
    shown = axes.imshow(table, cmap="viridis")
    figure.colorbar(shown, ax=axes, shrink=0.8, label="Comparison score")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Class of the reference")
    axes.set_ylabel("Class of the probe")
    return png_bytes(figure)


def loss_curves_png(
    series: Mapping[str, Mapping[int, float]], title: str = "Training", ylabel: str = "Loss"
) -> bytes:
    """Figures of a training over its epochs, a curve a name; gaps where a figure is not finite.

    Args:
        series: figure by epoch, by the name of what was measured.
    """
    figure, axes = chart(title, WIDE_IN)
    for name, values, colour, stroke in _styled(series):
        epochs = sorted(values)
        figures = [values[epoch] for epoch in epochs]
        marker = "." if len(epochs) <= MARKED_EPOCHS else ""
        axes.plot(epochs, figures, color=colour, linestyle=stroke, marker=marker, label=name)
    known = [v for values in series.values() for v in values.values() if 0 < v < np.inf]
    if known and max(known) > LOGARITHMIC_RANGE * min(known):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Epoch")
    axes.set_ylabel(ylabel)
    if series:
        axes.legend(fontsize=8)
    return png_bytes(figure)


def _styled(named: Mapping[str, Value]) -> Iterator[tuple[str, Value, str, str]]:
    for number, (name, value) in enumerate(named.items()):
        rounds, place = divmod(number, len(COLOURS))
        yield name, value, COLOURS[place], STROKES[rounds % len(STROKES)]


def _unit_square(axes: Axes) -> None:
    # A little more than the unit square, or curves at its edge are half hidden.
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
