"""What was exported, looked at once more before it is judged: golden vectors and latency."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np

from app.core.errors import ModelRefused
from app.core.params import Matching, MatchingParams
from app.core.types import FloatArray, PreparedSample
from app.imaging.normalise import search_views
from app.learning.gate import Golden, Latency
from app.learning.prints import Report
from app.learning.recipe_book import AnyRecipe
from app.networks.encoder import build_encoder
from app.networks.forward import embed_all, inference_function
from app.networks.golden import GOLDEN_TOLERANCE, golden_tolerance
from app.networks.pose import build_pose, find_poses
from app.networks.restore import GOLDEN, POSE, WEIGHTS
from app.networks.weights import unpack_weights

LATENCY_RUNS = 11
LARGEST_BATCH = 32

Embed = Callable[[PreparedSample], object]


def golden_of_files(
    recipe: AnyRecipe, files: Mapping[str, bytes], pose: dict[str, Any] | None = None
) -> Golden:
    """Build the networks anew, give them the weights of the files, run the golden inputs.

    Args:
        recipe: names the encoder's architecture.
        files: as ``export.model_files`` makes them.
        pose: name and parameters of the pose network, where there is one.

    Returns:
        What is farthest off for what is allowed; infinitely far where the files cannot be used.
    """
    try:
        arrays = np.load(BytesIO(files[GOLDEN]), allow_pickle=False)
        inputs = np.asarray(arrays["inputs"], np.float32)
        encoder = build_encoder(recipe.architecture, recipe.encoder_params())
        found = [_off(encoder, files[WEIGHTS], inputs, arrays["cells"])]
        if pose is not None:
            network = build_pose(str(pose["name"]), pose["params"])
            found.append(_off(network, files[POSE], inputs, arrays["poses"], GOLDEN_TOLERANCE))
    except ModelRefused:
        return Golden(np.inf, GOLDEN_TOLERANCE)
    return max(found, key=lambda golden: golden.difference / golden.tolerance)


def _off(
    network: keras.Model,
    weights: bytes,
    inputs: FloatArray,
    expected: FloatArray,
    tolerance: float | None = None,
) -> Golden:
    with TemporaryDirectory() as folder:
        path = Path(folder) / WEIGHTS
        path.write_bytes(weights)
        unpack_weights(network, path)
    difference = float(np.abs(inference_function(network)(inputs) - expected).max())
    allowed = golden_tolerance(expected) if tolerance is None else tolerance
    return Golden(difference if np.isfinite(difference) else np.inf, allowed)


def embedding(encoder: keras.Model, params: Matching, pose: keras.Model | None = None) -> Embed:
    """Embedding one sample as a probe, in all the views that a model searches."""
    run = inference_function(encoder)
    find = None if pose is None else inference_function(pose)
    batch = min(len(params.views_deg_px), LARGEST_BATCH)

    def embed(sample: PreparedSample) -> object:
        if not isinstance(params, MatchingParams):
            return list(embed_all(run, [sample], batch))
        ((_, found),) = find_poses(find, [sample], batch=1)
        return list(embed_all(run, search_views(sample, found, params), batch))

    return embed


def measure_latency(
    challenger: Embed,
    champion: Embed,
    samples: tuple[Sequence[PreparedSample], Sequence[PreparedSample]],
    runs: int = LATENCY_RUNS,
    report: Report | None = None,
) -> Latency:
    """Median times of the two, in turn, so that what else the machine does meets both alike.

    Args:
        samples: the same captures as each of the two prepares them.
        report: told (done, of) runs; may raise to stop.
    """
    embeds = (challenger, champion)
    for embed, of_one in zip(embeds, samples, strict=True):
        embed(of_one[0])  # compiles
    times_ms: tuple[list[float], list[float]] = ([], [])
    for done, pair in enumerate(islice(cycle(zip(*samples, strict=True)), runs), 1):
        for embed, sample, kept in zip(embeds, pair, times_ms, strict=True):
            start = time.perf_counter()
            embed(sample)
            kept.append(1000.0 * (time.perf_counter() - start))
        if report is not None:
            report(done, runs)
    return Latency(median(times_ms[0]), median(times_ms[1]), runs)
