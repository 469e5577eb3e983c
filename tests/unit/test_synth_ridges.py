from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.core.units import MM_PER_INCH
from app.synth.population import finger_seed, population
from app.synth.ridges import MasterPrint, canvas_shape, grow_master

INNER = (slice(40, 216), slice(30, 170))


@pytest.fixture(scope="module")
def masters() -> list[MasterPrint]:
    return list(population(11, 4))


def period_mm(master: MasterPrint) -> float:
    """Mean distance between ridges, by the centre of the band of the power spectrum."""
    patch = master.ridges[INNER]
    window = np.outer(np.hanning(patch.shape[0]), np.hanning(patch.shape[1]))
    power = np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2
    fy, fx = (np.fft.fftfreq(n) for n in patch.shape)
    frequency = np.hypot(fy[:, None], fx[None, :])
    band = (frequency > 0.1) & (frequency < 0.4)
    mean = float((frequency * power)[band].sum() / power[band].sum())
    return MM_PER_INCH / master.dpi / mean


def test_the_same_seed_grows_the_same_finger() -> None:
    once, again = grow_master(7), grow_master(7)
    np.testing.assert_array_equal(once.ridges, again.ridges)
    assert (once.pattern, once.centre_px) == (again.pattern, again.centre_px)


def test_a_master_covers_a_finger_pad(masters: list[MasterPrint]) -> None:
    for master in masters:
        assert master.ridges.shape == master.orientation.shape == canvas_shape(250)
        assert master.ridges.dtype == master.orientation.dtype == np.float32
        assert -1.0 <= master.ridges.min() < -0.8
        assert 0.8 < master.ridges.max() <= 1.0
        assert abs(float(master.ridges[INNER].mean())) < 0.1
        assert np.all(np.asarray(master.centre_px) > 40)


def test_ridges_lie_as_far_apart_as_on_fingers(masters: list[MasterPrint]) -> None:
    periods = [period_mm(master) for master in masters]
    assert all(0.34 < period < 0.60 for period in periods)
    assert max(periods) - min(periods) > 0.01


def test_the_period_does_not_depend_on_the_working_scale() -> None:
    coarse, fine = grow_master(3, dpi=250), grow_master(3, dpi=300)
    assert fine.dpi == 300
    assert fine.ridges.shape > coarse.ridges.shape
    assert period_mm(fine) == pytest.approx(period_mm(coarse), rel=0.08)


def test_ridges_follow_the_orientation_field(masters: list[MasterPrint]) -> None:
    for master in masters:
        gx, gy = (cv2.Sobel(master.ridges, cv2.CV_32F, *d) for d in ((1, 0), (0, 1)))
        xx, yy, xy = (cv2.GaussianBlur(g, (0, 0), 4) for g in (gx * gx, gy * gy, gx * gy))
        across = 0.5 * np.arctan2(-2.0 * xy, xx - yy)
        error = np.mod(across + np.pi / 2 - master.orientation + np.pi / 2, np.pi) - np.pi / 2
        assert np.median(np.abs(np.rad2deg(error[INNER]))) < 6.0


def test_fingers_differ(masters: list[MasterPrint]) -> None:
    for other in masters[1:]:
        likeness = np.corrcoef(masters[0].ridges.ravel(), other.ridges.ravel())[0, 1]
        assert abs(likeness) < 0.1


def test_a_finger_depends_on_population_and_number_alone(masters: list[MasterPrint]) -> None:
    shorter = next(population(11, 1))
    np.testing.assert_array_equal(shorter.ridges, masters[0].ridges)
    assert [master.seed for master in masters] == [finger_seed(11, k) for k in range(4)]


def test_populations_share_no_finger() -> None:
    seeds = {finger_seed(seed, finger) for seed in range(20) for finger in range(200)}
    assert len(seeds) == 20 * 200
