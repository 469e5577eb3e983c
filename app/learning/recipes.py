"""Recipes: everything a training run is decided by, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from app.core.params import MatchingParams, Params, PreparationParams

BENCHMARK_SEED = 10_000
"""Of the fingers that all models are measured on, so that any two are on the same ones; no recipe
and no order of a training reaches it."""

Prints = Literal["auto", "host", "device"]
"""Where synthetic impressions are made; "auto" is the network's device if that is a GPU."""

LARGEST_SYNTHETIC_SHARE = 0.9
"""Of the fingers of a training on own prints: beyond it, what is one's own hardly counts."""


@dataclass(frozen=True, slots=True)
class Schedule(Params):
    """How long and how fast a network is trained.

    Attributes:
        steps: batches in all, at least; epochs are of one length.
        steps_per_epoch: most batches between two checkpoints.
        batch_fingers: fingers a batch, two impressions each.
        learning_rate: peak of the cosine schedule, reached after ``warmup_steps``.
        neighbours: how many of the fingers that look most alike to the encoder, as the fit begins,
            each drawn finger brings along into the batch, see ``neighbourhood.Neighbourhood``.
        frozen: layers with a name like one of these shell patterns are kept as they are. Early
            ones cost half of a step and change little once they are trained; without all
            kernels but the last there is little to learn by heart from few fingers.
    """

    steps: int = 3600
    steps_per_epoch: int = 100
    batch_fingers: int = 64
    learning_rate: float = 2e-3
    warmup_steps: int = 150
    weight_decay: float = 1e-3
    seed: int = 1
    neighbours: int = 0
    frozen: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return max(1, math.ceil(self.steps / self.steps_per_epoch))

    @property
    def epoch_steps(self) -> int:
        """Batches of every epoch."""
        return math.ceil(self.steps / self.epochs)


@dataclass(frozen=True, slots=True)
class ContrastParams(Params):
    """Contrastive loss over all negatives of a batch, see ``losses.GridContrast``.

    Attributes:
        shift_cells: displacement that the loss searches, each way: what matching will search makes
            the impostors' scores, so it is at those that they are pushed apart.
    """

    scale: float = 20.0
    margin: float = 0.1
    min_overlap_cells: float = 30.0
    shift_cells: int = 0


@dataclass(frozen=True, slots=True)
class PoseNoise(Params):
    """What is left between two impressions after the search at match time has aligned them.

    Attributes:
        rotation_deg: half the step of the searched rotations, and a little.
        shift_px: half a grid cell, and a little.
        common_rotation_deg: rotation that both impressions share.
        upright: whether both are shown as the pose network brings them, upright with the core in
            the middle; otherwise as the first one lay on its sensor.
    """

    rotation_deg: float = 7.0
    shift_px: float = 9.0
    common_rotation_deg: float = 20.0
    upright: bool = False


@dataclass(frozen=True, slots=True)
class Variation(Params):
    """How pairs of a site's own prints are varied, see ``varied_pairs``; not at all by default.

    Attributes:
        mirrored: whether every finger is shown mirrored too, as a finger of its own.
        stretch: greatest change of each entry of the 2x2 matrix that bends both impressions alike.
        partial_share: of the pairs, those of which one impression is cut along a line.
    """

    mirrored: bool = False
    stretch: float = 0.0
    partial_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Population(Params):
    """Synthetic fingers by purpose; the seeds keep the purposes apart.

    Attributes:
        training: fingers to learn from.
        views: impressions of a training finger in the pool at a time, see ``views.ViewPool``.
        renewed_share: of the pool, made anew every epoch.
        held_out: how many of the benchmark's fingers (``BENCHMARK_SEED``) error rates are measured
            on, ``impressions`` of each.
        calibration: fingers whose cross comparisons make the table score -> FMR.
    """

    training: int = 3000
    views: int = 4
    renewed_share: float = 0.08
    held_out: int = 300
    impressions: int = 4
    calibration: int = 2500
    seed: int = 20_000


@dataclass(frozen=True, slots=True)
class PoseSchedule(Params):
    """How the pose network is trained, see ``learning.pose``.

    Attributes:
        steps: batches in all; 0 means that none is trained, the base model's is kept.
        batch: impressions a batch.
        impressions: prepared once, turned anew in every batch.
        learning_rate: peak of the cosine schedule.
    """

    steps: int = 1500
    batch: int = 64
    impressions: int = 3000
    learning_rate: float = 3e-3


