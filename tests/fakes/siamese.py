"""Bars that run down or across, and the small recipe that learns to tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from app.core.params import PictureParams, VectorMatching
from app.core.types import FloatArray
from app.learning.fit import FitProgress
from app.learning.siamese.fit import FittedSiamese, fit_siamese
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.recipe import (
    DataParams,
    FitSchedule,
    LossParams,
    PairingParams,
    SiameseRecipe,
)

SIDE = 16
STACK: list[dict[str, Any]] = [
    {"layer": "flatten"},
    {"layer": "dense", "units": 32},
    {"layer": "dense", "units": 8, "activation": None},
]
UNIT = {"layer": "unit"}
DENSE = {"layer": "dense", "units": 1, "activation": None}
TINY = SiameseRecipe(
    "tiny",
    "bars that run down or across",
    data=DataParams("stripes"),
    preparation=PictureParams(SIDE, SIDE),
    architecture_params={"stack": STACK},
    loss=LossParams("contrastive", margin=1.0),
    pairing=PairingParams("balanced", pairs=64),
    schedule=FitSchedule(12, 16, learning_rate=3e-3),
)
STILL = replace(TINY, schedule=FitSchedule(4, 16, learning_rate=0.0))
CLASSES = PairingParams("classes", pictures_a_class=4)
EUCLIDEAN = VectorMatching("euclidean")


def bars(count: int, seed: int) -> LabelledPictures:
    """``count`` pictures of bars that run down and as many of bars that run across."""
    rng = np.random.default_rng(seed)
    shown, classes = [], []
    for name in ("across", "down"):
        for _ in range(count):
            wave = (np.arange(SIDE) + rng.integers(2)) // 2 % 2 + rng.normal(0, 0.1, (SIDE, SIDE))
            shown.append(wave if name == "down" else wave.T)
            classes.append(name)
    return labelled(np.asarray(shown, np.float32), classes)


def labelled(
    pixels: FloatArray, classes: Sequence[str], conditions: Sequence[str] = ()
) -> LabelledPictures:
    names = tuple(classes)
    shown = tuple(conditions) or ("",) * len(names)
    return LabelledPictures(pixels, names, names, shown, tuple(map(str, range(len(names)))))


def ignore(progress: FitProgress) -> None:
    pass


def fitted(recipe: SiameseRecipe, **options: Any) -> FittedSiamese:
    return fit_siamese(recipe, bars(16, 1), bars(8, 2), ignore, **options)
