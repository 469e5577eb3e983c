"""A tiny real model of pictures: random weights, real files, an input that is not square."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from app.core.params import VectorMatching, write_preparation
from app.core.types import PreparedSample
from app.imaging.picture import picture_sample
from model_store import Manifest, ManifestDraft, Registry
from tests.fakes.pictures import PREPARATION, picture

ARCHITECTURE = "tiny_picture"
PERSONS, CAPTURES = 40, 2


def tiny_encoder(channels: int = 4) -> Any:
    """[n, 24, 18, 2] -> [n, 1, 1, 48 * channels], vectors of no particular length."""
    import keras

    inputs = keras.Input((*PREPARATION.shape_px, 2), name="sample")
    start = keras.initializers.RandomNormal(stddev=0.5, seed=11)
    x = keras.layers.Conv2D(channels, 3, strides=3, kernel_initializer=start, name="cells")(inputs)
    return keras.Model(inputs, keras.layers.Reshape((1, 1, -1), name="vector")(x), name="tiny")


def publish_picture_model(
    root: Path, recipe: str = "faces", created: str = "2026-01-01T00:00:00+00:00", **said: Any
) -> Manifest:
    """Publish into a registry folder; ``said`` replaces fields of the manifest."""
    draft, files = _made()
    changed = draft.model_dump() | {"training": {"recipe": {"name": recipe}}, "created": created}
    return Registry(root).publish(ManifestDraft(**(changed | said)), files)


@cache
def _made() -> tuple[ManifestDraft, dict[str, bytes]]:
    import keras

    from app.learning.export import model_files
    from app.matching.calibration import calibrate
    from app.matching.score import compare_all, stack_references
    from app.networks.forward import embed_all, inference_function
    from app.services.recognise import stack

    matching = VectorMatching("euclidean")
    seen = [(person, capture) for person in range(PERSONS) for capture in range(CAPTURES)]
    samples: list[PreparedSample] = [
        picture_sample(picture(1000 + person, capture), PREPARATION) for person, capture in seen
    ]
    with keras.device("cpu:0"):
        encoder = tiny_encoder()
        found = list(embed_all(inference_function(encoder), samples))
        scores = compare_all([stack([d]) for d in found], *stack_references(found), matching)
        owners = np.asarray([person for person, _ in seen])
        impostor = scores[owners[:, None] < owners]
        table = calibrate(impostor, PERSONS * (PERSONS - 1) // 2, PERSONS)
        files = model_files(encoder, samples[:2])
    draft = ManifestDraft(
        architecture={"name": ARCHITECTURE, "params": {}},
        preparation=write_preparation(PREPARATION),
        matching=matching.to_dict(),
        calibration=table.to_dict(),
        metrics={},
        training={},
        licence="Apache-2.0",
        created="2026-01-01T00:00:00+00:00",
    )
    return draft, files


def golden_times(files: dict[str, bytes], factor: float) -> dict[str, bytes]:
    """The files with golden vectors that are off by a factor."""
    arrays = dict(np.load(BytesIO(files["golden.npz"])))
    buffer = BytesIO()
    np.savez(buffer, **(arrays | {"cells": arrays["cells"] * np.float32(factor)}))
    return files | {"golden.npz": buffer.getvalue()}
