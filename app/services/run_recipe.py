"""A recipe of pictures run from data to figures: read, fit, measure, record."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from app import __version__
from app.core.errors import InvalidInput
from app.core.json_ready import json_ready
from app.core.types import FloatArray
from app.evaluation.decisions import decide_counts
from app.evaluation.run_record import APART, BEGUN_FROM, RunRecord, thinned
from app.learning.progress import Phases, Sink
from app.learning.siamese.beginning import people_of, require_unseen, split_digest
from app.learning.siamese.data import Parts, recipe_pictures
from app.learning.siamese.diagnosis import FirstShown, Symptom
from app.learning.siamese.fit import (
    NO_LIMITS,
    FitLimits,
    FittedSiamese,
    SiameseEpoch,
    fit_siamese,
)
from app.learning.siamese.network import embed_pixels, new_picture_encoder
from app.learning.siamese.pictures import PARTS, LabelledPictures
from app.learning.siamese.protocol import Measured, measure
from app.learning.siamese.recipe import SiameseRecipe
from app.learning.siamese.sheets import picture_sheets
from app.learning.siamese.sources import describe_reading
from app.learning.siamese.taking_over import describe_fitting
from app.networks.device import Device
from app.networks.memory import keep_freed_memory
from app.networks.multiply_adds import multiply_adds
from app.services.run_sheets import test_sheets

BACKWARD = 3
"""A training step costs about so many passes forward: one, and twice that for the gradients."""


@dataclass(frozen=True, slots=True)
class RunTools:
    """What a run needs.

    Attributes:
        datasets: folder of the data sets.
        known: recipes by name, for what a recipe is to begin from.
        dtype: policy of the products in training.
        limits: what ends a fit before the recipe's last epoch.
    """

    datasets: Path
    known: Mapping[str, SiameseRecipe]
    device: Device
    dtype: str
    limits: FitLimits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class RunWatch:
    """Who is told what during a run.

    Attributes:
        progress: where it stands, see ``learning.progress.Phases``; a fit's also has the last
            epoch's validation_loss.
        found: an epoch's number, and a symptom the first time that it shows.
        sheet: a picture's file name and its PNG; those of the training data come before the fit.
    """

    progress: Sink
    found: Callable[[int, Symptom], None]
    sheet: Callable[[str, bytes], None]


def with_seed(recipe: SiameseRecipe, seed: int) -> SiameseRecipe:
    """The recipe with everything that is drawn drawn from a seed: split, pairs, weights."""
    return replace(recipe, schedule=replace(recipe.schedule, seed=seed))


def run_recipe(recipe: SiameseRecipe, seed: int, tools: RunTools, watch: RunWatch) -> RunRecord:
    """Read the recipe's pictures, train, measure on the test part, and record all of it.

    Raises:
        InvalidInput: the data set is not there or cannot be split (see ``recipe_pictures``), or
            the recipe begins from one that is not known or knows the test (see ``fit_base``).
        WhorlError: the fit diverged (``fit_diverged``).
    """
    keep_freed_memory()
    recipe = with_seed(recipe, seed)
    phases = Phases(watch.progress)
    reading = phases.begin(f"{recipe.name} seed {seed}: reading")
    read: list[LabelledPictures] = []
    parts = recipe_pictures(recipe, tools.datasets, report=reading, told=read.append)
    for name, png in picture_sheets(recipe, parts[0]).items():
        watch.sheet(name, png)
    with tools.device.scope():
        base = fit_base(recipe, parts, tools, watch)
        begun = _begun(recipe, base)
        phases.noted(begun)
        fit = _Fit(recipe, tools, watch)
        fitted = fit.run(parts, None if base is None else base.encoder)
        measured = _measure(recipe, fitted, parts)
    for name, png in test_sheets(recipe, fitted.matching, parts[2], measured):
        watch.sheet(name, png)
    return RunRecord(
        **_told_of_run(recipe, tools, parts, [*_reading(read), *begun]),
        **_told_of_fit(recipe, fitted, fit, base),
        **_told_of_measure(measured),
    )


class _Fit:
    """A fit that is watched, and the symptoms that it showed."""

    def __init__(self, recipe: SiameseRecipe, tools: RunTools, watch: RunWatch) -> None:
        self._recipe, self._tools, self._watch = recipe, tools, watch
        self._validation: dict[str, float] = {}
        self.symptoms = FirstShown()

    def run(self, parts: Parts, base: Any = None) -> FittedSiamese:
        """Train on the first part, from the weights of an encoder if there is one."""
        phases = Phases(lambda at: self._watch.progress(at | self._validation))
        phase = f"{self._recipe.name} seed {self._recipe.schedule.seed}"
        return fit_siamese(
            self._recipe,
            parts[0],
            parts[1],
            lambda at: phases.fitting(at, phase),
            dtype=self._tools.dtype,
            base=base,
            limits=self._tools.limits,
            told=self._note,
        )

    def _note(self, epoch: SiameseEpoch) -> None:
        if np.isfinite(epoch.validation_loss):
            self._validation["validation_loss"] = epoch.validation_loss
        for symptom in self.symptoms.note(epoch.number, epoch.symptoms):
            self._watch.found(epoch.number, symptom)


def fit_base(
    recipe: SiameseRecipe, parts: Parts, tools: RunTools, watch: RunWatch
) -> FittedSiamese | None:
    """The fit that the recipe begins from, made anew: nothing of it is taken from other runs.

    Args:
        parts: of the recipe itself.

    Raises:
        InvalidInput: the recipe to begin from is not known (``unknown_recipe``), its pictures
            cannot be read, or it would learn from some that this one is measured on
            (``transfer_of_other_split``), or none of its layers fits (``base_does_not_fit``).
        WhorlError: its fit diverged (``fit_diverged``).
    """
    if not recipe.transfer:
        return None
    if recipe.transfer not in tools.known:
        raise InvalidInput(
            f"the recipe {recipe.name} begins from {recipe.transfer}, which there is not",
            slug="unknown_recipe",
        )
    first = with_seed(tools.known[recipe.transfer], recipe.schedule.seed)
    its_parts = recipe_pictures(first, tools.datasets)
    require_unseen(first.name, _origin(first, its_parts), _origin(recipe, parts))
    # Before hours go into weights of which nothing would be taken.
    describe_fitting(first.name, new_picture_encoder(first), new_picture_encoder(recipe))
    return _Fit(first, tools, watch).run(its_parts)


def _origin(recipe: SiameseRecipe, parts: Parts) -> tuple[str, str]:
    """Whom the pictures show, and how they are parted."""
    return people_of(recipe.data, own=False), split_digest(parts, recipe.schedule.seed)


def _measure(recipe: SiameseRecipe, fitted: FittedSiamese, parts: Parts) -> Measured:
    _, validation, test = parts
    return measure(
        recipe,
        fitted.matching,
        (validation, embed_pixels(fitted.encoder, validation.pixels)),
        (test, embed_pixels(fitted.encoder, test.pixels)),
    )


def _told_of_run(
    recipe: SiameseRecipe, tools: RunTools, parts: Parts, reading: list[str]
) -> dict[str, Any]:
    named = dict(zip(PARTS, parts, strict=True))
    return {
        "recipe": json_ready(recipe.to_dict()),
        "seed": recipe.schedule.seed,
        "made_with": {
            "whorl": __version__,
            "backend": tools.device.backend,
            "device": tools.device.name,
            "dtype": tools.dtype,
            "cpus": os.cpu_count() or 1,
        },
        "epochs_planned": recipe.schedule.epochs,
        "parts": {name: part.counts() for name, part in named.items()},
        "reading": reading,
    }


def _reading(read: Sequence[LabelledPictures]) -> list[str]:
    return [line for pictures in read for line in describe_reading(pictures, examples=0)]


def _begun(recipe: SiameseRecipe, base: FittedSiamese | None) -> list[str]:
    """What a run takes over, in a line; no line where it begins from no recipe."""
    if base is None:
        return []
    taken = describe_fitting(recipe.transfer, base.encoder, new_picture_encoder(recipe))
    return [f"{BEGUN_FROM}{recipe.transfer}, {taken}"]


def _told_of_fit(
    recipe: SiameseRecipe, fitted: FittedSiamese, fit: _Fit, base: FittedSiamese | None
) -> dict[str, Any]:
    cost = multiply_adds(fitted.encoder)
    epochs = [
        {
            "loss": epoch.loss,
            "validation_loss": epoch.validation_loss,
            "images_per_s": round(epoch.images_per_s, 1),
        }
        for epoch in fitted.epochs
    ]
    return {
        "epochs": json_ready(epochs),
        "stopped": _stopped(recipe, fitted, base),
        "train_s": round(fitted.train_s, 2),
        "transfer_s": 0.0 if base is None else round(base.train_s, 2),
        "parameters": int(fitted.encoder.count_params()),
        "multiply_adds": cost,
        "training_multiply_adds": BACKWARD * cost * _pictures_shown(fitted),
        "symptoms": fit.symptoms.facts(),
    }


def _told_of_measure(measured: Measured) -> dict[str, Any]:
    same, scores, search = measured.pairs.same, measured.scores, measured.search
    return {
        "threshold": json_ready(measured.threshold),
        "figures": json_ready(measured.figures),
        "by_condition": json_ready(measured.by_condition),
        "counts": decide_counts(scores, same, measured.threshold).table.tolist(),
        "genuine": thinned(scores[same]),
        "impostor": thinned(scores[~same]),
        "search_scores": None if search is None else _rounded(search.scores),
    }


def _stopped(recipe: SiameseRecipe, fitted: FittedSiamese, base: FittedSiamese | None) -> str:
    """Why the fit, and the one that it begins from, ended before their last epoch."""
    first = "" if base is None or not base.stopped else base.stopped
    told = [fitted.stopped, f"{BEGUN_FROM}{recipe.transfer}, ended {first}" if first else ""]
    return APART.join(filter(None, told))


def _pictures_shown(fitted: FittedSiamese) -> int:
    """Of all epochs; each shows equally many, so many that their times sum to that of the fit."""
    a_picture_s = sum(1.0 / epoch.images_per_s for epoch in fitted.epochs)
    return round(len(fitted.epochs) * fitted.train_s / a_picture_s)


def _rounded(table: FloatArray) -> list[list[float]]:
    return [[round(float(score), 4) for score in row] for row in table]
