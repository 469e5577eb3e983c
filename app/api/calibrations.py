"""Bodies of answers about calibrations: of a model's own and of the site's."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field

from app.api.schemas import SINCE_EPOCH, Answer
from app.core.records import CalibrationBasis, Drift, SiteCalibration
from app.services.site_calibrations import ModelCalibrations

InForce = Literal["promised", "stricter", "site"]


class TableAnswer(Answer):
    """Thresholds at falling false match rates, and the counts behind them."""

    comparisons: int
    independent_pairs: int
    subjects: int
    minimum_fmr: float = Field(description="The smallest rate that the counts support.")
    fmr: list[float]
    thresholds: list[float]

    @classmethod
    def of(cls, table: dict[str, Any]) -> Self:
        """A table in the form of manifests."""
        return cls(**table, minimum_fmr=table["fmr"][-1] if table["fmr"] else 1.0)


class RateCheckAnswer(Answer):
    """What one false match rate of the model comes to at the site."""

    asked_fmr: float
    promised_threshold: float | None
    site_threshold: float
    matches: int | None
    met_fmr: float | None = Field(description="At the promised threshold.")
    low_fmr: float | None = Field(description="95 % interval of `met_fmr`: from here")
    high_fmr: float | None = Field(description="to here.")
    drift: Drift


class SiteCalibrationAnswer(Answer):
    """One measurement of a model at the site."""

    calibration_id: str
    gallery: str | None = Field(description="Null where it was measured on a folder.")
    basis: CalibrationBasis
    made_ms: int = Field(description=SINCE_EPOCH)
    seed: int
    left_out: int = Field(description="Persons drawn whose sample could not be used.")
    table: TableAnswer
    checks: list[RateCheckAnswer]
    drift: Drift
    applied_ms: int | None = Field(description="Since when it decides; null where it does not.")

    @classmethod
    def of(cls, kept: SiteCalibration) -> Self:
        """A calibration as stored."""
        return cls(
            calibration_id=kept.id,
            gallery=kept.gallery,
            basis=kept.basis,
            made_ms=kept.made_ms,
            seed=kept.seed,
            left_out=kept.left_out,
            table=TableAnswer.of(kept.calibration),
            checks=[RateCheckAnswer.model_validate(check) for check in kept.checks],
            drift=kept.drift,
            applied_ms=kept.applied_ms,
        )


class CalibrationsAnswer(Answer):
    """What a model promised, what its site measured, and which of them decides."""

    model_id: str
    in_force: InForce
    promised: TableAnswer | None = Field(description="Of the manifest.")
    site: SiteCalibrationAnswer | None = Field(description="What was measured last.")
    applied: SiteCalibrationAnswer | None

    @classmethod
    def of(cls, found: ModelCalibrations) -> Self:
        """The calibrations of one model."""
        newest, applied = found.newest, found.applied
        return cls(
            model_id=found.model_id,
            in_force=_in_force(applied),
            promised=None if found.promised is None else TableAnswer.of(found.promised),
            site=None if newest is None else SiteCalibrationAnswer.of(newest),
            applied=None if applied is None else SiteCalibrationAnswer.of(applied),
        )


def _in_force(applied: SiteCalibration | None) -> InForce:
    if applied is None:
        return "promised"
    return "site" if applied.replaces else "stricter"
