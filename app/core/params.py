"""Parameters that travel in a model's manifest: what a template depends on besides the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Self


class Params:
    """Mixin of frozen parameter dataclasses: a strict dict form for manifests."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Build from a manifest's dict; lists become tuples.

        Raises:
            ValueError: a key is unknown, so the manifest asks for something this code cannot do.
        """
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(data) - known)
        if unknown:
            raise ValueError(f"{cls.__name__} does not know {', '.join(unknown)}")
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The JSON-ready form (tuples become lists)."""
        data = asdict(self)  # type: ignore[call-overload]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in data.items()}


@dataclass(frozen=True, slots=True)
class PreparationParams(Params):
    """How a capture becomes the encoder's input.

    Attributes:
        dpi: the one physical scale everything is resampled to, in pixels per inch.
        size_px: side of the square crop the encoder sees.
        block_px: side of the neighbourhood for local mean and contrast.
    """

    dpi: int = 250
    size_px: int = 192
    block_px: int = 16


@dataclass(frozen=True, slots=True)
class MatchingParams(Params):
    """How two templates are compared.

    Attributes:
        rotations_deg: rotations of the probe that are embedded and searched.
        subcell_shifts_px: displacements of the probe by parts of a cell that are embedded, to the
            right and down; every pair of two of them, (0, 0) first.
        max_shift_cells: displacement of the descriptor grids that is searched, in cells, each way.
        min_overlap_cells: overlap below which the comparison score is scaled down in proportion.
    """

    rotations_deg: tuple[float, ...] = (-30.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0)
    max_shift_cells: int = 3
    min_overlap_cells: float = 30.0
    subcell_shifts_px: tuple[float, ...] = (0.0,)

    @property
    def views_deg_px(self) -> tuple[tuple[float, float, float], ...]:
        """Rotation and shift (right, down) of every view of the probe that is embedded."""
        shifts = self.subcell_shifts_px
        return tuple((turn, x, y) for turn in self.rotations_deg for y in shifts for x in shifts)

    @property
    def upright_view(self) -> int:
        """Which of the views is the sample as it is.

        Raises:
            ValueError: it is not among them.
        """
        return self.views_deg_px.index((0.0, 0.0, 0.0))


AS_IT_IS = MatchingParams(rotations_deg=(0.0,))
"""A search of one view: the upright sample, not moved."""
