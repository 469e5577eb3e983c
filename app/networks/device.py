"""Where the network runs: the GPU when there is one, else the CPU, with the reason."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras

from app.core.errors import WhorlError

logger = logging.getLogger(__name__)

Preference = Literal["auto", "cpu", "gpu"]


@dataclass(frozen=True, slots=True)
class Device:
    """A device in Keras' notation (``cpu:0``, ``gpu:0``), its name, and why it was chosen."""

    id: str
    name: str
    backend: str
    reason: str

    def scope(self) -> AbstractContextManager[None]:
        """Context in which variables are created on this device."""
        # Under PyTorch "cpu:0" is another device than "cpu": variables would be copies that take
        # part in no gradient.
        plain = self.backend == "torch" and self.id.startswith("cpu")
        scope: AbstractContextManager[None] = keras.device("cpu" if plain else self.id)
        return scope


def _tensorflow_gpus() -> list[str]:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        # Without growth TensorFlow takes the whole card at once and a second process gets nothing.
        tf.config.experimental.set_memory_growth(gpu, True)
    return [tf.config.experimental.get_device_details(g).get("device_name", g.name) for g in gpus]


def _torch_gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _jax_gpus() -> list[str]:
    import jax

    return [str(d.device_kind) for d in jax.devices() if d.platform == "gpu"]


def find_device(preference: Preference = "auto") -> Device:
    """Choose the device once, before the first model is built.

    Raises:
        WhorlError: a GPU was demanded and the backend sees none (``no_device``).
    """
    backend = keras.backend.backend()
    if preference == "cpu":
        return _announce(Device("cpu:0", "CPU", backend, "asked for by WHORL_DEVICE=cpu"))
    find = {"tensorflow": _tensorflow_gpus, "torch": _torch_gpus, "jax": _jax_gpus}.get(backend)
    try:
        gpus = find() if find else []
    except RuntimeError as error:  # the card is there but cannot be set up now
        gpus, failure = [], str(error)
    else:
        failure = f"{backend} sees no GPU"
    if gpus:
        return _announce(Device("gpu:0", gpus[0], backend, f"{backend} sees {len(gpus)} GPU(s)"))
    if preference == "gpu":
        raise WhorlError(f"WHORL_DEVICE=gpu, but {failure}; see `whorl doctor`", slug="no_device")
    return _announce(Device("cpu:0", "CPU", backend, failure))


def _announce(device: Device) -> Device:
    logger.info("device %s (%s): %s", device.id, device.name, device.reason)
    return device


def training_dtype(device: Device) -> str:
    """The dtype policy to train under: bfloat16 products where the hardware has them."""
    return "mixed_bfloat16" if has_bfloat16(device) else "float32"


def inference_dtype(device: Device) -> str:
    """The type to embed in: kernels and maps in bfloat16 where the hardware multiplies it."""
    return "bfloat16" if has_bfloat16(device) else "float32"


def has_bfloat16(device: Device) -> bool:
    """Whether the hardware multiplies bfloat16 faster than float32."""
    if device.id.startswith("gpu"):
        return True
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.is_file() else ""
    return "amx_bf16" in flags or "avx512_bf16" in flags
