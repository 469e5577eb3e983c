"""Figures as objects on Agg, with no state of pyplot, so threads do not meet."""

from __future__ import annotations

from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 120
TITLE_POINTS = 10


def blank_figure(size_in: tuple[float, float], *, arranged: bool = True) -> Figure:
    """A figure of a width and height in inches.

    Args:
        arranged: its parts make room for each other; else they stay where they are put.
    """
    figure = Figure(figsize=size_in, dpi=DPI, layout="constrained" if arranged else None)
    FigureCanvasAgg(figure)
    return figure


def chart(title: str, size_in: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure with one pair of axes on a faint grid."""
    figure = blank_figure(size_in)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=TITLE_POINTS)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def png_bytes(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
