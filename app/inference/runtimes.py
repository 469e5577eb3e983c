"""An encoder run by the libraries that Keras exports to, instead of by its backend.

Each gives what ``networks.forward.inference_function`` gives, so that one may take its place in
front of a ``CompiledEmbedder``. OpenVINO's does where it is asked for; ``make runtimes`` measures
all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import keras
import numpy as np

from app.core.types import FloatArray
from app.inference.by_openvino import openvino_function
from app.inference.exported import exported

Run = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class Runtime:
    """A way to run an encoder.

    Attributes:
        packages: that have to be installed, as pip calls them.
        function: makes the function of arrays of a network that is folded, in float32.
    """

    packages: tuple[str, ...]
    function: Callable[[keras.Model], Run]


def installed(packages: Iterable[str]) -> dict[str, str | None]:
    """The version of each package, None where it is not there."""
    return {package: _version(package) for package in packages}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _by_onnxruntime(network: keras.Model, *, in_int8: bool = False) -> Run:
    """Kernels as int8 where that is wanted; the maps then are rounded as they come."""
    import onnxruntime

    with exported(network, "onnx", "onnx") as path:
        if in_int8:
            from onnxruntime.quantization import quantize_dynamic

            quantize_dynamic(path, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (sample,) = session.get_inputs()
    return lambda x: np.asarray(session.run(None, {sample.name: x})[0], np.float32)


def _by_litert(network: keras.Model, *, in_int8: bool = False) -> Run:
    """Kernels as int8 where that is wanted; the maps then are rounded as they come."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    optimizations = [tf.lite.Optimize.DEFAULT] if in_int8 else []
    with exported(network, "litert", "tflite", optimizations=optimizations) as path:
        content = path.read_bytes()

    @cache
    def of_batch(count: int) -> Any:
        interpreter = Interpreter(model_content=content, num_threads=os.cpu_count())
        (taken,) = interpreter.get_input_details()
        interpreter.resize_tensor_input(taken["index"], [count, *network.input_shape[1:]])
        interpreter.allocate_tensors()
        return interpreter

    def run(x: FloatArray) -> FloatArray:
        interpreter = of_batch(len(x))
        (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.set_tensor(taken["index"], x)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(given["index"]), np.float32)

    return run


_ONNX = ("onnxruntime", "onnx", "tf2onnx")
RUNTIMES: dict[str, Runtime] = {
    "ONNX Runtime, float32": Runtime(_ONNX, _by_onnxruntime),
    "ONNX Runtime, int8": Runtime(_ONNX, partial(_by_onnxruntime, in_int8=True)),
    "OpenVINO, float32": Runtime(("openvino",), partial(openvino_function, dtype="float32")),
    "OpenVINO, bfloat16": Runtime(("openvino",), partial(openvino_function, dtype="bfloat16")),
    "LiteRT, float32": Runtime(("ai-edge-litert",), _by_litert),
    "LiteRT, int8": Runtime(("ai-edge-litert",), partial(_by_litert, in_int8=True)),
}
