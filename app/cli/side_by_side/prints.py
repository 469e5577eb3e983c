"""The two kinds of prints that are compared, prepared in the same way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.cli.evaluation_question import KNOWN_SETS
from app.core.errors import InvalidInput
from app.core.params import PreparationParams
from app.core.types import FloatArray, GrayImage
from app.evaluation.dataset import IMAGE_SUFFIXES
from app.imaging.decode import ImageLimits, decode, inspect
from app.imaging.normalise import normalise
from app.imaging.resolution import resample
from app.imaging.segment import segment
from app.synth import impress, population

PARAMS = PreparationParams()
# Fingers of no training: a population of its own.
SEED = 20_020
IMPRESSIONS = 3
REAL_DPI = 500.0


@dataclass(frozen=True, slots=True, eq=False)
class Print:
    """One print at the scale of the preparation.

    Attributes:
        source: the set, or the number of the synthetic finger.
        image: uint8 [H, W], as captured but for the scale.
        mask: float32 [H, W], 1 in the foreground.
        normalised: float32 [H, W], what the encoder sees, uncropped.
    """

    source: str
    image: GrayImage
    mask: FloatArray
    normalised: FloatArray


def prepared(source: str, pixels: GrayImage, dpi: float) -> Print:
    """Bring a capture to scale, segment and normalise it."""
    image = resample(pixels, dpi, PARAMS.dpi)
    mask = segment(image, PARAMS)
    return Print(source, image, mask, normalise(image, mask, PARAMS))


def real_prints(root: Path, per_set: int) -> Iterator[Print]:
    """As many prints of each public set below ``root``, evenly spread over its files.

    Raises:
        InvalidInput: none of the sets is there (``sets_not_found``).
    """
    sets = [known for known in KNOWN_SETS if (root / known.folder).is_dir()]
    if not sets:
        raise InvalidInput(
            f"none of the public sets is under {root}; set WHORL_DATASETS", slug="sets_not_found"
        )
    for known in sets:
        paths = sorted((root / known.folder).rglob("*"))
        files = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
        for place in np.linspace(0, len(files) - 1, min(per_set, len(files))).round().astype(int):
            data = files[place].read_bytes()
            pixels = decode(data, inspect(data, ImageLimits()))
            yield prepared(known.name, pixels, known.dpi or REAL_DPI)


def synthetic_prints(count: int) -> Iterator[Print]:
    """At least ``count`` impressions, three of each finger one after the other."""
    fingers = -(-count // IMPRESSIONS)
    for finger, master in enumerate(population(SEED, fingers, PARAMS.dpi), start=1):
        for impression in range(1, IMPRESSIONS + 1):
            made = impress(master, np.random.default_rng([SEED, finger, impression]))
            yield prepared(f"finger {finger}", made.image, made.dpi)
