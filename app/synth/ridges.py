"""Master prints, grown from noise by iterated oriented filtering with saturation.

After SFinGe (Cappelli, Handbook of Fingerprint Recognition): a filter tuned to the local ridge
orientation and period is applied again and again; minutiae arise where the growing ridges cannot
agree. Every filter of the tuned family is a weighted sum of a few fixed ones (Perona 1995,
deformable kernels), so one pass costs one Fourier transform forth and a few back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from app.core.types import FloatArray
from app.core.units import MM_PER_INCH
from app.synth.fields import smooth_noise
from app.synth.orientation import (
    HEIGHT_MM,
    WIDTH_MM,
    Pattern,
    Point,
    Singularities,
    draw_pattern,
    draw_singularities,
    orientation_field,
)

PERIOD_MEAN_MM = 0.46
PERIOD_SD_MM = 0.045
PERIOD_RANGE_MM = (0.32, 0.64)
ITERATIONS = 12
SATURATION = 1.6
# Between two clear steps of the eigenvalues, so that no pair of equal ones is cut apart.
BASIS_RANK = 21
ORIENTATION_STEPS = 36
PERIOD_STEPS = 8
BAND_ACROSS = 0.34
BAND_ALONG = 0.30


@dataclass(frozen=True, slots=True, eq=False)
class MasterPrint:
    """The ridges of one finger, before anything touches them.

    Attributes:
        ridges: float32 [H, W], -1 on a ridge (dark) to +1 in a valley.
        dpi: resolution of the arrays.
        pattern: class of the ridge flow.
        seed: what the finger was grown from.
        orientation: float32 [H, W], radians in [0, pi), counter-clockwise as seen.
        centre_px: (x, y) of the core, midway between two cores, or the middle of an arch.
    """

    ridges: FloatArray
    dpi: int
    pattern: Pattern
    seed: int
    orientation: FloatArray
    centre_px: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class FilterBasis:
    """A few fixed filters whose weighted sums are all the tuned ones.

    Attributes:
        spectra: float32 [K, H, W // 2 + 1], real transfer functions.
        weights: float32 [K, orientations + 2, periods], the weights by orientation (one more
            row on either side, so that interpolation can wrap) and by the logarithm of the period.
    """

    spectra: FloatArray
    weights: FloatArray


def grow_master(seed: int, dpi: int = 250, *, creased: bool = True) -> MasterPrint:
    """Grow the finger of this seed; the same seed and dpi give the same finger.

    Args:
        creased: False leaves the creases out; nothing else changes.

    Returns:
        a master of about 20 x 26 mm.
    """
    # A stream for every step, for what a step consumes depends on the dpi.
    class_rng, flow_rng, period_rng, growth_rng, crease_rng = np.random.default_rng(seed).spawn(5)
    pattern = draw_pattern(class_rng)
    singularities = draw_singularities(class_rng, pattern)
    shape = canvas_shape(dpi)
    orientation = orientation_field(flow_rng, pattern, singularities, shape, dpi)
    period_px = draw_period_map(period_rng, singularities, shape, dpi)
    ridges = grow(growth_rng, orientation, period_px, dpi)
    return MasterPrint(
        ridges=crease(crease_rng, ridges, dpi) if creased else ridges,
        dpi=dpi,
        pattern=pattern,
        seed=seed,
        orientation=orientation,
        centre_px=_centre_px(singularities, dpi),
    )


def canvas_shape(dpi: int) -> tuple[int, int]:
    """Rows and columns of a master, rounded up to what transforms fast."""
    rows, cols = (round(side * dpi / MM_PER_INCH) for side in (HEIGHT_MM, WIDTH_MM))
    return fft.next_fast_len(rows, real=True), fft.next_fast_len(cols, real=True)


def draw_period_map(
    rng: np.random.Generator, singularities: Singularities, shape: tuple[int, int], dpi: int
) -> FloatArray:
    """Distance between ridges: one mean a finger, wider below the core, with smooth variation.

    Returns:
        float32 [shape], pixels.
    """
    mean_mm = float(np.clip(rng.normal(PERIOD_MEAN_MM, PERIOD_SD_MM), 0.36, 0.57))
    core_y = _centre_mm(singularities)[1]
    y_mm = np.arange(shape[0], dtype=np.float32)[:, None] * MM_PER_INCH / dpi
    below = 0.06 * np.tanh((y_mm - core_y - 3.0) / 4.0)
    local = 0.045 * smooth_noise(rng, shape, 4.0 * dpi / MM_PER_INCH)
    period_mm = np.clip(mean_mm * (1.0 + below + local), *PERIOD_RANGE_MM)
    return np.asarray(period_mm * dpi / MM_PER_INCH, np.float32)


def grow(
    rng: np.random.Generator, orientation: FloatArray, period_px: FloatArray, dpi: int
) -> FloatArray:
    """Filter noise until it is ridges.

    Args:
        orientation: float32 [H, W], radians, counter-clockwise as seen.
        period_px: float32 [H, W].

    Returns:
        float32 [H, W] in -1..1.
    """
    basis = filter_basis(orientation.shape, dpi)
    weights = _local_weights(basis, orientation, period_px, dpi)
    image = rng.standard_normal(orientation.shape, dtype=np.float32)
    for _ in range(ITERATIONS):
        image = np.tanh(SATURATION * _filtered(image, basis, weights))
    return image


def _filtered(image: FloatArray, basis: FilterBasis, weights: FloatArray) -> FloatArray:
    """One pass of the locally tuned filter, scaled to a root mean square of 1."""
    spectrum = fft.rfft2(image)
    responses = fft.irfft2(basis.spectra * spectrum, s=image.shape, overwrite_x=True)
    tuned = np.einsum("khw,khw->hw", weights, responses)
    return np.asarray(tuned / np.sqrt(np.mean(tuned * tuned) + 1e-12), np.float32)


@lru_cache(maxsize=4)
def filter_basis(shape: tuple[int, int], dpi: int) -> FilterBasis:
    """Principal components of the tuned family over all orientations and periods."""
    angles = np.arange(ORIENTATION_STEPS) * np.pi / ORIENTATION_STEPS
    periods_px = np.geomspace(*PERIOD_RANGE_MM, PERIOD_STEPS) * dpi / MM_PER_INCH
    family = np.stack([_tuned(shape, a, p) for a in angles for p in periods_px])
    flat = family.reshape(len(family), -1)
    precise = flat.astype(np.float64)
    _, vectors = np.linalg.eigh(precise @ precise.T)
    leading = vectors[:, ::-1][:, :BASIS_RANK].astype(np.float32)
    spectra = (leading.T @ flat).reshape(BASIS_RANK, *family.shape[1:])
    table = leading.T.reshape(BASIS_RANK, ORIENTATION_STEPS, PERIOD_STEPS)
    wrapped = np.concatenate([table[:, -1:], table, table[:, :1]], axis=1)
    return FilterBasis(spectra, np.ascontiguousarray(wrapped))


def _tuned(shape: tuple[int, int], angle: float, period_px: float) -> FloatArray:
    """Transfer function of one Gabor-like filter without response to a constant."""
    fy = -fft.fftfreq(shape[0])[:, None] * period_px
    fx = fft.rfftfreq(shape[1])[None, :] * period_px
    across = -fx * np.sin(angle) + fy * np.cos(angle)
    along = fx * np.cos(angle) + fy * np.sin(angle)
    lobes = sum(np.exp(-0.5 * ((across - side) / BAND_ACROSS) ** 2) for side in (-1.0, 1.0))
    response = lobes * np.exp(-0.5 * (along / BAND_ALONG) ** 2)
    response[0, 0] = 0.0
    return np.asarray(response, np.float32)


def _local_weights(
    basis: FilterBasis, orientation: FloatArray, period_px: FloatArray, dpi: int
) -> FloatArray:
    """Weights of the basis at every pixel, float32 [K, H, W], interpolated in the table."""
    low, high = np.log(np.asarray(PERIOD_RANGE_MM) * dpi / MM_PER_INCH)
    row = np.asarray(orientation * (ORIENTATION_STEPS / np.pi) + 1.0, np.float32)
    col = np.asarray((np.log(period_px) - low) * (PERIOD_STEPS - 1) / (high - low), np.float32)
    return np.stack(
        [
            np.asarray(
                cv2.remap(table, col, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            )
            for table in basis.weights
        ]
    )


def crease(rng: np.random.Generator, ridges: FloatArray, dpi: int) -> FloatArray:
    """Draw the white lines that many fingers carry for life across their ridges."""
    count = int(rng.gamma(0.9, 3.0))
    if count == 0:
        return ridges
    px = dpi / MM_PER_INCH
    lines = np.zeros(ridges.shape, np.uint8)
    for _ in range(count):
        cv2.polylines(lines, [_crease_path(rng, px)], False, 255, 1, cv2.LINE_AA, 4)
    depth = cv2.GaussianBlur(lines, (0, 0), rng.uniform(0.05, 0.14) * px).astype(np.float32)
    depth *= rng.uniform(0.7, 1.2) / max(float(depth.max()), 1.0)
    beads = 0.8 + 0.3 * smooth_noise(rng, ridges.shape, 0.6 * px)
    return np.asarray(ridges + (1.0 - ridges) * np.clip(depth * beads, 0.0, 1.0), np.float32)


def _crease_path(rng: np.random.Generator, px: float) -> NDArray[np.int32]:
    """A gently bent line of some millimetres, mostly across the finger; x, y in 1/16 pixel."""
    angle = rng.normal(0.0, 0.45) if rng.random() < 0.8 else rng.normal(1.4, 0.4)
    length_mm = rng.uniform(2.0, 9.0)
    start = np.array([rng.uniform(2.0, WIDTH_MM - 4.0), rng.uniform(4.0, HEIGHT_MM - 3.0)])
    t = np.linspace(0.0, length_mm, 7)
    drift = np.cumsum(rng.normal(0.0, 0.12, 7))
    x = start[0] + t * np.cos(angle) - drift * np.sin(angle)
    y = start[1] + t * np.sin(angle) + drift * np.cos(angle)
    return np.round(np.stack([x, y], axis=1) * px * 16.0).astype(np.int32)


def _centre_mm(singularities: Singularities) -> Point:
    if not singularities.cores:
        return WIDTH_MM / 2, HEIGHT_MM * 0.5
    x, y = np.mean(singularities.cores, axis=0)
    return float(x), float(y)


def _centre_px(singularities: Singularities, dpi: int) -> tuple[float, float]:
    x, y = _centre_mm(singularities)
    return x * dpi / MM_PER_INCH, y * dpi / MM_PER_INCH
