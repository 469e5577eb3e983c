"""``python -m app.cli.training_speed`` measures what a training spends its time on.

Images a second of the generator, of cropping, of the network's step without any input to wait for,
and of all together, for the default recipe under the backend that is set: ``make training-speed``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import cv2
import keras
import numpy as np
import typer

from app.cli.display import console, refusing, say, table
from app.cli.machine import facts_table, machine_facts
from app.cli.training_display import training_display
from app.core.types import FloatArray
from app.evaluation.tables import markdown
from app.learning.batches import PairBatches
from app.learning.fit import compiled, fit, new_encoder
from app.learning.prints import Fingers, grow_fingers, view_of
from app.learning.progress import Phases
from app.learning.recipe_book import find_print_recipe
from app.learning.recipes import Recipe
from app.learning.views import ViewPool
from app.networks.device import Device, find_device, training_dtype
from app.settings import Settings
from app.synth.impression import impress

PAGE = Path("docs/evaluation/training-speed.md")
FINGERS = 64
MANY = 100_000
"""Batches: more than are ever measured."""

Batch = tuple[FloatArray, Any]


@dataclass(frozen=True, slots=True)
class Speeds:
    """Images a second.

    Attributes:
        generator: impressions made and prepared, on one core.
        refill: the same when the pool is filled, on all that the pool takes.
        crops: samples of batches, cropped from the pool.
        step: samples through the training step, the same batch again and again.
        together: samples through a fit, which crops and renews its pool meanwhile.
        waited_share: of that fit's time, how much it waited for a batch.
    """

    generator: float
    refill: float
    crops: float
    step: float
    together: float
    waited_share: float

    def rows(self) -> list[tuple[str, str]]:
        """What was measured, and how many images a second."""
        named = {
            "generator: an impression made and prepared, one core": self.generator,
            "generator: the whole pool filled": self.refill,
            "batches cropped from the pool": self.crops,
            "training step without input": self.step,
            "both together: a fit": self.together,
        }
        return [(name, f"{speed:,.0f}") for name, speed in named.items()]

    def verdict(self) -> str:
        """What the input costs the step."""
        return (
            f"Together the pace is {self.together / self.step:.0%} of the step's own: the input "
            f"pipeline costs {1 - self.together / self.step:.0%}. The fit waited "
            f"{self.waited_share:.0%} of its time for a batch. Cropping alone would feed "
            f"{self.crops / self.step:.1f} such steps."
        )


@refusing()
def training_speed(
    seconds: Annotated[float, typer.Option(help="Seconds a measurement.", min=0.1)] = 5.0,
    fingers: Annotated[int, typer.Option(help="Fingers in the pool.", min=2)] = FINGERS,
    page: Annotated[Path, typer.Option(help="Page to write.")] = PAGE,
) -> None:
    """Measure the speed of training with the default recipe, and of its parts."""
    screen = console()
    recipe, device = find_print_recipe("default").fits[0], find_device(Settings().device)
    with training_display(screen) as sink:
        speeds = grow_and_measure(recipe, device, fingers, seconds, Phases(sink))
    screen.print(table(["What", "Images a second"], speeds.rows()))
    say(screen, speeds.verdict())
    command = f"python -m app.cli.training_speed --seconds {seconds:g} --fingers {fingers}"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(speed_page(speeds, recipe, command, machine_facts(device)), "utf-8")


def grow_and_measure(
    recipe: Recipe, device: Device, fingers: int, seconds: float, phases: Phases
) -> Speeds:
    """Measure with so many fingers, or as many as a batch takes where that is more."""
    count = max(fingers, recipe.schedule.batch_fingers)
    seed, dpi = recipe.population.seed, recipe.preparation.dpi
    masters = grow_fingers(seed, count, dpi, phases.begin("growing prints"))
    return measure_speeds(recipe, device, masters, seconds, phases)


def measure_speeds(
    recipe: Recipe, device: Device, fingers: Fingers, seconds: float, phases: Phases
) -> Speeds:
    """Measure each part for some seconds, then all together.

    Args:
        fingers: at least a batch of them; a training has more, which makes nothing slower.
    """
    phases.begin("measuring the generator")
    generator = _generator(recipe, fingers, seconds)
    with closing(_pool(recipe, fingers, 0.0, phases)) as pool:
        start = time.monotonic()
        pool.begin_epoch(0)
        refill = len(fingers.masters) * recipe.population.views / (time.monotonic() - start)
        phases.begin("measuring the crops")
        crops, batch = _crops(recipe, pool, seconds)
    phases.begin("measuring the step")
    step = _step(recipe, device, batch, seconds)
    together, waited_share = _together(recipe, device, fingers, seconds * step, phases)
    return Speeds(generator, refill, crops, step, together, waited_share)


def speed_page(speeds: Speeds, recipe: Recipe, command: str, facts: dict[str, str]) -> str:
    """The table and what it was measured on, in Markdown."""
    schedule, size_px = recipe.schedule, recipe.preparation.size_px
    parts = [
        "# Speed of training\n",
        f"Written by `make training-speed` (`{command}`): images a second, for recipe "
        f"`{recipe.name}` with batches of {schedule.batch_fingers} fingers, two impressions of "
        f"{size_px} x {size_px} pixels each.\n",
        markdown(["What", "Images a second"], speeds.rows()),
        speeds.verdict() + " An impression is cropped many times before it is made anew, so the "
        "generator need not keep pace with the step.\n",
        facts_table(facts),
    ]
    return "\n".join(parts)


def _pool(recipe: Recipe, fingers: Fingers, renewed_share: float, phases: Phases) -> ViewPool:
    return ViewPool(
        fingers,
        recipe.preparation,
        per_finger=recipe.population.views,
        renewed_share=renewed_share,
        report=phases.begin("making impressions"),
    )


def _per_second(make: Callable[[int], int], seconds: float) -> float:
    """What ``make(0), make(1), ...`` say they made, for some seconds."""
    start, made, number = time.monotonic(), 0, 0
    while (elapsed := time.monotonic() - start) < seconds or number == 0:
        made += make(number)
        number += 1
    return made / elapsed


def _generator(recipe: Recipe, fingers: Fingers, seconds: float) -> float:
    def make(number: int) -> int:
        master = fingers.masters[number % len(fingers.masters)]
        impression = impress(master, np.random.default_rng(number))
        view_of(impression, master.centre_px, recipe.preparation)
        return 1

    with _one_thread():
        return _per_second(make, seconds)


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV spreads over all cores where it can."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _crops(recipe: Recipe, pool: ViewPool, seconds: float) -> tuple[float, Batch]:
    """Images a second, and the first of the batches."""
    schedule = recipe.schedule
    batches = PairBatches(
        pool,
        recipe.preparation,
        recipe.noise,
        batch_fingers=schedule.batch_fingers,
        steps=MANY,
        seed=schedule.seed,
    )
    with batches:
        batches.begin_epoch(0)
        first: Batch = batches[0]
        return _per_second(lambda number: len(batches[number + 1][1]), seconds), first


class _SameBatch(keras.utils.PyDataset):  # type: ignore[misc]
    def __init__(self, batch: Batch) -> None:
        super().__init__(workers=1)
        self._batch = batch

    def __len__(self) -> int:
        return MANY

    def __getitem__(self, index: int) -> Batch:
        return self._batch


class _Clock(keras.callbacks.Callback):  # type: ignore[misc]
    """Notes when every batch ended; the first one, which compiles, begins the measurement."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds, self.ends = seconds, list[float]()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        float((logs or {}).get("loss", 0.0))  # waits for a device that works behind our back
        self.ends.append(time.monotonic())
        if batch > 0 and self.ends[-1] - self.ends[0] >= self._seconds:
            self.model.stop_training = True


