"""A recipe of pictures from plain data, as JSON gives it, with everything in it checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from app.core.params import (
    Matching,
    MatchingParams,
    Params,
    PictureParams,
    VectorMatching,
    read_matching,
    read_preparation,
)
from app.learning.siamese.recipe import (
    Augmentation,
    DataParams,
    FitSchedule,
    LossParams,
    PairingParams,
    Protocol,
    SiameseRecipe,
)
from app.learning.siamese.recipe_limits import (
    MAX_BLUR_PX,
    MAX_EPOCHS,
    MAX_SIDE_PX,
    check_recipe,
)
from app.learning.siamese.stack_cost import stack_cost

MAX_TEXT_CHARS = 2000
MAX_NUMBERS = 65_536
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
ARCHITECTURE = "layer_stack"

_TINY = 1e-12
_RANGES: Mapping[type, Mapping[str, tuple[float, float]]] = {
    DataParams: {"scans": (2, 500), "shares": (_TINY, 1)},
    LossParams: {
        "margin": (0, 1000),
        "scale": (_TINY, 1000),
        "shift_cells": (0, 8),
        "dropped_cells": (0, 0.99),
    },
    PairingParams: {
        "pairs": (0, 1_000_000),
        "pictures_a_class": (2, 256),
        "passes": (1, 1000),
        "hard_share": (0, 1),
    },
    Augmentation: {
        "rotation_deg": (0, 180),
        "shift_share": (0, 1),
        "scale": (0.1, 10),
        "blur_px": (0, MAX_BLUR_PX),
        "gain": (0, 10),
        "brightness": (0, 10),
        "noise": (0, 10),
        "erase_share": (0, 1),
        "fill": (-1000, 1000),
    },
    FitSchedule: {
        "epochs": (1, MAX_EPOCHS),
        "batch": (1, 2048),
        "learning_rate": (_TINY, 10),
        "weight_decay": (0, 10),
        "patience": (0, MAX_EPOCHS),
        "seed": (0, 2**32 - 1),
    },
    Protocol: {
        "fixed_score": (-1e6, 1e6),
        "pairs": (0, 1_000_000),
        "enrolled": (1, 100),
        "shots": (0, 100),
    },
    PictureParams: {
        "height_px": (1, MAX_SIDE_PX),
        "width_px": (1, MAX_SIDE_PX),
        "trim_px": (0, 10_000),
    },
    MatchingParams: {
        "rotations_deg": (-180, 180),
        "max_shift_cells": (0, 16),
        "min_overlap_cells": (0, 1e6),
        "subcell_shifts_px": (-64, 64),
    },
}
_MOST_VIEWS = 64
_PLAIN: Mapping[str, type[Params]] = {
    "data": DataParams,
    "loss": LossParams,
    "schedule": FitSchedule,
    "pairing": PairingParams,
    "augmentation": Augmentation,
    "protocol": Protocol,
}
_TEXTS = ("summary", "wrong", "changed")

P = TypeVar("P", bound=Params)


def read_recipe(data: Any) -> SiameseRecipe:
    """The inverse of ``SiameseRecipe.to_dict``, through JSON; fields left out take their defaults.

    Raises:
        ValueError: something is unknown, missing, of the wrong type, out of range, or does not go
            together; it says what and where.
    """
    given = _known(SiameseRecipe, data, "the recipe")
    values: dict[str, Any] = {
        name: read_params(kind, given[name], name) for name, kind in _PLAIN.items() if name in given
    }
    values |= {name: _text(given[name], name) for name in _TEXTS if name in given}
    values["name"] = _name(given["name"], "name")
    values["preparation"] = preparation = _preparation(given["preparation"])
    values["architecture_params"] = _layers(given["architecture_params"], preparation)
    if "matching" in given:
        values["matching"] = _matching(given["matching"])
    if given.get("transfer"):
        values["transfer"] = _name(given["transfer"], "transfer")
    if given.get("architecture", ARCHITECTURE) != ARCHITECTURE:
        raise ValueError(f"architecture must be {ARCHITECTURE}")
    if "reported" in given:
        values["reported"] = _reported(given["reported"])
    recipe = SiameseRecipe(**values)
    check_recipe(recipe)
    return recipe


def read_params(kind: type[P], data: Any, at: str) -> P:
    """One part of a recipe.

    Raises:
        ValueError: as of ``read_recipe``.
    """
    given, hints = _known(kind, data, at), get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, value in given.items():
        place, bounds = f"{at}.{name}", _RANGES.get(kind, {}).get(name)
        if (kind, name) == (Augmentation, "fill") and _not_a_number(value):
            values[name] = math.nan
            continue
        values[name] = _value(value, hints[name], place)
        if bounds is not None:
            _check_range(values[name], bounds, place)
    return kind.from_dict(values)


def _not_a_number(value: Any) -> bool:
    """JSON has no NaN and says null; Python's own writes one all the same."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _known(kind: type[Any], data: Any, at: str) -> dict[str, Any]:
    """The fields of ``kind``, none unknown and none missing."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{at} must be an object")
    every = fields(kind)
    unknown = sorted(str(name)[:40] for name in set(data) - {f.name for f in every})
    if unknown:
        known = ", ".join(f.name for f in every)
        raise ValueError(f"{at} does not know {', '.join(unknown[:10])}; it knows {known}")
    needed = [f.name for f in every if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in needed if name not in data]
    if missing:
        raise ValueError(f"{at} needs {', '.join(missing)}")
    return dict(data)


def _value(value: Any, hint: Any, at: str) -> Any:
    """A value of a field's type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise ValueError(f"{at} must be one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        return _numbers(value, arguments, at)
    if origin in (Union, UnionType):
        if value is None:
            return None
        hint = next(kind for kind in arguments if kind is not type(None))
    return _text(value, at) if hint is str else _single(value, hint, at)