@dataclass(frozen=True, slots=True)
class Refinement:
    """A second fit of the encoder, from the weights of the first, nearer to what service asks."""

    schedule: Schedule
    contrast: ContrastParams
    noise: PoseNoise

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "schedule": self.schedule.to_dict(),
            "contrast": self.contrast.to_dict(),
            "noise": self.noise.to_dict(),
        }


SERVED_CONTRAST = ContrastParams(shift_cells=2)
SERVED_NOISE = PoseNoise(rotation_deg=6.0, shift_px=9.0, common_rotation_deg=10.0, upright=True)
"""The error that the pose network leaves, and half a step of the search."""

SEARCH = MatchingParams(max_shift_cells=4, min_overlap_cells=20.0, subcell_shifts_px=(0.0, 8.0))
"""By half cells: what is left is within the pose error that training shows."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training run as data."""

    name: str
    summary: str
    architecture: str = "grid_encoder"
    architecture_params: dict[str, Any] = field(default_factory=dict)
    preparation: PreparationParams = field(default_factory=PreparationParams)
    matching: MatchingParams = SEARCH
    population: Population = field(default_factory=Population)
    schedule: Schedule = field(default_factory=Schedule)
    contrast: ContrastParams = field(default_factory=ContrastParams)
    noise: PoseNoise = field(default_factory=PoseNoise)
    variation: Variation = field(default_factory=Variation)
    pose: PoseSchedule = field(default_factory=PoseSchedule)
    refinement: Refinement | None = None

    @property
    def fits(self) -> tuple[Recipe, ...]:
        """The fits of the encoder in order, each as a recipe of one."""
        if self.refinement is None:
            return (self,)
        first = replace(self, refinement=None)
        second = self.refinement
        return first, replace(
            first, schedule=second.schedule, contrast=second.contrast, noise=second.noise
        )

    def encoder_params(self) -> dict[str, Any]:
        """What the architecture is built with."""
        return {"size_px": self.preparation.size_px} | self.architecture_params

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "name": self.name,
            "architecture": self.architecture,
            "architecture_params": self.architecture_params,
            "preparation": self.preparation.to_dict(),
            "matching": self.matching.to_dict(),
            "population": self.population.to_dict(),
            "schedule": self.schedule.to_dict(),
            "contrast": self.contrast.to_dict(),
            "noise": self.noise.to_dict(),
            "variation": self.variation.to_dict(),
            "pose": self.pose.to_dict(),
            "refinement": None if self.refinement is None else self.refinement.to_dict(),
        }


PRINT_RECIPES: tuple[Recipe, ...] = (
    Recipe(
        "default",
        "the recipe of the shipped model: two hours on two cores with bfloat16",
        refinement=Refinement(
            Schedule(
                steps=800,
                steps_per_epoch=50,
                neighbours=3,
                frozen=("stem*", "stage1*"),
                learning_rate=5e-4,
                warmup_steps=20,
                seed=2,
            ),
            SERVED_CONTRAST,
            SERVED_NOISE,
        ),
    ),
    Recipe(
        "quick",
        "a few minutes from growing the prints to a calibrated model: to try things out, "
        "or to fine-tune",
        population=Population(training=64, held_out=48, calibration=800, seed=30_000),
        schedule=Schedule(
            steps=60, steps_per_epoch=10, batch_fingers=16, learning_rate=3e-4, warmup_steps=10
        ),
        contrast=SERVED_CONTRAST,
        noise=SERVED_NOISE,
        pose=PoseSchedule(steps=0),
    ),
    Recipe(
        "fine-tune",
        "the model in service tuned to a site's own captures, in minutes; see docs/retraining.md",
        population=Population(training=64, held_out=48, calibration=800, seed=30_000),
        schedule=Schedule(
            steps=60,
            steps_per_epoch=10,
            batch_fingers=35,
            learning_rate=1e-3,
            warmup_steps=10,
            frozen=("*_conv",),
        ),
        contrast=SERVED_CONTRAST,
        noise=SERVED_NOISE,
        variation=Variation(mirrored=True, stretch=0.1, partial_share=0.3),
        pose=PoseSchedule(steps=0),
    ),
)
"""See ``recipe_book`` for all recipes by name."""