def _step(recipe: Recipe, device: Device, batch: Batch, seconds: float) -> float:
    clock = _Clock(seconds)
    with device.scope():
        siamese = compiled(recipe, new_encoder(recipe, training_dtype(device)))
        siamese.fit(_SameBatch(batch), callbacks=[clock], shuffle=False, verbose=0)
    return (len(clock.ends) - 1) * len(batch[1]) / (clock.ends[-1] - clock.ends[0])


def _together(
    recipe: Recipe, device: Device, fingers: Fingers, images: float, phases: Phases
) -> tuple[float, float]:
    """Images a second, and the share waited, of the second of two epochs of so many images.

    The epochs are shorter than the recipe's and the fingers fewer: as many impressions are renewed
    a batch as the recipe renews.
    """
    population, schedule = recipe.population, recipe.schedule
    steps = max(2, math.ceil(images / (2 * schedule.batch_fingers)))
    renewed = population.training * population.renewed_share * steps / schedule.epoch_steps
    pool = _pool(recipe, fingers, min(renewed / len(fingers.masters), 1.0), phases)
    short = replace(schedule, steps=2 * steps, steps_per_epoch=steps, warmup_steps=1)
    asked = replace(recipe, schedule=short)
    ends: list[float] = []
    with device.scope(), closing(pool):
        encoder = new_encoder(asked, training_dtype(device))
        epochs = fit(asked, encoder, pool, lambda _: ends.append(time.monotonic()))
    pace = steps * 2 * schedule.batch_fingers / (ends[-1] - ends[steps - 1])
    return pace, epochs[-1].waited_share or 0.0


if __name__ == "__main__":
    typer.run(training_speed)
