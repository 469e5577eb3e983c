"""Orders of jobs: training, and calibration on the site's own data."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from app.api.bodies import Body, GalleryId, SensorDpi
from app.api.names import HEX, MODEL, PLAIN_TEXT
from app.api.recipe_field import NameOrRecipe
from app.learning.recipes import LARGEST_SYNTHETIC_SHARE
from app.services.calibration_order import (
    DEFAULT_SUBJECTS,
    LEAST_FMR,
    LEAST_SUBJECTS,
    MOST_SEED,
    MOST_SUBJECTS,
)
from app.services.submit_training import OnConflict
from app.services.training_spec import MAX_DATASETS, Base, Data, Prints, Promote


class TrainBody(Body):
    """What to train on, how long, and what becomes of the result."""

    recipe: NameOrRecipe = "default"
    data: Data = "synthetic"
    folder: Annotated[str, Field(pattern=PLAIN_TEXT, max_length=500)] | None = Field(
        None, description="Folder on the server, within the one that may be trained on."
    )
    pattern: Annotated[str, Field(pattern=PLAIN_TEXT, max_length=200)] | None = Field(
        None,
        description="Regular expression that finds the labels in a file's name.",
        examples=[r"(?P<finger>\d+)_\d+"],
    )
    dpi: SensorDpi | None = Field(None, description="Resolution of the folder's images.")
    fingers: int | None = Field(None, ge=2, le=1_000_000, description="Synthetic fingers.")
    steps: int | None = Field(
        None, ge=1, le=10_000_000, description="Batches of the first fit; a refinement goes alike."
    )
    epochs: int | None = Field(
        None, ge=1, le=1_000_000, description="Of a recipe of pictures, which has no steps."
    )
    batch_fingers: int | None = Field(None, ge=2, le=4096, description="Fingers in a batch.")
    calibration_fingers: int | None = Field(
        None, ge=40, le=20_000, description="Generated fingers for the table score -> FMR."
    )
    learning_rate: float | None = Field(
        None, gt=0, le=1, description="Greatest of the first fit; a refinement's goes alike."
    )
    seed: int | None = Field(None, ge=0, le=2**32 - 1)
    base: Base = "champion"
    transfer: Annotated[str, Field(pattern=MODEL)] | None = Field(
        None,
        description="Recipe of pictures whose newest model gives the weights to begin with; goes "
        "before `base`.",
    )
    promote: Promote = "manual"
    on_conflict: OnConflict = Field(
        "queue",
        description="While another training runs or waits: wait behind it, be refused, or cancel "
        "it and take its place.",
    )
    prints: Prints = Field(
        "auto",
        description="Where synthetic impressions are made: by the processors ahead of the step, or "
        "by the network's device as part of it; `auto` is the device if that is a GPU.",
    )
    datasets: list[Annotated[str, Field(pattern=HEX)]] | None = Field(
        None,
        min_length=1,
        max_length=MAX_DATASETS,
        description="Ids of uploaded data sets; `data` need not be given then.",
    )
    benchmark: list[Annotated[str, Field(pattern=HEX)]] | None = Field(
        None,
        min_length=1,
        max_length=MAX_DATASETS,
        description="Ids of uploaded data sets that a training on own prints is judged on, instead "
        "of the part that is held out of them; nobody whom they show is learned from.",
    )
    synthetic_share: float | None = Field(
        None,
        ge=0,
        le=LARGEST_SYNTHETIC_SHARE,
        description="Of the fingers of a training on own prints, those that are synthetic.",
    )

    gallery: GalleryId | None = Field(
        None, description="With `data=enrolled`: whose samples; without it `default`."
    )
    minimum_quality: int | None = Field(
        None, ge=0, le=100, description="With `data=enrolled`: of a sample; without it 40."
    )
    samples_per_person: int | None = Field(
        None, ge=2, le=1000, description="With `data=enrolled`: most of a person; without it 30."
    )

    @model_validator(mode="before")
    @classmethod
    def _datasets_are_data(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and "data" not in fields and fields.get("datasets"):
            return fields | {"data": "datasets"}
        return fields

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        return pattern


class CalibrateBody(Body):
    """What to measure the model in service on, and what becomes of it."""

    gallery: GalleryId = "default"
    apply: bool = Field(
        False,
        description="Decide by the result: at every rate the stricter threshold of the site's and "
        "the model's own.",
    )
    fmrs: list[Annotated[float, Field(ge=LEAST_FMR, lt=1)]] = Field(
        [], max_length=20, description="Rates that must be supported; else those that are."
    )
    subjects: int = Field(
        DEFAULT_SUBJECTS,
        ge=LEAST_SUBJECTS,
        le=MOST_SUBJECTS,
        description="Most persons to compare; drawn at random where there are more.",
    )
    seed: int = Field(0, ge=0, le=MOST_SEED)
