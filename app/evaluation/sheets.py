"""Pictures themselves as PNG bytes: contact sheets, pairs, one probe against many."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.core.types import FloatArray
from app.evaluation.figures import TITLE_POINTS, blank_figure, png_bytes
from app.evaluation.plots import COLOURS

CAPTION_POINTS = 7.0
PICTURE_IN = 1.0
PAIRS_A_ROW = 4
STRIP_COLUMNS = 10
MAX_PICTURES = 1000
PROBE = "probe"
_GAP_IN = 0.12
_NARROWEST_IN = 2.4
_LINE_HEIGHT = 1.3
# A letter of the default typeface is hardly ever wider, on average, in parts of its height.
_LETTER_WIDTH = 0.62
_POINTS_PER_IN = 72.0


@dataclass(frozen=True, slots=True)
class _Cell:
    """A picture's place on a sheet, and the words below it."""

    row: int
    column: int
    picture: FloatArray
    caption: str
    framed: bool = False


def samples_png(
    pixels: FloatArray, captions: Sequence[str], title: str, columns: int = 10
) -> bytes:
    """A contact sheet, row by row, a caption below each picture.

    Args:
        pixels: float [n, height, width] of any range; each is stretched from black to white.
        captions: n of them; long ones are wrapped.

    Raises:
        ValueError: there is no picture or more than ``MAX_PICTURES``, or not a caption each.
    """
    _check(len(pixels), captions)
    return _sheet_png([stretched(picture) for picture in pixels], captions, title, columns)


def pairs_png(first: FloatArray, second: FloatArray, captions: Sequence[str], title: str) -> bytes:
    """Pairs side by side, ``PAIRS_A_ROW`` of them a row, a caption below each.

    Args:
        first: float [n, height, width] of any range; each picture is stretched by itself.
        second: likewise, the other half of every pair.
        captions: n of them, like "same, score 0.93".

    Raises:
        ValueError: as ``samples_png``, or the two halves differ in shape.
    """
    _check(len(first), captions)
    if first.shape != second.shape:
        raise ValueError(f"pairs of {first.shape} and {second.shape} do not go together")
    gap = np.full((first.shape[1], max(1, first.shape[2] // 24)), np.nan, np.float32)
    pairs = [
        np.hstack([stretched(left), gap, stretched(right)])
        for left, right in zip(first, second, strict=True)
    ]
    return _sheet_png(pairs, captions, title, PAIRS_A_ROW, 2 * PICTURE_IN)


def strip_png(probe: FloatArray, others: FloatArray, captions: Sequence[str], title: str) -> bytes:
    """One probe, framed, at the left, and what it is compared with in rows beside it.

    Args:
        probe: float [height, width] of any range.
        others: float [n, height, width]; each picture is stretched by itself.
        captions: n of them, like "s3 0.93"; the probe is called "probe".

    Raises:
        ValueError: as ``samples_png``, or the probe differs in shape from the others.
    """
    _check(len(others), captions)
    if probe.shape != others.shape[1:]:
        raise ValueError(f"a probe of {probe.shape} does not go with {others.shape[1:]}")
    columns = min(len(others), STRIP_COLUMNS)
    cells = [_Cell(0, 0, stretched(probe), PROBE, framed=True)]
    for number, (other, caption) in enumerate(zip(others, captions, strict=True)):
        row, column = divmod(number, columns)
        cells.append(_Cell(row, column + 1, stretched(other), caption))
    return _png(cells, title, PICTURE_IN)


def stretched(picture: FloatArray) -> FloatArray:
    """float32 [height, width]: lowest value 0, highest 1; a constant picture is mid-grey.

    What is not finite becomes 0.
    """
    finite = np.isfinite(picture)
    values = np.where(finite, picture, 0.0).astype(np.float64)
    low = float(values.min(where=finite, initial=np.inf))
    high = float(values.max(where=finite, initial=-np.inf))
    spread = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    return np.where(finite, spread, 0.0).astype(np.float32)


def _check(count: int, captions: Sequence[str]) -> None:
    if not 1 <= count <= MAX_PICTURES or len(captions) != count:
        raise ValueError(
            f"a sheet takes 1 to {MAX_PICTURES} pictures with a caption each, not {count} with "
            f"{len(captions)}"
        )


def _sheet_png(
    pictures: Sequence[FloatArray],
    captions: Sequence[str],
    title: str,
    columns: int,
    width_in: float = PICTURE_IN,
) -> bytes:
    columns = max(1, min(columns, len(pictures)))
    cells = [
        _Cell(*divmod(number, columns), picture, caption)
        for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True))
    ]
    return _png(cells, title, width_in)


def _png(cells: Sequence[_Cell], title: str, width_in: float) -> bytes:
    """Lay the cells out in inches: an automatic layout takes minutes for a few hundred axes."""
    height_px, width_px = cells[0].picture.shape
    height_in = width_in * float(np.clip(height_px / width_px, 0.1, 10.0))
    captions = [_wrapped(cell.caption, width_in, CAPTION_POINTS) for cell in cells]
    words_in = _height_in(captions, CAPTION_POINTS)
    step_x, step_y = width_in + _GAP_IN, height_in + words_in + _GAP_IN
    columns, rows = (1 + max(getattr(cell, k) for cell in cells) for k in ("column", "row"))
    total_x = max(columns * step_x + _GAP_IN, _NARROWEST_IN)
    heading = _wrapped(title, total_x - 2 * _GAP_IN, TITLE_POINTS)
    heading_in = _height_in([heading], TITLE_POINTS) + 2 * _GAP_IN
    total_y = heading_in + rows * step_y
    figure = blank_figure((total_x, total_y), arranged=False)
    figure.text(0.5, 1 - _GAP_IN / total_y, heading, ha="center", va="top", fontsize=TITLE_POINTS)
    left_in = (total_x - columns * step_x + _GAP_IN) / 2
    for cell, caption in zip(cells, captions, strict=True):
        bottom_in = total_y - heading_in - cell.row * step_y - height_in
        place_in = (left_in + cell.column * step_x, bottom_in, width_in, height_in)
        _show(figure, place_in, cell, caption)
    return png_bytes(figure)


def _show(
    figure: Figure, place_in: tuple[float, float, float, float], cell: _Cell, caption: str
) -> None:
    across, up = figure.get_size_inches()
    left, bottom, width, height = place_in
    axes: Axes = figure.add_axes((left / across, bottom / up, width / across, height / up))
    axes.imshow(cell.picture, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=cell.framed, color=COLOURS[1], linewidth=2.0)
    axes.set_xlabel(caption, fontsize=CAPTION_POINTS, labelpad=2.0, linespacing=1.1)


def _wrapped(text: str, width_in: float, points: float) -> str:
    letters = max(4, int(width_in * _POINTS_PER_IN / (points * _LETTER_WIDTH)))
    lines = (textwrap.wrap(line, letters) or [""] for line in text.splitlines() or [""])
    # A dollar sign would begin a formula.
    return "\n".join(part for line in lines for part in line).replace("$", r"\$")


def _height_in(texts: Sequence[str], points: float) -> float:
    lines = max(text.count("\n") + 1 for text in texts)
    return lines * points * _LINE_HEIGHT / _POINTS_PER_IN
