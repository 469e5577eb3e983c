"""An encoder run by OpenVINO instead of by Keras' backend (``WHORL_RUNTIME=openvino``)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import keras
import numpy as np

from app.core.errors import WhorlError
from app.core.types import FloatArray
from app.inference.exported import exported

HOW_TO_INSTALL = "pip install 'whorl[openvino]'"
_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def require_openvino() -> None:
    """Make sure that it is there.

    Raises:
        WhorlError: it is not (``no_runtime``).
    """
    if find_spec("openvino") is None:
        raise WhorlError(
            f"WHORL_RUNTIME=openvino, but OpenVINO is not installed: {HOW_TO_INSTALL}, or set "
            "WHORL_RUNTIME=keras",
            slug="no_runtime",
        )


def openvino_function(network: keras.Model, dtype: str) -> Callable[[FloatArray], FloatArray]:
    """A network as a function of arrays, compiled for each size of batch when it is first seen.

    It runs on the processor, for one thread at a time, with the weights of now.

    Args:
        network: for inference, in float32.
        dtype: of kernels and maps, "float32" or "bfloat16".
    """
    openvino = _openvino()
    core = openvino.Core()
    hints = {"INFERENCE_PRECISION_HINT": _PRECISIONS[dtype], "PERFORMANCE_HINT": "LATENCY"}
    with exported(network, "openvino", "xml") as path:
        model = core.read_model(path.read_bytes(), path.with_suffix(".bin").read_bytes())

    @cache
    def of_batch(count: int) -> Any:
        model.reshape([count, *network.input_shape[1:]])
        return core.compile_model(model, "CPU", hints)

    def run(inputs: FloatArray) -> FloatArray:
        return np.array(of_batch(len(inputs))(inputs)[0], np.float32)

    return run


def _openvino() -> Any:
    # With this package OpenVINO reports every import and every conversion to its maker, and keeps a
    # number of the user's in the home folder, unless somebody has opted out.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino
