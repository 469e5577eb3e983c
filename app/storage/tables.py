"""The tables as the statements see them; the migrations are what makes them.

Columns carry the names of the record fields they hold, so one pair of functions moves all records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from app.core.records import (
    CalibrationBasis,
    Drift,
    ImagePolicy,
    JobState,
    ModelAlias,
    Scope,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Record = TypeVar("Record", bound=DataclassInstance)


class _Strings(sa.TypeDecorator[tuple[str, ...]]):
    """A tuple of strings as a JSON list."""

    impl = sa.JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:  # noqa: ARG002
        return list(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> tuple[str, ...]:  # noqa: ARG002
        return tuple(value)


class _Scopes(sa.TypeDecorator[frozenset[Scope]]):
    """A set of scopes as a sorted JSON list."""

    impl = sa.JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:  # noqa: ARG002
        return sorted(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> frozenset[Scope]:  # noqa: ARG002
        return frozenset(Scope(name) for name in value)


def _one_of(kind: type[StrEnum]) -> sa.Enum:
    """A column that holds the value (not the name) of an enumeration's member."""
    return sa.Enum(
        kind,
        native_enum=False,
        values_callable=lambda members: [member.value for member in members],
    )


def _json() -> sa.JSON:
    return sa.JSON(none_as_null=True)


metadata = sa.MetaData()

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.LargeBinary),
)

galleries = sa.Table(
    "galleries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("store_images", _one_of(ImagePolicy)),
    sa.Column("default_dpi", sa.Float),
    sa.Column("created_ms", sa.BigInteger),
    sa.Column("upgrade_on_match", sa.Boolean),
)

key_slots = sa.Table(
    "key_slots",
    metadata,
    sa.Column("slot", sa.Integer, primary_key=True),
    sa.Column("wrapped_key", sa.LargeBinary),
)

persons = sa.Table(
    "persons",
    metadata,
    sa.Column("gallery", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("created_ms", sa.BigInteger),
    sa.Column("consent_training", sa.Boolean),
    sa.Column("key_slot", sa.Integer),
)

templates = sa.Table(
    "templates",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("gallery", sa.Text),
    sa.Column("person_id", sa.Text),
    sa.Column("finger", sa.Integer),
    sa.Column("quality", sa.Integer),
    sa.Column("reasons", _Strings),
    sa.Column("format", sa.Text),
    sa.Column("width_px", sa.Integer),
    sa.Column("height_px", sa.Integer),
    sa.Column("dpi", sa.Float),
    sa.Column("dpi_source", sa.Text),
    sa.Column("has_image", sa.Boolean),
    sa.Column("created_ms", sa.BigInteger),
)

descriptors = sa.Table(
    "descriptors",
    metadata,
    sa.Column("template_id", sa.Text, primary_key=True),
    sa.Column("model_id", sa.Text, primary_key=True),
    sa.Column("sealed", sa.LargeBinary),
    sa.Column("of_probe", sa.Boolean),
)

images = sa.Table(
    "images",
    metadata,
    sa.Column("template_id", sa.Text, primary_key=True),
    sa.Column("sealed", sa.LargeBinary),
    sa.Column("dpi", sa.Float),
)

changes = sa.Table(
    "changes",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("gallery", sa.Text),
    sa.Column("template_id", sa.Text),
    sa.Column("removed", sa.Boolean),
)

aliases = sa.Table(
    "aliases",
    metadata,
    sa.Column("alias", _one_of(ModelAlias), primary_key=True),
    sa.Column("model_id", sa.Text),
    sa.Column("job_id", sa.Text),
)

site_calibrations = sa.Table(
    "site_calibrations",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("model_id", sa.Text),
    sa.Column("gallery", sa.Text),
    sa.Column("basis", _one_of(CalibrationBasis)),
    sa.Column("made_ms", sa.BigInteger),
    sa.Column("seed", sa.BigInteger),
    sa.Column("left_out", sa.Integer),
    sa.Column("calibration", _json()),
    sa.Column("checks", _json()),
    sa.Column("drift", _one_of(Drift)),
    sa.Column("applied_ms", sa.BigInteger),
    sa.Column("replaces", sa.Boolean),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text),
    sa.Column("state", _one_of(JobState)),
    sa.Column("spec", _json()),
    sa.Column("progress", _json()),
    sa.Column("result", _json()),
    sa.Column("problem", _json()),
    sa.Column("attempt", sa.Integer),
    sa.Column("max_attempts", sa.Integer),
    sa.Column("fence", sa.Integer),
    sa.Column("revision", sa.Integer),
    sa.Column("worker", sa.Text),
    sa.Column("lease_until_ms", sa.BigInteger),
    sa.Column("created_ms", sa.BigInteger),
    sa.Column("started_ms", sa.BigInteger),
    sa.Column("ended_ms", sa.BigInteger),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("secret_hash", sa.Text),
    sa.Column("scopes", _Scopes),
    sa.Column("created_ms", sa.BigInteger),
    sa.Column("revoked_ms", sa.BigInteger),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("at_ms", sa.BigInteger),
    sa.Column("actor", sa.Text),
    sa.Column("action", sa.Text),
    sa.Column("subject", sa.Text),
    sa.Column("details", _json()),
    sa.Column("request_id", sa.Text),
)

replies = sa.Table(
    "replies",
    metadata,
    sa.Column("actor", sa.Text, primary_key=True),
    sa.Column("idempotency_key", sa.Text, primary_key=True),
    sa.Column("request_hash", sa.Text),
    sa.Column("status", sa.Integer),
    sa.Column("body", sa.Text),
    sa.Column("created_ms", sa.BigInteger),
)

datasets = sa.Table(
    "datasets",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("created_ms", sa.BigInteger),
    sa.Column("subjects", sa.Integer),
    sa.Column("fingers", sa.Integer),
    sa.Column("samples", sa.Integer),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("dpi", sa.Float),
    sa.Column("pattern", sa.Text),
    sa.Column("report", _json()),
    sa.Column("key_slot", sa.Integer),
)


def row_of(record: DataclassInstance, **changed: Any) -> Mapping[str, Any]:
    """The column values of a record, some of them replaced."""
    return {f.name: getattr(record, f.name) for f in fields(record)} | changed


def record_of(kind: type[Record], row: sa.Row[Any]) -> Record:
    """The record held by a row that has a column for each of its fields."""
    return kind(**{name: getattr(row, name) for name in _names(kind)})


@cache
def _names(kind: type[DataclassInstance]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))
