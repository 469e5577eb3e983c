"""From the bytes of an image to what the encoder sees; reads like the figure, a stage a line."""

from __future__ import annotations

from dataclasses import replace

from app.core.errors import QualityTooLow
from app.core.params import PictureParams, Preparation, PreparationParams
from app.core.stopwatch import stage
from app.core.types import (
    Capture,
    CaptureFacts,
    DpiSource,
    GrayImage,
    PreparedSample,
    Quality,
    QualityReason,
)
from app.imaging.decode import ImageHeader, ImageLimits, decode, inspect
from app.imaging.normalise import centre_crop, crop_at, crop_origin, normalise
from app.imaging.picture import assess_picture, picture_sample
from app.imaging.quality import assess
from app.imaging.resolution import require_one_finger, resample, resolve_dpi, stated_dpi
from app.imaging.ridges import ridge_field
from app.imaging.segment import segment

_ADVICE = {
    QualityReason.TOO_SMALL: "too little of the finger is visible: "
    "place the whole fingertip flat on the sensor",
    QualityReason.TOO_DRY: "the finger is too dry: "
    "moisten it slightly (breathe on it) and press a little harder",
    QualityReason.TOO_WET: "the finger is too wet: dry finger and sensor and press less",
    QualityReason.LOW_CONTRAST: "ridges hardly differ from valleys: "
    "clean the sensor and press a little harder",
    QualityReason.BLANK: "there is nothing, or almost nothing, to be seen: "
    "check that it is the right picture",
}
_NOISE_COHERENCE = 0.25
_NO_REASON = "the ridges are unclear: clean the sensor and place the finger flat and still"
_DEFAULT_LIMITS = ImageLimits()


def prepare(
    data: bytes,
    params: Preparation,
    *,
    requested_dpi: float | None = None,
    default_dpi: float | None = None,
    limits: ImageLimits = _DEFAULT_LIMITS,
) -> Capture:
    """One capture as a model wants it prepared: a print, or a picture of anything.

    Poor quality is no error here: the caller decides with ``require_quality``. Of a picture no
    resolution is asked.

    Raises:
        InvalidImage: the bytes are no image within the limits.
        DpiUnknown: the resolution of a print is neither in the file, the request nor the gallery.
        InvalidInput: ``dpi_out_of_range`` or ``capture_too_large``.
    """
    if isinstance(params, PictureParams):
        # How many pixels a print needs at least says nothing of other pictures.
        header = inspect(data, replace(limits, min_side_px=1))
        return _picture(data, header, params, stated_dpi(header.file_dpi, requested_dpi))
    return _print(data, inspect(data, limits), params, requested_dpi, default_dpi)


def _picture(
    data: bytes,
    header: ImageHeader,
    params: PictureParams,
    stated: tuple[float | None, DpiSource],
) -> Capture:
    """Decode, assess, trim, resize and scale."""
    with stage("decode"):
        pixels = decode(data, header)
    quality = assess_picture(pixels, params)
    prepared = picture_sample(pixels, params)
    height_px, width_px = pixels.shape
    return Capture(CaptureFacts(header.format, width_px, height_px, *stated), quality, prepared)


def _print(
    data: bytes,
    header: ImageHeader,
    params: PreparationParams,
    requested_dpi: float | None,
    default_dpi: float | None,
) -> Capture:
    """Decode, bring to scale, measure ridges, segment, normalise, assess and crop."""
    dpi, dpi_source = resolve_dpi(header.file_dpi, requested_dpi, default_dpi)
    require_one_finger(header.width_px, header.height_px, dpi)
    with stage("decode"):
        pixels = decode(data, header)
    image = resample(pixels, dpi, params.dpi)
    field = ridge_field(image, params.dpi)
    mask = segment(image, params, field)
    normalised = normalise(image, mask, params)
    quality = assess(image, mask, params, field, normalised)
    prepared = centre_crop(normalised, mask, params)
    height_px, width_px = pixels.shape
    facts = CaptureFacts(header.format, width_px, height_px, dpi, dpi_source)
    return Capture(facts, quality, prepared)


def prepare_with_offset(
    image: GrayImage, dpi: float, params: PreparationParams
) -> tuple[PreparedSample, tuple[float, float]]:
    """Prepare an image in memory and say where the crop lies.

    Args:
        image: uint8 [H, W] at ``dpi``.

    Returns:
        The sample, and (x0, y0) in pixels at ``params.dpi``: the crop's pixel (u, v) is pixel
        (u + x0, v + y0) of the resampled image.

    Raises:
        InvalidInput: the resolution is out of range or the image too large for one finger.
    """
    resampled = resample(image, dpi, params.dpi)
    mask = segment(resampled, params)
    normalised = normalise(resampled, mask, params)
    origin = crop_origin(mask, params)
    sample = crop_at(normalised, mask, origin, params)
    return sample, (float(origin[0]), float(origin[1]))


def prepare_impression(image: GrayImage, dpi: float, params: PreparationParams) -> PreparedSample:
    """Prepare an image in memory, without a verdict on its quality (training, evaluation)."""
    sample, _ = prepare_with_offset(image, dpi, params)
    return sample


def require_quality(quality: Quality, minimum: int) -> None:
    """Let only good captures pass.

    Raises:
        QualityTooLow: the score is below ``minimum``; the detail says what to do about it.
    """
    if quality.score >= minimum:
        return
    advice = "; ".join(_advice(reason, quality) for reason in quality.reasons) or _NO_REASON
    raise QualityTooLow(
        f"The capture's quality is {quality.score} of 100, at least {minimum} is needed: {advice}.",
        score=quality.score,
        minimum=minimum,
        reasons=[reason.value for reason in quality.reasons],
    )


def _advice(reason: QualityReason, quality: Quality) -> str:
    if reason is not QualityReason.NOT_A_FINGERPRINT:
        return _ADVICE[reason]
    if quality.area_mm2 == 0.0:
        found = "the image is blank or shows something else"
    elif quality.ridge_coherence < _NOISE_COHERENCE:
        found = "what is there has no direction, like noise"
    else:
        found = "there are lines and edges, but not a finger's distance apart, as in a photo"
    return (
        f"no ridges of a finger were found, {found}: "
        "check that the image shows one fingerprint and that 'dpi' is right"
    )
