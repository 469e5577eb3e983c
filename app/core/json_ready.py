"""Values as JSON knows them, for files and for what commands print."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.core.errors import WhorlError


def json_ready(value: Any) -> Any:
    """Records as objects, sets sorted, paths as text; a number that JSON does not know as None."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(json_ready(item) for item in value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _resolved(value)


def json_text(value: Any) -> str:
    """Indented JSON of ``json_ready``, with a newline at its end."""
    return json.dumps(json_ready(value), indent=2, allow_nan=False) + "\n"


def read_json_object(text: bytes) -> dict[str, Any]:
    """An object from JSON that is nothing but JSON.

    Raises:
        ValueError: it is something else, or holds NaN or an infinity, which JSON does not know.
    """
    found = json.loads(text, parse_constant=_refuse)
    if not isinstance(found, dict):
        raise ValueError("it is JSON, but no object")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _resolved(value: Any) -> Any:
    if isinstance(value, WhorlError):
        return {"slug": value.slug, "detail": value.detail}
    if dataclasses.is_dataclass(value):
        return {f.name: json_ready(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return str(value) if isinstance(value, Path) else value
