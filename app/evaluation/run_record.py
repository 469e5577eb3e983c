"""What is kept of one training run, so that it can be told and drawn without training again."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from app.core.errors import InvalidInput
from app.core.json_ready import json_ready
from app.core.types import FloatArray
from app.evaluation.rates import Scores

WORDS = ("summary", "original", "wrong", "changed", "reported")
"""Fields of a recipe that are for readers: a run stays valid where only these change. The second
is no field any more, but stands in records that are kept."""
KEPT_SCORES = 4000
DIGITS = 6
"""Of kept scores: those of a learned measure crowd together near 0 and 1."""
BY_ITSELF = "without a lower validation loss"
"""Of ``stopped``: a fit whose patience ended found its end by itself, every other was cut short."""
BEGUN_FROM = "begun from "
"""Of ``stopped``: begins the part that tells of the fit that this one begins from."""
APART = "; "
ROUNDED_S = 0.01


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of a recipe; everything in it is ready for JSON, and a number that is none is None.

    Attributes:
        recipe: in its dict form, with the seed of the run.
        made_with: whorl, backend, device, dtype, cpus.
        epochs: of each: loss, validation_loss, images_per_s.
        epochs_planned: by the recipe.
        stopped: why the fit ended before, and the one that it begins from; "" where none did.
        train_s: seconds in training steps; ``transfer_s`` those of the recipe it begins from.
        parameters: of the encoder, trained or not.
        multiply_adds: of one picture through the encoder; ``training_multiply_adds`` of the whole
            fit is estimated as three times that for every picture shown.
        parts: by name of the part: pictures, classes, subjects.
        reading: lines of what was read, for people: counts and reasons, no names of files, which
            may be persons'; the last one of what was taken over, where it begins from a recipe.
        counts: int [2, 2] of decisions, see ``decisions.DecisionCounts.table``.
        genuine, impostor: test scores, thinned, see ``thinned``.
        search_scores: of one probe a class against every class, its best of those enrolled, or
            None.
        symptoms: of each that the diagnosis found: epoch (the first), name, detail.
    """

    recipe: dict[str, Any]
    seed: int
    made_with: dict[str, Any]
    epochs: list[dict[str, float | None]]
    epochs_planned: int
    stopped: str
    train_s: float
    transfer_s: float
    parameters: int
    multiply_adds: int
    training_multiply_adds: int
    parts: dict[str, dict[str, int]]
    reading: list[str]
    threshold: float | None
    figures: dict[str, float | None]
    by_condition: dict[str, dict[str, float | None]]
    counts: list[list[int]]
    genuine: list[float]
    impostor: list[float]
    search_scores: list[list[float]] | None
    symptoms: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """Of the recipe."""
        return str(self.recipe["name"])

    @property
    def scores(self) -> Scores:
        """The kept test scores."""
        return Scores(np.asarray(self.genuine, np.float32), np.asarray(self.impostor, np.float32))

    @property
    def cut_short(self) -> bool:
        """Whether a limit ended a fit that would have gone on."""
        return bool(self._cuts())

    def reaches(self, seconds: float, epochs: int | None) -> bool:
        """Whether a run under these limits would train no further than this one did.

        Args:
            seconds: of training after which no other epoch begins.
            epochs: at most so many; None for those of the recipe.
        """
        return all(
            seconds <= took_s + ROUNDED_S or (epochs is not None and epochs <= ran)
            for took_s, ran in self._cuts()
        )

    def _cuts(self) -> list[tuple[float, int]]:
        """Seconds and epochs of the fits that were cut short, its own and that it begins from."""
        found = []
        for words in filter(None, self.stopped.split(APART)):
            ran = re.search(r"after (\d+) of", words)
            if BY_ITSELF not in words:
                took_s = self.transfer_s if words.startswith(BEGUN_FROM) else self.train_s
                found.append((took_s, int(ran[1]) if ran else len(self.epochs)))
        return found

    def is_of(self, recipe: Mapping[str, Any]) -> bool:
        """Whether the run would come out the same by this recipe, its words aside."""
        return trained_by(self.recipe) == trained_by(recipe)

    def write(self, path: Path) -> None:
        """Write as JSON, at once or not at all.

        Raises:
            OSError: it cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".partial")
        fresh.write_text(_json(asdict(self)) + "\n", "utf-8")
        os.replace(fresh, path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what ``write`` wrote.

        Raises:
            InvalidInput: the file holds something else (``broken_run``).
            OSError: the file cannot be read.
        """
        try:
            data = json.loads(path.read_text("utf-8"))
            known = {field.name for field in fields(cls)}
            if not isinstance(data, dict) or set(data) != known:
                raise ValueError("it has other fields")
            return cls(**data)
        except ValueError as error:
            raise InvalidInput(
                f"{path.name} is not the record of a run ({error}); remove it, or run the recipe "
                "again with --fresh",
                slug="broken_run",
            ) from error


def trained_by(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What of a recipe's dict decides a run, in the form that JSON gives back."""
    decisive = {key: value for key, value in recipe.items() if key not in WORDS}
    found: dict[str, Any] = json.loads(json.dumps(json_ready(decisive)))
    return found


def thinned(scores: FloatArray, most: int = KEPT_SCORES // 2) -> list[float]:
    """At most so many of the scores, rounded, ascending: evenly spaced ranks, both ends among them.

    The rates that they give differ from those of all scores by less than 1 / ``most``.

    Args:
        scores: float [n], finite.
    """
    ranked = np.sort(np.asarray(scores, np.float64))
    places = np.unique(np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round().astype(int))
    return [round(float(score), DIGITS) for score in ranked[places]]


def _json(data: Mapping[str, Any]) -> str:
    """A field a line: a list of scores number by number would be thousands of lines."""
    lines = [
        f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in data.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}"
