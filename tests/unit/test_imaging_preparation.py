from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from app.core.errors import DpiUnknown, QualityTooLow
from app.core.params import PreparationParams
from app.core.types import (
    DpiSource,
    FloatArray,
    GrayImage,
    PreparedSample,
    Quality,
    QualityReason,
)
from app.imaging.normalise import centre_crop, normalise, rotate
from app.imaging.pipeline import (
    prepare,
    prepare_impression,
    prepare_with_offset,
    require_quality,
)
from app.imaging.quality import assess
from app.imaging.resolution import resample
from app.imaging.segment import segment

PARAMS = PreparationParams()
ENROL_MINIMUM = 20


def finger(period_mm: float = 0.45, dark: float = 30.0, light: float = 235.0) -> GrayImage:
    """A whorl of 13 x 17 mm on paper, 20 x 24 mm at 250 dpi."""
    rows, columns = np.mgrid[:236, :196].astype(np.float64)
    y, x = (rows - 118) / 9.84, (columns - 98) / 9.84
    waves = np.cos(2.0 * np.pi * np.hypot(x * 1.2, y * 0.9) / period_mm)
    levels = np.where(waves > 0, dark, light)
    inside = np.hypot(x / 6.5, y / 8.5) < 1.0
    return np.where(inside, levels, 250.0).astype(np.uint8)


def inner_ellipse(radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:236, :196].astype(np.float64)
    ellipse = np.hypot((columns - 98) / 9.84 / 6.5, (rows - 118) / 9.84 / 8.5)
    return np.asarray(ellipse < radius, np.bool_)


def judged(image: GrayImage, dpi: float = 250.0) -> Quality:
    resampled = resample(image, dpi, PARAMS.dpi)
    return assess(resampled, segment(resampled, PARAMS), PARAMS)


def text_page() -> GrayImage:
    page = Image.new("L", (400, 400), 255)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(16)
    for row in range(0, 400, 20):
        draw.text((4, row), f"{row} the quick brown fox jumps over a lazy dog", 0, font=font)
    return np.array(page)


def pink_noise(rng: np.random.Generator) -> GrayImage:
    side = 320
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    radius[0, 0] = 1.0
    values = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) / radius)
    return np.asarray(np.clip(128 + 45 * values / values.std(), 0, 255), np.uint8)


def other_images() -> dict[str, GrayImage]:
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:320, :320]
    return {
        "blank": np.full((320, 320), 255, np.uint8),
        "black": np.zeros((320, 320), np.uint8),
        "faint noise": np.clip(250 + rng.normal(0, 3, (320, 320)), 0, 255).astype(np.uint8),
        "noise": rng.integers(0, 256, (320, 320)).astype(np.uint8),
        "natural noise": pink_noise(rng),
        "gradient": (columns * 0.79).astype(np.uint8),
        "chequers": ((rows // 8 + columns // 8) % 2 * 255).astype(np.uint8),
        "disc": np.where(np.hypot(rows - 160, columns - 160) < 90, 60, 255).astype(np.uint8),
        "text": text_page(),
    }


def test_segment_finds_the_finger_and_nothing_else() -> None:
    mask = segment(finger(), PARAMS)
    assert set(np.unique(mask)) == {0.0, 1.0}
    assert mask[inner_ellipse(0.85)].mean() > 0.99
    assert mask[~inner_ellipse(1.15)].mean() < 0.01


def test_segment_ignores_the_frame_of_the_sensor() -> None:
    image = finger()
    image[:, -3:] = 0
    image[:3] = 40
    mask = segment(image, PARAMS)
    assert mask[:, -6:].max() == 0.0
    assert mask[:6].max() == 0.0


def test_segment_keeps_a_wet_spot() -> None:
    image = finger()
    image[90:150, 70:126] = 30
    assert segment(image, PARAMS)[inner_ellipse(0.85)].mean() > 0.99


def test_segment_on_a_dark_noisy_ground() -> None:
    rng = np.random.default_rng(1)
    ground = finger(dark=60, light=150).astype(float)
    ground[~inner_ellipse(1.0)] = 110.0
    noisy = np.clip(ground + rng.normal(0, 4, ground.shape), 0, 255).astype(np.uint8)
    mask = segment(noisy, PARAMS)
    assert mask[inner_ellipse(0.85)].mean() > 0.97
    assert mask[~inner_ellipse(1.2)].mean() < 0.05


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (7, 3), (40, 40), (33, 500)])
def test_any_size_can_be_prepared(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(2).integers(0, 256, shape).astype(np.uint8)
    sample = prepare_impression(image, 250, PARAMS)
    assert sample.image.shape == (PARAMS.size_px, PARAMS.size_px)
    assert judged(image).score == 0


def test_normalised_is_bounded_and_zero_outside() -> None:
    image = finger()
    mask = segment(image, PARAMS)
    found = normalise(image, mask, PARAMS)
    assert found.dtype == np.float32
    assert np.abs(found).max() <= 1.0
    assert not found[mask == 0].any()
    ridges = (image < 100) & inner_ellipse(0.85)
    valleys = (image > 200) & inner_ellipse(0.85)
    assert found[ridges].mean() < -0.4
    assert found[valleys].mean() > 0.4


def test_what_lies_outside_the_mask_changes_nothing() -> None:
    image = finger()
    mask = segment(image, PARAMS)
    spoiled = np.where(mask > 0, image, np.random.default_rng(3).integers(0, 256, image.shape))
    expected = normalise(image, mask, PARAMS)
    found = normalise(spoiled.astype(np.uint8), mask, PARAMS)
    assert np.array_equal(found, expected)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.4, 1.0), st.floats(0, 1))
