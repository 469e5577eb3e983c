"""Sheets of prints and the plot of their measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from app.cli.side_by_side.measures import MEASURES, Comparison, Measured, Values
from app.cli.side_by_side.prints import Print
from app.core.types import GrayImage
from app.evaluation.plots import COLOURS
from app.imaging.normalise import centroid

TILE_PX = 200
GAP_PX = 4
LABEL_PX = 16
BINS = 16
# The few far out would squeeze all others together: they are counted at the edge.
SHOWN = (0.005, 0.995)


def raw_tile(one: Print) -> GrayImage:
    """The print as captured, uint8 [200, 200] around its foreground, on its own background."""
    border = np.concatenate([one.image[[0, -1]].ravel(), one.image[:, [0, -1]].ravel()])
    return _window(one.image, one, int(np.median(border)))


def normalised_tile(one: Print) -> GrayImage:
    """The print as the encoder sees it, uint8 [200, 200] around its foreground."""
    levels = np.clip(127.5 + 127.5 * one.normalised, 0.0, 255.0).astype(np.uint8)
    return _window(levels, one, 127)


def sheet(tiles: Sequence[GrayImage], columns: int, title: str = "") -> Image.Image:
    """Tiles row by row, under a title where there is one."""
    step, top = TILE_PX + GAP_PX, LABEL_PX if title else 0
    rows = -(-len(tiles) // columns)
    page = Image.new("L", (columns * step - GAP_PX, rows * step - GAP_PX + top), 255)
    ImageDraw.Draw(page).text((2, 1), title, fill=0)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        page.paste(Image.fromarray(tile), (column * step, row * step + top))
    return page


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two sheets with a gap between them."""
    size = (left.width + right.width + 6 * GAP_PX, max(left.height, right.height))
    page = Image.new("L", size, 255)
    page.paste(left, (0, 0))
    page.paste(right, (left.width + 6 * GAP_PX, 0))
    return page


def distributions_png(
    real: Mapping[str, Measured], synthetic: Measured, compared: Mapping[str, Comparison]
) -> bytes:
    """A histogram a measure: all real prints, each real set as a thin line, synthetic prints."""
    figure = Figure(figsize=(10.5, 9.0), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (key, label) in zip(figure.subplots(3, 3).ravel(), MEASURES.items(), strict=True):
        sets = [_finite(measured[key]) for measured in real.values()]
        pooled, made = np.concatenate(sets), _finite(synthetic[key])
        low, high = np.quantile(np.concatenate([pooled, made]), SHOWN)
        edges = np.linspace(low, high, BINS + 1)
        for values in sets:
            axes.stairs(_share(values, edges), edges, color="0.8", linewidth=0.6)
        for values, colour, name in ((pooled, COLOURS[0], "real"), (made, COLOURS[1], "synthetic")):
            shown = f"{name} ({len(values)})"
            axes.stairs(_share(values, edges), edges, color=colour, linewidth=1.8, label=shown)
        found = compared[key]
        axes.set_title(
            f"distance {found.distance:.2f}; real sets among themselves {found.between_sets:.2f}",
            fontsize=8,
        )
        axes.set_xlabel(label, fontsize=8)
        axes.set_ylim(0.0, 1.15 * max(_share(v, edges).max() for v in (pooled, made)))
        axes.tick_params(labelsize=7)
    figure.axes[0].legend(fontsize=7)
    figure.supylabel("share of prints (%); thin grey: each real set", fontsize=8)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _window(levels: GrayImage, one: Print, ground: int) -> GrayImage:
    column, row = (round(value) for value in centroid(one.mask))
    padded = np.pad(levels, TILE_PX // 2, constant_values=ground)
    return np.asarray(padded[row : row + TILE_PX, column : column + TILE_PX], np.uint8)


def _finite(values: Values) -> Values:
    return values[np.isfinite(values)]


def _share(values: Values, edges: Values) -> Values:
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    return np.asarray(100.0 * counts / max(len(values), 1), np.float64)
