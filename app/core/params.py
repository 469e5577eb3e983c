"""Parameters that travel in a model's manifest: what a template depends on besides the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self, get_args


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

    @property
    def shape_px(self) -> tuple[int, int]:
        """Height and width of what the encoder sees."""
        return self.size_px, self.size_px


Scaling = Literal["unit", "standard"]


@dataclass(frozen=True, slots=True)
class PictureParams(Params):
    """How a picture of anything becomes the encoder's input: no resolution, no ridges.

    Attributes:
        height_px, width_px: what every picture is resized to.
        scaling: "unit" maps black to 0 and white to 1; "standard" subtracts the picture's mean and
            divides by its deviation.
        trim_px: cut off first, from the top, right, bottom and left of the capture.
    """

    height_px: int
    width_px: int
    scaling: Scaling = "unit"
    trim_px: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        if self.scaling not in get_args(Scaling) or min(self.shape_px) < 1 or min(self.trim_px) < 0:
            raise ValueError("a picture needs sides of a pixel or more and a known scaling")

    @property
    def shape_px(self) -> tuple[int, int]:
        """Height and width of what the encoder sees."""
        return self.height_px, self.width_px


Preparation = PreparationParams | PictureParams


def read_preparation(data: dict[str, Any]) -> Preparation:
    """Preparation from a manifest: of pictures where it says so, else of prints.

    Raises:
        TypeError, ValueError: this code cannot do it.
    """
    rest = {k: v for k, v in data.items() if k != "kind"}
    if data.get("kind", "print") == "print":
        return PreparationParams.from_dict(rest)
    if data["kind"] == "picture":
        return PictureParams.from_dict(rest)
    raise ValueError(f"unknown preparation {data['kind']!r}")


def write_preparation(params: Preparation) -> dict[str, Any]:
    """The manifest's form, which ``read_preparation`` reads."""
    if isinstance(params, PictureParams):
        return {"kind": "picture"} | params.to_dict()
    return params.to_dict()


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

    def __post_init__(self) -> None:
        if not self.subcell_shifts_px or self.subcell_shifts_px[0] != 0.0:
            raise ValueError("the first of the displacements by parts of a cell must be 0")

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

    @property
    def widening(self) -> tuple[MatchingParams, ...]:
        """Searches of more and more views, this one at the end: as the sample is, at every
        rotation, at every part of a cell too. A wider one never finds a lower score.
        """
        turned = replace(self, subcell_shifts_px=(0.0,))
        upright = (replace(turned, rotations_deg=(0.0,)),) if 0.0 in self.rotations_deg else ()
        return tuple(dict.fromkeys((*upright, turned, self)))


AS_IT_IS = MatchingParams(rotations_deg=(0.0,))
"""A search of one view: the upright sample, not moved."""

Measure = Literal[
    "cosine",
    "euclidean",
    "logistic_distance",
    "logistic_relu_difference",
    "logistic_absolute_difference",
]


@dataclass(frozen=True, slots=True)
class VectorMatching(Params):
    """How two templates of one vector each are compared; p is the probe's, r the reference's.

    Attributes:
        measure: the comparison score.
            "cosine": <p, r> / (|p| |r|), in -1..1;
            "euclidean": 1 / (1 + |p - r|), in 0..1;
            "logistic_distance": sigmoid(weights[0] |p - r| + bias);
            "logistic_relu_difference": sigmoid(sum(weights * relu(p - r + offsets)) + bias);
            "logistic_absolute_difference": sigmoid(sum(weights * |p - r|) + bias).
        weights, offsets, bias: of a learned measure, one weight and offset a channel (one weight
            for the distance).
    """

    measure: Measure = "cosine"
    weights: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    bias: float = 0.0

    def __post_init__(self) -> None:
        if self.measure not in get_args(Measure):
            raise ValueError(f"unknown measure {self.measure!r}")
        learned = self.measure.startswith("logistic")
        if learned != bool(self.weights):
            raise ValueError(f"the measure {self.measure} has the wrong number of weights")
        if self.measure == "logistic_relu_difference" and len(self.offsets) != len(self.weights):
            raise ValueError("every weight needs its offset")

    @property
    def views_deg_px(self) -> tuple[tuple[float, float, float], ...]:
        """The one view of the probe that is embedded: as it is."""
        return ((0.0, 0.0, 0.0),)

    @property
    def upright_view(self) -> int:
        """Which of the views is the sample as it is."""
        return 0

    @property
    def widening(self) -> tuple[VectorMatching, ...]:
        """This search alone: there is but one view."""
        return (self,)


Matching = MatchingParams | VectorMatching


def read_matching(data: dict[str, Any]) -> Matching:
    """Matching from a manifest: of vectors where it names a measure, else of grids of cells.

    Raises:
        TypeError, ValueError: this code cannot do it.
    """
    kind = VectorMatching if "measure" in data else MatchingParams
    return kind.from_dict(data)