def test_brightness_and_contrast_change_almost_nothing(gain: float, lift: float) -> None:
    image = finger()
    mask = segment(image, PARAMS)
    changed = np.round(image * gain + lift * (255 - 255 * gain)).astype(np.uint8)
    before, after = normalise(image, mask, PARAMS), normalise(changed, mask, PARAMS)
    assert np.abs(before - after).max() < 0.05
    assert np.mean(segment(changed, PARAMS) != mask) < 0.02


def test_offset_maps_the_crop_to_the_image() -> None:
    image = np.roll(finger(), (11, -17), axis=(0, 1))
    sample, (x0, y0) = prepare_with_offset(image, 250, PARAMS)
    mask = segment(image, PARAMS)
    whole = normalise(image, mask, PARAMS)
    u, v = 100, 90
    assert sample.image[v, u] == whole[v + int(y0), u + int(x0)]
    rows, columns = np.nonzero(sample.mask)
    middle = (PARAMS.size_px - 1) / 2
    assert abs(rows.mean() - middle) < 1.5
    assert abs(columns.mean() - middle) < 1.5


def test_a_print_larger_than_the_crop_is_cut_and_a_smaller_one_padded() -> None:
    small = PreparationParams(size_px=64)
    image = finger()
    mask = segment(image, small)
    cut = centre_crop(normalise(image, mask, small), mask, small)
    assert cut.image.shape == (64, 64)
    assert cut.mask.all()
    assert prepare_impression(image[80:150, 60:130], 250, PARAMS).mask[:20].max() == 0.0


def test_rotation_by_zero_is_the_sample_itself() -> None:
    sample = prepare_impression(finger(), 250, PARAMS)
    found = rotate(sample, (-20.0, 0.0, 20.0))
    assert found[1] is sample


def test_rotation_there_and_back() -> None:
    sample = prepare_impression(finger(period_mm=0.7), 250, PARAMS)
    back = rotate(rotate(sample, (15.0,))[0], (-15.0,))[0]
    both = (back.mask > 0) & (sample.mask > 0)
    assert both.sum() > 0.95 * sample.mask.sum()
    assert np.corrcoef(back.image[both], sample.image[both])[0, 1] > 0.9


def test_rotation_is_counter_clockwise_and_fills_with_nothing() -> None:
    image = np.zeros((65, 65), np.float32)
    mask: FloatArray = np.zeros((65, 65), np.float32)
    image[30:35, 50:55], mask[30:35, 50:55] = -1.0, 1.0
    turned = rotate(PreparedSample(image, mask), (90.0,))[0]
    assert turned.image[10:15, 30:35].mean() == pytest.approx(-1.0, abs=0.01)
    assert turned.image[turned.mask == 0].any() == np.False_


