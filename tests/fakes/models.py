"""Models that recognise drawn prints, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from app.core.errors import ModelRefused, NotFound
from app.core.params import MatchingParams, PreparationParams
from app.core.ports import LoadedModel
from app.core.types import Descriptor, PreparedSample
from app.matching.calibration import Calibration, calibrate

GRID, PATCH_PX, CHANNELS = 6, 32, 8
MATCHING = MatchingParams(rotations_deg=(-10.0, 0.0, 10.0), max_shift_cells=1, min_overlap_cells=6)


class FakeEmbedder:
    """Random projections of the pixels, other ones for every seed; counts what it is asked."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._projection = rng.standard_normal((64, CHANNELS)).astype(np.float32)
        self.calls = 0
        self.samples = 0

    def embed(self, samples: Sequence[PreparedSample]) -> list[Descriptor]:
        self.calls += 1
        self.samples += len(samples)
        return [self._describe(sample) for sample in samples]

    def _describe(self, sample: PreparedSample) -> Descriptor:
        small = sample.image.reshape(GRID, 8, 4, GRID, 8, 4).mean(axis=(2, 5))
        patches = small.transpose(0, 2, 1, 3).reshape(GRID, GRID, 64)
        cells = patches @ self._projection
        cells /= np.maximum(np.linalg.norm(cells, axis=-1, keepdims=True), 1e-6)
        mask = sample.mask.reshape(GRID, PATCH_PX, GRID, PATCH_PX).mean(axis=(1, 3))
        return Descriptor(cells, np.asarray(mask, np.float32))


@cache
def calibration(independent_pairs: int = 1_000_000, top: float = 0.8) -> Calibration:
    """Impostor scores spread evenly up to ``top``: every supported threshold lies just below it."""
    return calibrate(np.linspace(-0.4, top, 1_000_000, dtype=np.float32), independent_pairs, 1000)


def model(
    model_id: str,
    *,
    table: Calibration | None = None,
    matching: MatchingParams = MATCHING,
    block_px: int = 16,
) -> LoadedModel:
    """A model whose descriptors are like no other model's."""
    return LoadedModel(
        id=model_id,
        preparation=PreparationParams(block_px=block_px),
        matching=matching,
        calibration=table or calibration(),
        embedder=FakeEmbedder(sum(model_id.encode())),
    )


class FakeLiveModels:
    """Models in memory; which is active, and which are refused, can be changed."""

    def __init__(self, active: LoadedModel, *others: LoadedModel) -> None:
        self._models = {m.id: m for m in (active, *others)}
        self.active_id = active.id
        self.refused: set[str] = set()
        self.active_calls = 0

    def active(self) -> LoadedModel:
        self.active_calls += 1
        return self._models[self.active_id]

    def get(self, model_id: str) -> LoadedModel:
        if model_id in self.refused:
            raise ModelRefused(f"{model_id} fails its golden vectors")
        if model_id not in self._models:
            raise NotFound(f"there is no model {model_id}")
        return self._models[model_id]

    def beside(self) -> list[LoadedModel]:
        passive = self._models.keys() - {self.active_id} - self.refused
        return [self._models[model_id] for model_id in sorted(passive)]

    def kind_of(self, model_id: str) -> str | None:
        found = self._models.get(model_id)
        return None if found is None else found.kind

    def embedder(self, model_id: str) -> FakeEmbedder:
        found = self._models[model_id].embedder
        assert isinstance(found, FakeEmbedder)
        return found
