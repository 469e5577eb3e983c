"""A contact sheet of an uploaded data set, so that a person can see what would be learned from."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from app.core.datasets import DatasetImages
from app.core.types import FloatArray
from app.imaging.decode import ImageLimits, decode, inspect
from app.imaging.picture import fitted_pixels
from app.services.create_dataset import DatasetTools
from app.services.datasets import open_dataset

SIDE_PX = 112
SHOWN = 40
A_FINGER = 2


def preview_dataset(tools: DatasetTools, dataset_id: str) -> bytes:
    """A PNG of up to ``A_FINGER`` samples of each of the first fingers, labels below.

    Raises:
        NotFound: there is no such data set.
        WhorlError: its images are damaged (``store_damaged``).
    """
    from app.evaluation.sheets import samples_png  # matplotlib takes seconds to load

    dataset, images = open_dataset(tools.store, tools.files, dataset_id)
    shown = _chosen(images)
    pixels = np.stack([_pixels(images.read(number), tools.limits.image) for number in shown])
    captions = [images.images[number].finger for number in shown]
    title = f"{dataset.name}: {len(shown)} of {dataset.samples:,} samples"
    return samples_png(pixels, captions, title)


def _chosen(images: DatasetImages) -> list[int]:
    """Samples of fingers evenly spread over the set, those of one finger beside each other."""
    of_finger: dict[str, list[int]] = defaultdict(list)
    for number, image in enumerate(images.images):
        of_finger[image.finger].append(number)
    fingers = sorted(of_finger)
    step = max(1, len(fingers) * A_FINGER // SHOWN)
    chosen = [number for finger in fingers[::step] for number in of_finger[finger][:A_FINGER]]
    return chosen[:SHOWN]


def _pixels(data: bytes, limits: ImageLimits) -> FloatArray:
    return fitted_pixels(decode(data, inspect(data, limits)), SIDE_PX)