def test_quality_of_a_clear_print() -> None:
    quality = judged(finger())
    assert quality.score > 70
    assert quality.reasons == ()
    assert quality.ridge_period_mm == pytest.approx(0.45, abs=0.08)
    assert quality.area_mm2 == pytest.approx(np.pi * 6.5 * 8.5, rel=0.1)


@pytest.mark.parametrize("name", sorted(other_images()))
@pytest.mark.parametrize("dpi", [250, 500])
def test_what_is_no_fingerprint_is_called_so(name: str, dpi: int) -> None:
    quality = judged(other_images()[name], dpi)
    assert quality.reasons == (QualityReason.NOT_A_FINGERPRINT,)
    assert quality.score == 0


def test_ridges_of_no_finger_are_no_fingerprint() -> None:
    assert QualityReason.NOT_A_FINGERPRINT in judged(finger(period_mm=1.3)).reasons


def test_reasons_follow_the_cause() -> None:
    assert QualityReason.TOO_SMALL in judged(finger()[90:150, 70:130]).reasons
    assert QualityReason.LOW_CONTRAST in judged(finger(dark=233, light=250)).reasons
    rows, columns = np.mgrid[:236, :196].astype(np.float64)
    y, x = (rows - 118) / 9.84, (columns - 98) / 9.84
    waves = np.cos(2.0 * np.pi * np.hypot(x * 1.2, y * 0.9) / 0.55)
    for level, reason in ((0.65, QualityReason.TOO_DRY), (-0.65, QualityReason.TOO_WET)):
        image = np.where((waves > level) & inner_ellipse(1.0), 40, 250).astype(np.uint8)
        assert judged(image).reasons[0] == reason


def test_a_sliver_is_too_small() -> None:
    assert judged(finger()[:, 90:120]).reasons == (QualityReason.TOO_SMALL,)


def test_poor_quality_is_refused_with_advice() -> None:
    poor = Quality(12, (QualityReason.TOO_DRY, QualityReason.LOW_CONTRAST), 150.0, 0.05, 0.4, 0.45)
    require_quality(poor, 12)
    with pytest.raises(QualityTooLow, match="moisten") as caught:
        require_quality(poor, ENROL_MINIMUM)
    assert "clean the sensor" in caught.value.detail
    assert caught.value.context["reasons"] == ["too_dry", "low_contrast"]
    assert caught.value.context["score"] == 12


@pytest.mark.parametrize("reason", list(QualityReason))
def test_every_reason_has_advice(reason: QualityReason) -> None:
    with pytest.raises(QualityTooLow, match=":"):
        require_quality(Quality(0, (reason,), 0.0, 0.0, 0.0, float("nan")), 1)


def pgm(image: GrayImage) -> bytes:
    return b"P5 %d %d 255\n" % (image.shape[1], image.shape[0]) + image.tobytes()


def test_pipeline_from_bytes() -> None:
    capture = prepare(pgm(finger()), PARAMS, requested_dpi=250, default_dpi=500)
    assert (capture.facts.format, capture.facts.width_px, capture.facts.height_px) == (
        "pgm",
        196,
        236,
    )
    assert (capture.facts.dpi, capture.facts.dpi_source) == (250.0, DpiSource.REQUEST)
    expected = prepare_impression(finger(), 250, PARAMS)
    assert np.array_equal(capture.prepared.image, expected.image)
    assert np.array_equal(capture.prepared.mask, expected.mask)
    with pytest.raises(DpiUnknown):
        prepare(pgm(finger()), PARAMS)


@pytest.mark.parametrize(
    ("area_mm2", "coherence", "words"),
    [(0.0, 0.0, "blank"), (400.0, 0.1, "noise"), (280.0, 0.5, "photo")],
)
def test_what_is_no_fingerprint_is_told_apart(
    area_mm2: float, coherence: float, words: str
) -> None:
    reasons = (QualityReason.NOT_A_FINGERPRINT,)
    with pytest.raises(QualityTooLow, match=words):
        require_quality(Quality(0, reasons, area_mm2, 0.1, coherence, float("nan")), 1)
