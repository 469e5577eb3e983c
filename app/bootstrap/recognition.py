"""Recognition from a home folder: models on the device, search indexes, limits."""

from __future__ import annotations

from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from app.bootstrap.home import Home
from app.imaging.decode import ImageLimits
from app.inference.by_openvino import require_openvino
from app.inference.live import LoadedModels
from app.inference.loading import Loader
from app.networks.device import Device, find_device, inference_dtype
from app.services.context import Recognition
from app.services.indexes import SearchIndexes
from app.services.site_calibrations import calibrating
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Wired:
    """Recognition, and what is needed to change the models in it."""

    recognition: Recognition
    shelf: LoadedModels
    device: Device


def wire_recognition(settings: Settings, home: Home, *, warm: bool = True) -> Wired:
    """Put the rooms together; no model is loaded yet.

    Args:
        warm: whether models are warmed when they are loaded; not worth it for a single request.

    Raises:
        WhorlError: the device or the runtime that was demanded is not there (``no_device``,
            ``no_runtime``).
    """
    device = find_device(settings.device)
    if settings.runtime == "openvino":
        require_openvino()
    loader = Loader(
        home.registry,
        device,
        settings.queue_limit,
        warm,
        settings.deadline_s,
        serving_dtype(settings, device),
        settings.runtime,
    )
    shelf = LoadedModels(calibrating(home.store, loader.load), loader.kind_of)
    return Wired(
        Recognition(
            home.store,
            shelf,
            SearchIndexes(home.store),
            image_limits(settings),
            settings.minimum_quality,
        ),
        shelf,
        device,
    )


def one_thread_a_product() -> None:
    """Let NumPy multiply in one thread: searches and requests are what runs side by side.

    Products of templates are small; with a thread for each processor half the time goes to waiting
    for each other.
    """
    threadpool_limits(limits=1, user_api="blas")


def image_limits(settings: Settings) -> ImageLimits:
    """What an image may be."""
    return ImageLimits(max_bytes=settings.max_upload_bytes, max_pixels=settings.max_pixels)


def serving_dtype(settings: Settings, device: Device) -> str:
    """What encoders are asked to compute in: as set, else what the device is quickest in."""
    return inference_dtype(device) if settings.precision == "auto" else settings.precision
