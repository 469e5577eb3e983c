"""What a training job is asked to do, as it travels through the job table."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from app.core.errors import InvalidInput
from app.evaluation.dataset import MAX_PATTERN_CHARS
from app.imaging.resolution import MAX_DPI, MIN_DPI
from app.learning import recipes

Data = Literal["synthetic", "folder", "datasets", "enrolled"]
Base = Literal["champion", "scratch"]
Promote = Literal["manual", "if_better"]
Prints = recipes.Prints

MAX_DATASETS = 20

_CHOICES = {
    "data": get_args(Data),
    "base": get_args(Base),
    "promote": get_args(Promote),
    "prints": get_args(Prints),
}
_ONLY_WITH = {
    "folder": ("folder", "pattern", "dpi"),
    "datasets": ("datasets",),
    "enrolled": ("gallery", "minimum_quality", "samples_per_person"),
}
_WHOLE = {
    "fingers": (2, 1_000_000),
    "steps": (1, 10_000_000),
    "epochs": (1, 1_000_000),
    "batch_fingers": (2, 4096),
    "calibration_fingers": (40, 20_000),
    "seed": (0, 2**32 - 1),
    "minimum_quality": (0, 100),
    "samples_per_person": (2, 1000),
}
MAX_LEARNING_RATE = 1.0


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """A training order; what is None is the recipe's own choice.

    Attributes:
        recipe: name of the recipe.
        recipe_data: the recipe itself as data, where it is not a built-in one; of the same name.
        data: prints that are generated (for a recipe of pictures: its own data set), or labelled
            images of a folder on the server or of uploaded data sets, or the enrolled samples.
        folder: that folder; it must lie in a folder the operator has allowed.
        pattern: regular expression with named groups that reads labels from file names.
        dpi: resolution of the folder's images where the files do not say it.
        fingers: synthetic fingers to train on.
        steps: batches of the recipe's first fit; its refinement, if it has one, is shortened or
            lengthened alike.
        epochs: of a recipe of pictures; one of fingerprints counts steps.
        batch_fingers: fingers a batch.
        calibration_fingers: synthetic fingers that make the table score -> FMR; n of them support
            no FMR below 60 / (n (n - 1)).
        learning_rate: greatest of the recipe's first fit; its refinement's is changed alike.
        seed: of everything that is drawn.
        base: weights to begin with: those in service, or none. A recipe of pictures takes those in
            service only where they are of its kind.
        transfer: name of another recipe of pictures whose newest model gives the weights to begin
            with, where layers fit; it goes before ``base`` and before what the recipe says.
        promote: whether a better model goes into service without being asked again.
        prints: where synthetic impressions are made: by the host's processors ahead of the step, or
            by the network's device as part of it; "auto" is the device if that is a GPU.
        datasets: ids of the uploaded data sets.
        benchmark: ids of uploaded data sets that own prints are judged on, instead of a part that
            is held out; nobody whom they show is learned from.
        synthetic_share: of the fingers of a training on own prints, those that are synthetic.
        gallery: whose enrolled samples; None means the default one.
        minimum_quality, samples_per_person: which of them, see ``enrolled_prints.EnrolledData``.
    """

    recipe: str = "default"
    data: Data = "synthetic"
    folder: str | None = None
    pattern: str | None = None
    dpi: float | None = None
    fingers: int | None = None
    steps: int | None = None
    epochs: int | None = None
    batch_fingers: int | None = None
    calibration_fingers: int | None = None
    learning_rate: float | None = None
    seed: int | None = None
    base: Base = "champion"
    promote: Promote = "manual"
    prints: Prints = "auto"
    recipe_data: dict[str, Any] | None = None
    transfer: str | None = None
    datasets: list[str] | None = None
    benchmark: list[str] | None = None
    synthetic_share: float | None = None
    gallery: str | None = None
    minimum_quality: int | None = None
    samples_per_person: int | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise _invalid(f"{name} must be one of {', '.join(choices)}", name)
        for name, (least, most) in _WHOLE.items():
            _check_whole(name, getattr(self, name), least, most)
        rate = self.learning_rate
        if rate is not None and not (_is_number(rate) and 0.0 < rate <= MAX_LEARNING_RATE):
            raise _invalid(
                f"learning_rate must be above 0 and at most {MAX_LEARNING_RATE:g}", "learning_rate"
            )
        for name in ("recipe", "folder", "pattern", "transfer", "gallery"):
            _check_text(name, getattr(self, name))
        brought = self.recipe_data
        if brought is not None and not isinstance(brought, dict):
            raise _invalid("recipe_data must be an object", "recipe_data")
        if brought is not None and brought.get("name") != self.recipe:
            raise _invalid("recipe must be the name that stands in recipe_data", "recipe")
        self._check_own_data()

    def to_dict(self) -> dict[str, Any]:
        """The JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read the JSON form; missing fields take their defaults.

        Args:
            data: its ``recipe`` may also be a recipe as data.

        Raises:
            InvalidInput: a field is unknown, of the wrong type or out of range, or a recipe as data
                has no name (``invalid_recipe``).
        """
        brought = data.get("recipe")
        if isinstance(brought, dict):
            if not isinstance(brought.get("name"), str):
                raise InvalidInput("a recipe needs a name", slug="invalid_recipe")
            data = data | {"recipe": brought["name"], "recipe_data": brought}
        unknown = sorted(set(data) - {f.name for f in fields(cls)})
        if unknown:
            raise _invalid(f"a training order does not know {', '.join(unknown)}", *unknown)
        return cls(**data)

    def _check_own_data(self) -> None:
        if self.data == "folder" and not self.folder:
            raise _invalid("data=folder needs the folder's path in 'folder'", "folder")
        if self.data == "datasets" and not self.datasets:
            raise _invalid("data=datasets needs their ids in 'datasets'", "datasets")
        for data, names in _ONLY_WITH.items():
            for name in names:
                if self.data != data and getattr(self, name) is not None:
                    raise _invalid(f"{name} is only for data={data}", name)
        if self.data != "synthetic" and self.prints == "device":
            raise _invalid("prints=device is for data=synthetic: images are not rendered", "prints")
        if self.dpi is not None and not (_is_number(self.dpi) and MIN_DPI <= self.dpi <= MAX_DPI):
            raise _invalid(f"dpi must be {MIN_DPI:g} to {MAX_DPI:g}", "dpi")
        if self.pattern is not None:
            _check_pattern(self.pattern)
        if self.datasets is not None:
            _check_datasets("datasets", self.datasets)
        if self.benchmark is not None:
            self._check_benchmark(self.benchmark)
        if self.synthetic_share is not None:
            _check_share(self.synthetic_share, self.data)

    def _check_benchmark(self, ids: list[str]) -> None:
        _check_datasets("benchmark", ids)
        if self.data == "synthetic":
            raise _invalid("a benchmark is for own prints", "benchmark")
        if not ids:
            raise _invalid("benchmark must name a data set", "benchmark")
        if set(ids) & set(self.datasets or ()):
            raise _invalid("no data set can be learned from and judged on", "benchmark")


def _check_datasets(name: str, ids: Any) -> None:
    good = isinstance(ids, list) and len(ids) <= MAX_DATASETS
    if not good or not all(isinstance(one, str) for one in ids) or len(set(ids)) < len(ids):
        raise _invalid(f"{name} must be ids, each once, {MAX_DATASETS} at most", name)


def _check_share(share: Any, data: Data) -> None:
    if data == "synthetic":
        raise _invalid("synthetic_share is for own prints: there are no others", "synthetic_share")
    if not (_is_number(share) and 0.0 <= share <= recipes.LARGEST_SYNTHETIC_SHARE):
        most = recipes.LARGEST_SYNTHETIC_SHARE
        raise _invalid(f"synthetic_share must be 0 to {most:g}", "synthetic_share")


def _check_whole(name: str, value: Any, least: int, most: int) -> None:
    if value is not None and not (type(value) is int and least <= value <= most):
        raise _invalid(f"{name} must be a whole number, {least} to {most}", name)


def _check_text(name: str, value: Any) -> None:
    if value is None and name != "recipe":
        return
    if not isinstance(value, str) or not value.isprintable():
        raise _invalid(f"{name} must be printable text", name)


def _check_pattern(pattern: str) -> None:
    if len(pattern) > MAX_PATTERN_CHARS:
        raise _invalid(f"pattern may have {MAX_PATTERN_CHARS} characters", "pattern")
    try:
        groups = re.compile(pattern).groupindex
    except (re.error, OverflowError) as error:
        raise _invalid(f"pattern is not a regular expression: {error}", "pattern") from error
    if not {"finger", "subject"} & set(groups):
        raise _invalid(
            "pattern must name what it reads: (?P<finger>...) or (?P<subject>...), or both",
            "pattern",
        )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _invalid(detail: str, *names: str) -> InvalidInput:
    return InvalidInput(detail, slug="invalid_training_spec", fields=list(names))
