"""The only reader of the environment: every setting, its default and what it means.

Each is read from ``WHORL_`` and the field's name in capitals, once, when the process starts.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LEAST_WORKER_MB = 384
"""In MiB: enough to start and to fail in order; jobs take more, their tensor library alone does."""


def _shipped_models() -> Path:
    """The models that come with the release; the registry's package holds them."""
    spec = find_spec("model_store")
    places = spec.submodule_search_locations if spec is not None else None
    return Path(places[0] if places else "model_store") / "shipped"


class Settings(BaseSettings):
    """Configuration of one process."""

    model_config = SettingsConfigDict(
        env_prefix="WHORL_",
        frozen=True,
        extra="ignore",
        protected_namespaces=(),
        env_ignore_empty=True,
    )

    home: Path = Field(
        Path("./var"), description="Folder of everything that is kept: database, keys, models."
    )
    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port the API listens on (0: any free).")
    model_dir: Path | None = Field(
        None, description="Folder of the published models; without it, `models` under the home."
    )
    shipped_dir: Path = Field(
        default_factory=_shipped_models,
        description="Folder of the models that come with the release; the package's own.",
    )
    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="Where networks run; `auto` takes a GPU where TensorFlow finds one."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="What encoders of prints compute in; `auto` takes bfloat16 where the processor "
        "multiplies it.",
    )
    runtime: Literal["keras", "openvino"] = Field(
        "keras",
        description="What runs encoders of prints: Keras' backend, or `openvino`, which needs the "
        "extra of that name and runs on the processor.",
    )
    max_upload_bytes: int = Field(
        10_000_000, ge=1_000, description="Largest body of a request, in bytes."
    )
    max_pixels: int = Field(
        25_000_000, ge=10_000, description="Largest image, in pixels by its header."
    )
    max_images_per_enrolment: int = Field(
        10, ge=1, le=10, description="Most images of one finger in one enrolment."
    )
    minimum_quality: int = Field(
        20, ge=0, le=100, description="Quality below which a capture is not enrolled."
    )
    queue_limit: int = Field(
        32,
        ge=1,
        description="Requests that may be recognised at a time, waiting or at work; beyond it a "
        "request gets 503 at once.",
    )
    deadline_s: int = Field(
        30,
        ge=1,
        description="Seconds after which a request that waits still gets 503 instead of an answer.",
    )
    worker_nice: int = Field(
        10, ge=0, le=19, description="Niceness of the worker: how readily it gives way to the API."
    )
    worker_memory_mb: int = Field(
        0,
        ge=0,
        description=f"Most memory of the worker, in MiB (0: no bound); {LEAST_WORKER_MB} at least.",
    )
    train_root: Path | None = Field(
        None, description="Folder whose sub-folders may be trained on; without it, none may."
    )
    datasets: Path = Field(
        Path("../shared/data"),
        description="Folder of data sets: prints to evaluate with, pictures to learn from.",
    )
    model_upload: bool = Field(
        False, description="Whether keys with the scope `models:upload` may upload models."
    )
    max_model_bytes: int = Field(
        100_000_000,
        ge=1_000,
        description="Largest upload of a model, in bytes, as it is sent and unpacked.",
    )
    dataset_max_bytes: int = Field(
        2_000_000_000, ge=10_000, description="Largest archive of an uploaded data set, in bytes."
    )
    dataset_max_unpacked_bytes: int = Field(
        4_000_000_000, ge=10_000, description="Most bytes that such an archive may unpack to."
    )
    dataset_max_files: int = Field(
        50_000, ge=10, description="Most files and folders in such an archive."
    )
    docs: bool = Field(True, description="Whether `/docs` is served.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severity that is logged."
    )
    log_format: Literal["text", "json"] = Field("text", description="Form of a log line.")

    @property
    def models(self) -> Path:
        """Folder of the published models."""
        return self.model_dir if self.model_dir is not None else self.home / "models"

    @property
    def database(self) -> Path:
        """The embedded store's file."""
        return self.home / "whorl.sqlite3"

    @model_validator(mode="after")
    def _check_worker_memory(self) -> Self:
        if 0 < self.worker_memory_mb < LEAST_WORKER_MB:
            raise ValueError(
                f"WHORL_WORKER_MEMORY_MB must be 0, for no bound, or at least {LEAST_WORKER_MB}: "
                "the tensor library alone takes more than that"
            )
        return self

    @model_validator(mode="after")
    def _check_root(self) -> Self:
        if self.train_root is not None and not self.train_root.is_absolute():
            raise ValueError("WHORL_TRAIN_ROOT must be an absolute path")
        return self