def _single(value: Any, kind: type, at: str) -> Any:
    if kind is bool and type(value) is bool:
        return value
    if kind is int and type(value) is int:
        return value
    if kind is float and type(value) in (int, float) and abs(value) < 1e300:
        return float(value)
    wanted = {bool: "true or false", int: "a whole number", float: "a number"}
    raise ValueError(f"{at} must be {wanted[kind]}")


def _numbers(value: Any, kinds: tuple[Any, ...], at: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) > MAX_NUMBERS:
        raise ValueError(f"{at} must be a list of numbers")
    if kinds[-1] is not Ellipsis and len(value) != len(kinds):
        raise ValueError(f"{at} must be a list of {len(kinds)} numbers")
    return tuple(_single(item, kinds[0], at) for item in value)


def _text(value: Any, at: str) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_TEXT_CHARS:
        raise ValueError(f"{at} must be printable text of {MAX_TEXT_CHARS} characters or fewer")
    return value


def _name(value: Any, at: str) -> str:
    if not isinstance(value, str) or re.fullmatch(NAME, value) is None:
        raise ValueError(f"{at} must be letters, digits, '.', '_' and '-', 128 at most")
    return value


def _check_range(value: Any, bounds: tuple[float, float], at: str) -> None:
    least, most = bounds
    if not all(least <= one <= most for one in (value if isinstance(value, tuple) else (value,))):
        low = "more than 0" if least == _TINY else f"{least:,.7g} or more"
        raise ValueError(f"{at} must be {low} and at most {most:,.12g}")


def _preparation(data: Any) -> PictureParams:
    if not isinstance(data, Mapping) or data.get("kind") != "picture":
        raise ValueError("preparation must be an object with the kind picture")
    rest = {name: value for name, value in data.items() if name != "kind"}
    checked = read_params(PictureParams, rest, "preparation").to_dict()
    found = read_preparation({"kind": "picture"} | checked)
    if not isinstance(found, PictureParams):
        raise ValueError("preparation must be of pictures")
    return found


def _matching(data: Any) -> Matching | None:
    if data is None:
        return None
    if not isinstance(data, Mapping):
        raise ValueError("matching must be an object or null")
    kind: type[Params] = VectorMatching if "measure" in data else MatchingParams
    found = read_matching(read_params(kind, data, "matching").to_dict())
    if not 1 <= len(found.views_deg_px) <= _MOST_VIEWS:
        raise ValueError(f"matching must have 1 to {_MOST_VIEWS} views of the probe")
    if (0.0, 0.0, 0.0) not in found.views_deg_px:
        raise ValueError("matching must have the probe as it is among its views")
    return found


def _layers(data: Any, preparation: PictureParams) -> dict[str, Any]:
    """Of the architecture; the size, which the dict form repeats, stays the preparation's."""
    if not isinstance(data, Mapping) or not {"stack"} <= set(data) <= {
        "stack", "height_px", "width_px",
    }:  # fmt: skip
        raise ValueError("architecture_params must be an object with a stack")
    height_px, width_px = preparation.shape_px
    said = (data.get("height_px", height_px), data.get("width_px", width_px))
    if said != (height_px, width_px):
        raise ValueError(f"architecture_params must be of {height_px} x {width_px} pixels")
    stack_cost(height_px, width_px, data["stack"])
    return {"stack": [dict(layer) for layer in data["stack"]]}


def _reported(data: Any) -> dict[str, float]:
    if not isinstance(data, Mapping) or len(data) > 20:
        raise ValueError("reported must be an object of 20 numbers or fewer")
    return {
        _text(name, "reported"): _single(value, float, f"reported.{str(name)[:40]}")
        for name, value in data.items()
    }
