"""Quality of a sample, with reasons that a person at the reader can act on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.core.params import PreparationParams
from app.core.types import FloatArray, GrayImage, Quality, QualityReason
from app.imaging.normalise import normalise
from app.imaging.ridges import RidgeField, px_per_mm, ridge_field
from app.imaging.spectrum import RidgeBlocks, ridge_blocks

_MIN_SIDE_MM = 4.0
_MIN_RIDGED_SHARE = 0.25
_MIN_RIDGED_MM2 = 25.0
_SMALL_MM2 = 60.0
_MAX_ALIGNMENT = 0.965
_UNCLEAR_SHARE = 0.5
_LOW_CONTRAST = 0.1
# Share of the foreground darker than its surroundings: thin ridges when dry, thin valleys when wet.
_DRY_DARK, _UNSURE_DARK, _WET_DARK = 0.36, 0.48, 0.58


@dataclass(frozen=True, slots=True)
class _Measures:
    area_mm2: float
    contrast: float
    coherence: float
    dark_share: float
    blocks: RidgeBlocks


def assess(
    image: GrayImage,
    mask: FloatArray,
    params: PreparationParams,
    field: RidgeField | None = None,
    normalised: FloatArray | None = None,
) -> Quality:
    """Judge a sample.

    Args:
        image: uint8 [H, W] at ``params.dpi``.
        mask: float32 [H, W], its foreground.
        field: the image's ridges, where they are measured already.
        normalised: float32 [H, W], what ``normalise`` makes of it, where that is known already.

    Returns:
        A score of 0 to 100; reasons in the order in which a person should see to them.
    """
    field = field or ridge_field(image, params.dpi)
    if normalised is None:
        normalised = normalise(image, mask, params)
    measures = _measure(field, normalised, mask, params.dpi)
    small_image = min(image.shape) < _MIN_SIDE_MM * px_per_mm(params.dpi)
    reasons = (QualityReason.TOO_SMALL,) if small_image else _reasons(measures)
    useless = small_image or QualityReason.NOT_A_FINGERPRINT in reasons
    return Quality(
        score=0 if useless else _score(measures),
        reasons=reasons,
        area_mm2=measures.area_mm2,
        contrast=measures.contrast,
        ridge_coherence=measures.coherence,
        ridge_period_mm=measures.blocks.period_mm,
    )


def _measure(field: RidgeField, normalised: FloatArray, mask: FloatArray, dpi: float) -> _Measures:
    inside = mask > 0.0
    blocks = ridge_blocks(field, mask, dpi)
    count = np.count_nonzero(inside)
    if count == 0:
        return _Measures(0.0, 0.0, 0.0, 0.5, blocks)
    return _Measures(
        area_mm2=count / px_per_mm(dpi) ** 2,
        # The mean of |sine| is 2 / pi of its amplitude, half of the ridge-valley difference.
        contrast=min(1.0, float(field.amplitude[inside].mean()) * np.pi / 255.0),
        coherence=float(field.coherence[inside].mean()),
        # Outside, what is normalised is 0.
        dark_share=np.count_nonzero(normalised < 0.0) / count,
        blocks=blocks,
    )


def _reasons(measures: _Measures) -> tuple[QualityReason, ...]:
    if not _is_fingerprint(measures):
        return (QualityReason.NOT_A_FINGERPRINT,)
    unclear = measures.blocks.share < _UNCLEAR_SHARE
    dry_below = _UNSURE_DARK if unclear else _DRY_DARK
    found = (
        (QualityReason.TOO_SMALL, measures.area_mm2 < _SMALL_MM2),
        (QualityReason.TOO_DRY, measures.dark_share < dry_below),
        (QualityReason.TOO_WET, measures.dark_share > (_UNSURE_DARK if unclear else _WET_DARK)),
        (QualityReason.LOW_CONTRAST, measures.contrast < _LOW_CONTRAST),
    )
    return tuple(reason for reason, applies in found if applies)


def _is_fingerprint(measures: _Measures) -> bool:
    """Enough parallel ridges of a finger's period, and not all of them in one direction.

    A tiny capture may hold fewer, if nearly all of it is ridges: it is too small, not no finger.
    """
    blocks = measures.blocks
    enough = blocks.share >= _MIN_RIDGED_SHARE and blocks.area_mm2 >= _MIN_RIDGED_MM2
    tiny = blocks.share >= 2.0 * _MIN_RIDGED_SHARE and measures.area_mm2 < _MIN_RIDGED_MM2 * 2.0
    printed_lines = blocks.alignment > _MAX_ALIGNMENT
    return (enough or tiny) and not printed_lines


def _score(measures: _Measures) -> int:
    """Area and ridges decide; contrast, clarity and the balance of ridge and valley modify."""
    area = _ramp(measures.area_mm2, 20.0, 130.0)
    ridged = _ramp(measures.blocks.share, 0.1, 0.9)
    contrast = _ramp(measures.contrast, 0.03, 0.2)
    clarity = _ramp(measures.coherence, 0.25, 0.7)
    balance = min(
        _ramp(measures.dark_share, 0.15, 0.4), _ramp(1.0 - measures.dark_share, 0.15, 0.44)
    )
    product = np.sqrt(area * ridged) * np.cbrt(contrast * clarity * balance)
    return round(100.0 * float(product))


def _ramp(value: float, zero: float, one: float) -> float:
    return float(np.clip((value - zero) / (one - zero), 0.0, 1.0))
