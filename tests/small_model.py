"""A small model made by the project's own code: random weights, real files, real calibration.

It knows the same image again and hardly anything else. Nothing of the service behaves differently
with it; only its error rates are bad.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import pytest

from app.core.params import MatchingParams
from app.core.types import FloatArray, PreparedSample
from model_store import ManifestDraft, Registry

FINGERS, IMPRESSIONS = 12, 3
POPULATION_SEED = 77
MATCHING = MatchingParams(rotations_deg=(-15.0, 0.0, 15.0), max_shift_cells=1)


@cache
def _samples() -> tuple[list[str], list[PreparedSample]]:
    """Fingers and prepared impressions of a few synthetic fingers, one list beside the other."""
    from app.learning.prints import Fingers, samples_of
    from app.learning.recipes import Recipe
    from app.synth import population

    cv2.setNumThreads(1)
    masters = tuple(population(POPULATION_SEED, FINGERS))
    samples = samples_of(Fingers(POPULATION_SEED, masters), IMPRESSIONS, Recipe("", "").preparation)
    return [str(finger) for finger in range(FINGERS) for _ in range(IMPRESSIONS)], list(samples)


def publish_small_model(root: Path, seed: int = 1) -> str:
    """Publish the model of this seed into a registry folder; its id."""
    draft, files = _small_model(seed)
    return Registry(root).publish(draft, files).id


@cache
def _small_model(seed: int) -> tuple[ManifestDraft, dict[str, bytes]]:
    import keras

    from app.evaluation.protocol import all_pairs
    from app.evaluation.rates import pair_scores
    from app.evaluation.report import evaluate_scores
    from app.learning.export import draft_manifest, model_files
    from app.learning.fit import new_encoder
    from app.learning.judge import embed_gallery
    from app.learning.recipes import Recipe, Schedule
    from app.matching.calibration import calibrate
    from app.networks.forward import inference_function, stack_samples

    recipe = Recipe(
        "small",
        "random weights, for tests",
        architecture_params={"widths": (8, 16, 16, 16), "blocks": (1, 1, 1)},
        matching=MATCHING,
        schedule=Schedule(seed=seed),
    )
    with keras.device("cpu:0"):
        encoder = new_encoder(recipe)
        fingers, samples = _samples()
        _spread(encoder, stack_samples(samples))
        scores = embed_gallery(inference_function(encoder), samples, MATCHING).scores(MATCHING)
        impostor = pair_scores(scores, all_pairs(fingers)).impostor
        draft = draft_manifest(
            recipe,
            calibrate(impostor, impostor.size, FINGERS),
            {"synthetic": evaluate_scores("synthetic", fingers, scores, bootstrap=20)},
            {"data": {"kind": "none"}},
            None,
            matching=MATCHING,
        )
        return draft, model_files(encoder, samples[:2])


def _spread(encoder: Any, inputs: FloatArray) -> None:
    """Take the mean out of the cells, which random weights make all alike."""
    import keras

    from app.networks.forward import cell_cover

    last = encoder.get_layer("cells")
    cells = keras.ops.convert_to_numpy(keras.Model(encoder.inputs[0], last.output)(inputs))
    kernel, bias = last.get_weights()
    inside = cell_cover(inputs[..., 1], cells.shape[1]) > 0
    last.set_weights([kernel, bias - cells[inside].mean(axis=0)])


def home_settings(home: Path, shipped: Path) -> dict[str, str]:
    """The environment of a service that keeps its things in ``home`` and ships with ``shipped``."""
    return {
        "WHORL_HOME": str(home),
        "WHORL_SHIPPED_DIR": str(shipped),
        "WHORL_DEVICE": "cpu",
        "WHORL_PORT": "0",
    }


@pytest.fixture(scope="session")
def shipped_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shipped models with one small model in it; not to be written to."""
    folder = tmp_path_factory.mktemp("shipped")
    publish_small_model(folder)
    return folder


@pytest.fixture
def model_home(tmp_path: Path, shipped_models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder that is not there yet; the environment's release ships a small model."""
    home = tmp_path / "var"
    for name, value in home_settings(home, shipped_models).items():
        monkeypatch.setenv(name, value)
    return home


@pytest.fixture(scope="session")
def synthetic_prints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of synthetic prints as ``whorl synth`` writes them: 4 fingers by 3, 250 dpi."""
    from app.cli.synth import Order, write_prints

    folder = tmp_path_factory.mktemp("prints")
    write_prints(Order(folder, fingers=4, impressions=3, seed=5, dpi=250, masters=False))
    return folder


def publish_evaluated(shipped: Path, registry: Registry) -> str:
    """Publish the shipped model anew, with a gate's report; its id."""
    from app.core.json_ready import json_text
    from app.services.models import EVALUATION
    from tests.fakes.gate import report_dict

    source = Registry(shipped)
    manifest = source.manifest(shipped_id(shipped))
    files = {name: source.read(manifest.id, name) for name in manifest.files}
    files[EVALUATION] = json_text(report_dict()).encode()
    draft = ManifestDraft(**manifest.model_dump(exclude={"id", "files"}))
    return registry.publish(draft, files).id


def shipped_id(shipped: Path) -> str:
    """The id of the one shipped model."""
    return Registry(shipped).ids()[0]
