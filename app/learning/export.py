"""A trained encoder as the registry wants it: draft manifest, weights, golden vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import keras
import numpy as np

from app import __version__
from app.core.json_ready import json_ready
from app.core.params import Matching, write_preparation
from app.core.types import PreparedSample
from app.evaluation.report import Evaluation
from app.learning.gate_report import GateReport
from app.learning.recipe_book import AnyRecipe
from app.matching.calibration import Calibration
from app.networks.forward import inference_function, stack_samples
from app.networks.restore import GOLDEN, POSE, WEIGHTS
from app.networks.weights import pack_weights
from model_store import ManifestDraft

LICENCE = "Apache-2.0"


@dataclass(frozen=True, slots=True)
class Trained:
    """A model ready to be published, and how it compares with the champion."""

    draft: ManifestDraft
    files: dict[str, bytes]
    report: GateReport


def golden_vectors(
    encoder: keras.Model, samples: Sequence[PreparedSample], pose: keras.Model | None = None
) -> bytes:
    """Some inputs and what the networks make of them, to be checked at every load."""
    inputs = stack_samples(samples).astype(np.float16)
    seen = inputs.astype(np.float32)
    found: dict[str, Any] = {"inputs": inputs, "cells": inference_function(encoder)(seen)}
    if pose is not None:
        found["poses"] = inference_function(pose)(seen)
    buffer = BytesIO()
    np.savez_compressed(buffer, **found)
    return buffer.getvalue()


def draft_manifest(
    recipe: AnyRecipe,
    calibration: Calibration,
    metrics: dict[str, Evaluation],
    facts: dict[str, Any],
    parent: str | None,
    *,
    matching: Matching,
    pose: dict[str, Any] | None = None,
) -> ManifestDraft:
    """Everything the model should say of itself.

    Args:
        metrics: evaluations by data set.
        facts: of the data and the fit, beside the recipe.
        parent: the model that training started from.
        matching: how templates are compared, which a fit may have learned.
        pose: name and parameters of the pose network's architecture, where there is one.
    """
    architecture = {"name": recipe.architecture, "params": json_ready(recipe.encoder_params())}
    return ManifestDraft(
        architecture=architecture if pose is None else architecture | {"pose": pose},
        preparation=write_preparation(recipe.preparation),
        matching=matching.to_dict(),
        calibration=calibration.to_dict(),
        metrics={name: found.to_dict() for name, found in metrics.items()},
        training=json_ready({"recipe": recipe.to_dict(), "whorl": __version__, **facts}),
        parent=parent,
        licence=LICENCE,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def model_files(
    encoder: keras.Model, golden: Sequence[PreparedSample], pose: keras.Model | None = None
) -> dict[str, bytes]:
    """The files beside the manifest."""
    files = {WEIGHTS: pack_weights(encoder), GOLDEN: golden_vectors(encoder, golden, pose)}
    return files if pose is None else files | {POSE: pack_weights(pose)}
