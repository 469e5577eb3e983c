"""The well-known first attempts, as their authors had them, with what they reported."""

from __future__ import annotations

from typing import Any

from app.core.params import PictureParams
from app.learning.siamese.recipe import (
    Augmentation,
    DataParams,
    FitSchedule,
    LossParams,
    PairingParams,
    Protocol,
    SiameseRecipe,
)


def conv(filters: int, kernel: int, **options: Any) -> dict[str, Any]:
    """A convolution of a layer stack."""
    return {"layer": "conv", "filters": filters, "kernel": kernel, **options}


def dense(units: int, activation: str | None = "relu", **options: Any) -> dict[str, Any]:
    """A fully connected layer of a layer stack."""
    return {"layer": "dense", "units": units, "activation": activation, **options}


def dropout(rate: float) -> dict[str, Any]:
    """Dropout in a layer stack."""
    return {"layer": "dropout", "rate": rate}


POOL: dict[str, Any] = {"layer": "pool"}
FLATTEN: dict[str, Any] = {"layer": "flatten"}
GLOBAL_AVERAGE: dict[str, Any] = {"layer": "global_average"}
UNIT: dict[str, Any] = {"layer": "unit"}


def stack(*layers: dict[str, Any]) -> dict[str, Any]:
    """Parameters of the architecture ``layer_stack``."""
    return {"stack": list(layers)}


STRIPES_ORIGINAL = SiameseRecipe(
    "stripes-original",
    "two striped pseudo-fingers as commonly tried: collapses, and the fit says why",
    data=DataParams("stripes", split="picture", shares=(0.6, 0.2, 0.2)),
    preparation=PictureParams(160, 160),
    architecture_params=stack(
        FLATTEN, dense(128), dropout(0.3), dense(128), dropout(0.3), dense(128)
    ),
    loss=LossParams("contrastive", margin=1.0, clamped=True),
    pairing=PairingParams("first_third_equal", pairs=128, fixed=True),
    schedule=FitSchedule(500, 128, optimizer="rmsprop"),
    protocol=Protocol("fixed", fixed_score=1 / 1.5),
    reported={"loss": 0.25, "accuracy": 0.54},
)

SOCOFING_ORIGINAL = SiameseRecipe(
    "socofing-original",
    "altered against real prints, as commonly tried: subtraction, fixed threshold of 0.5",
    data=DataParams(
        "folder", "SOCOFing", split="picture", shares=(0.8, 0.1, 0.1), mixed_conditions=True
    ),
    preparation=PictureParams(90, 90, trim_px=(2, 4, 4, 2)),
    architecture_params=stack(
        conv(32, 3, padding="same"),
        POOL,
        conv(64, 3, padding="same"),
        POOL,
        FLATTEN,
        dense(128, None, bias=False),
    ),
    loss=LossParams("binary_crossentropy_difference"),
    pairing=PairingParams("each_once"),
    augmentation=Augmentation(
        rotation_deg=30.0, shift_share=0.1, scale=(0.9, 1.1), blur_px=0.5, fill=1.0
    ),
    schedule=FitSchedule(15, 32),
    matching=None,
    protocol=Protocol("fixed", fixed_score=0.5, by_condition=True),
    reported={"precision": 1.0, "recall": 0.68, "accuracy": 0.84, "roc_auc": 1.0},
)

FASHION_ORIGINAL = SiameseRecipe(
    "fashion-mnist-original",
    "clothes as commonly tried: one convolution, for the second is wired past it",
    data=DataParams("idx", "fashion-mnist", split="given"),
    preparation=PictureParams(28, 28),
    architecture_params=stack(
        conv(128, 2, padding="same"), POOL, dropout(0.4), GLOBAL_AVERAGE, dense(48, None)
    ),
    loss=LossParams("contrastive", margin=1.0, clamped=True),
    pairing=PairingParams("each_twice", fixed=True),
    schedule=FitSchedule(70, 64),
    protocol=Protocol("fixed", fixed_score=1 / 1.5, pairs=20_000, shots=5),
    reported={"validation_loss": 0.1446},
)

OLIVETTI_ORIGINAL = SiameseRecipe(
    "olivetti-original",
    "faces of 64 x 64 as commonly tried: persons shared with the test, a threshold by eye",
    data=DataParams(
        "olivetti", "olivetti/olivettifaces.mat", split="picture", shares=(0.6, 0.2, 0.2)
    ),
    preparation=PictureParams(64, 64),
    architecture_params=stack(
        conv(96, 11),
        POOL,
        dropout(0.3),
        conv(256, 5),
        POOL,
        dropout(0.3),
        conv(384, 3),
        POOL,
        dropout(0.3),
        GLOBAL_AVERAGE,
        dense(1024),
        dense(128, None),
    ),
    loss=LossParams("binary_crossentropy_distance", clamped=True),
    pairing=PairingParams("each_twice", fixed=True),
    schedule=FitSchedule(100, 64),
    matching=None,
    protocol=Protocol("fixed", fixed_score=0.655, one_against_all=True),
    reported={"accuracy": 0.74},
)

ATT_ORIGINAL = SiameseRecipe(
    "att-faces-original",
    "faces of 56 x 46 as commonly tried: persons shared between training and test",
    data=DataParams("folder", "att_faces", split="picture", shares=(0.6, 0.2, 0.2)),
    preparation=PictureParams(56, 46),
    architecture_params=stack(
        conv(6, 3),
        POOL,
        dropout(0.25),
        conv(12, 3),
        POOL,
        dropout(0.25),
        FLATTEN,
        dense(128),
        dropout(0.1),
        dense(50, None),
    ),
    loss=LossParams("contrastive", margin=1.0, clamped=True),
    pairing=PairingParams("balanced", pairs=20_000, fixed=True),
    schedule=FitSchedule(13, 128, optimizer="rmsprop"),
    protocol=Protocol("fixed", fixed_score=1 / 1.5, pairs=20_000),
    reported={"accuracy": 0.978},
)

ORIGINALS = (
    STRIPES_ORIGINAL,
    SOCOFING_ORIGINAL,
    FASHION_ORIGINAL,
    OLIVETTI_ORIGINAL,
    ATT_ORIGINAL,
)
