"""A search for better hyper-parameters of a recipe, judged on its validation part alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from app.core.errors import InvalidInput, WhorlError
from app.learning.siamese.constant_loss import constant_loss
from app.learning.siamese.data import Parts, recipe_pictures
from app.learning.siamese.diagnosis import FirstShown, Symptom
from app.learning.siamese.fit import FittedSiamese, SiameseEpoch, fit_siamese
from app.learning.siamese.network import embed_pixels
from app.learning.siamese.protocol import measure
from app.learning.siamese.recipe import PAIR_LOSSES, Protocol, SiameseRecipe
from app.networks.memory import keep_freed_memory
from app.services.run_recipe import RunTools, RunWatch, fit_base, with_seed

if TYPE_CHECKING:
    import optuna

Values = Mapping[str, float | int]
"""Hyper-parameters by name, see ``search_space``."""

SCHEDULE, LOSS = ("learning_rate", "weight_decay", "batch"), ("margin", "scale")
WITHOUT_MARGIN = PAIR_LOSSES - {"contrastive"}
MARGINS_OF_DISTANCES = frozenset({"contrastive", "triplet", "batch_contrastive"})
WITH_SCALE = frozenset({"additive_margin_softmax", "supervised_contrastive"})
STARTUP_TRIALS, WARMUP_EPOCHS = 4, 3
"""Trials and epochs before which nothing is given up."""


@dataclass(frozen=True, slots=True)
class Range:
    """Least and greatest value that is tried; by its logarithm, or by whole numbers."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """One fit of a search.

    Attributes:
        accuracy: on validation pairs at their best threshold; None where the fit was given up.
        epochs: that were run.
        symptoms: of each that the diagnosis found: the epoch in which it first showed, and it.
    """

    number: int
    values: dict[str, float | int]
    accuracy: float | None
    epochs: int
    symptoms: tuple[tuple[int, Symptom], ...] = ()


def search_space(recipe: SiameseRecipe) -> dict[str, Range]:
    """What is searched: around the recipe's own values, and only what plays a role in it."""
    schedule, kind = recipe.schedule, recipe.loss.kind
    found = {
        "learning_rate": Range(schedule.learning_rate / 10, schedule.learning_rate * 10, log=True),
        "weight_decay": Range(1e-6, 1e-1, log=True),
        "batch": Range(max(2, schedule.batch // 2), 2 * schedule.batch, log=True, whole=True),
    }
    if any(layer["layer"] == "dropout" for layer in _stack(recipe)):
        found["dropout"] = Range(0.0, 0.5)
    if kind in MARGINS_OF_DISTANCES:
        found["margin"] = Range(0.1, 3.0, log=True)
    elif kind not in WITHOUT_MARGIN:
        found["margin"] = Range(0.0, 0.5)
    if kind in WITH_SCALE:
        found["scale"] = Range(4.0, 64.0, log=True)
    return found


def own_values(recipe: SiameseRecipe) -> dict[str, float | int]:
    """The recipe's own place in its space, as near as the space allows."""
    rates = [layer["rate"] for layer in _stack(recipe) if layer["layer"] == "dropout"]
    own: dict[str, float | int] = {
        "learning_rate": recipe.schedule.learning_rate,
        "weight_decay": recipe.schedule.weight_decay,
        "batch": recipe.schedule.batch,
        "dropout": sum(rates) / max(len(rates), 1),
        "margin": recipe.loss.margin,
        "scale": recipe.loss.scale,
    }
    space = search_space(recipe)
    return {name: type(own[name])(np.clip(own[name], r.low, r.high)) for name, r in space.items()}


def with_values(recipe: SiameseRecipe, values: Values) -> SiameseRecipe:
    """The recipe with other hyper-parameters; all dropout layers get the one rate."""
    schedule: dict[str, Any] = {k: values[k] for k in SCHEDULE if k in values}
    loss: dict[str, Any] = {k: values[k] for k in LOSS if k in values}
    params: dict[str, Any] = dict(recipe.architecture_params)
    if "dropout" in values:
        rate = {"rate": values["dropout"]}
        params["stack"] = [
            {**layer, **(rate if layer["layer"] == "dropout" else {})} for layer in _stack(recipe)
        ]
    return replace(
        recipe,
        schedule=replace(recipe.schedule, **schedule),
        loss=replace(recipe.loss, **loss),
        architecture_params=params,
    )


def search_recipe(
    recipe: SiameseRecipe, trials: int, seed: int, tools: RunTools, watch: RunWatch
) -> Iterator[Trial]:
    """Try hyper-parameters by a tree-structured Parzen estimator (Bergstra et al., NIPS 2011).

    The recipe's own come first. A fit whose loss is worse than the median of those before it at
    the same epoch is given up. The test part is not looked at.

    Args:
        seed: of the split, the weights and the search.
        watch: of the fit that the recipe begins from, if there is one.

    Yields:
        Every trial as it ends.

    Raises:
        InvalidInput: Optuna is not installed (``search_not_installed``), or the data set cannot be
            used (see ``recipe_pictures``).
    """
    optuna = _optuna()
    keep_freed_memory()
    recipe = with_seed(recipe, seed)
    parts = recipe_pictures(recipe, tools.datasets)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(STARTUP_TRIALS, WARMUP_EPOCHS),
    )
    study.enqueue_trial(own_values(recipe))
    with tools.device.scope():
        base = fit_base(recipe, parts, tools, watch)
    for _ in range(trials):
        asked = study.ask()
        with tools.device.scope():
            trial = _try(recipe, asked, parts, tools, base)
        given_up = optuna.trial.TrialState.PRUNED if trial.accuracy is None else None
        study.tell(asked, trial.accuracy, given_up)
        yield trial


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The most accurate of those that were finished; of several the first."""
    finished = [trial for trial in trials if trial.accuracy is not None]
    return max(finished, key=lambda trial: trial.accuracy or 0.0, default=None)


class _GivenUpError(Exception):
    """A fit is not worth its time any more."""


def _try(
    recipe: SiameseRecipe,
    asked: optuna.Trial,
    parts: Parts,
    tools: RunTools,
    base: FittedSiamese | None,
) -> Trial:
    values = {name: _suggested(asked, name, r) for name, r in search_space(recipe).items()}
    tried = with_values(recipe, values)
    train, validation, _ = parts
    constant = constant_loss(tried, train)
    epochs: list[SiameseEpoch] = []
    first = FirstShown()

    def told(epoch: SiameseEpoch) -> None:
        epochs.append(epoch)
        first.note(epoch.number, epoch.symptoms)
        if constant <= 0.0:  # one class only: nothing to compare trials by
            return
        asked.report(-_relative(epoch, constant), epoch.number)
        if asked.should_prune():
            raise _GivenUpError

    def ended(accuracy: float | None) -> Trial:
        return Trial(asked.number, values, accuracy, len(epochs), first.found())

    try:
        fitted = fit_siamese(
            tried,
            train,
            validation,
            lambda _: None,
            dtype=tools.dtype,
            base=None if base is None else base.encoder,
            limits=tools.limits,
            told=told,
        )
    except _GivenUpError:
        return ended(None)
    except WhorlError as error:
        if error.slug != "fit_diverged":
            raise
        return ended(None)
    known = (validation, embed_pixels(fitted.encoder, validation.pixels))
    by_validation = replace(tried, protocol=Protocol("validation"))
    return ended(measure(by_validation, fitted.matching, known, known).figures["accuracy"])


def _suggested(asked: optuna.Trial, name: str, within: Range) -> float | int:
    if within.whole:
        return asked.suggest_int(name, int(within.low), int(within.high), log=within.log)
    return asked.suggest_float(name, within.low, within.high, log=within.log)


def _relative(epoch: SiameseEpoch, constant: float) -> float:
    """A loss that can be compared between trials: margins, scales and batches stretch losses.

    That of validation where there is one, as a share of what one answer for everything costs.
    """
    known = math.isfinite(epoch.validation_loss)
    return (epoch.validation_loss if known else epoch.loss) / constant


def _stack(recipe: SiameseRecipe) -> list[dict[str, Any]]:
    return [dict(layer) for layer in recipe.architecture_params.get("stack", ())]


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise InvalidInput(
            "the search needs Optuna, which is not installed: pip install 'whorl[search]'",
            slug="search_not_installed",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
