"""An encoder run by the libraries that Keras exports to, instead of by its backend.

Each gives what ``networks.forward.inference_function`` gives, so that one may take its place in
front of a ``CompiledEmbedder``. Nothing that serves does so; ``make runtimes`` measures them.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np

from app.core.types import FloatArray

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


@contextmanager
def _exported(network: keras.Model, form: str, suffix: str, **options: Any) -> Iterator[Path]:
    """A file of the network in one of the forms that Keras writes."""
    network(keras.ops.zeros((1, *network.input_shape[1:])))  # Keras wants it to have been called
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converters, about each other's versions
        path = Path(folder) / f"encoder.{suffix}"
        network.export(str(path), format=form, verbose=False, **options)
        yield path


def _by_onnxruntime(network: keras.Model, *, in_int8: bool = False) -> Run:
    """Kernels as int8 where that is wanted; the maps then are rounded as they come."""
    import onnxruntime

    with _exported(network, "onnx", "onnx") as path:
        if in_int8:
            from onnxruntime.quantization import quantize_dynamic

            quantize_dynamic(path, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (sample,) = session.get_inputs()
    return lambda x: np.asarray(session.run(None, {sample.name: x})[0], np.float32)


def _by_openvino(network: keras.Model, precision: str) -> Run:
    # With this package it reports every import to its maker, and keeps a number of the user's in
    # the home folder, unless somebody has opted out.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    core = openvino.Core()
    hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    with _exported(network, "openvino", "xml") as path:
        weights = path.with_suffix(".bin").read_bytes()
        exported = core.read_model(path.read_bytes(), weights)

    @cache
    def of_batch(count: int) -> Any:
        exported.reshape([count, *network.input_shape[1:]])
        return core.compile_model(exported, "CPU", hints)

    return lambda x: np.asarray(of_batch(len(x))(x)[0], np.float32)


def _by_litert(network: keras.Model, *, in_int8: bool = False) -> Run:
    """Kernels as int8 where that is wanted; the maps then are rounded as they come."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    optimizations = [tf.lite.Optimize.DEFAULT] if in_int8 else []
    with _exported(network, "litert", "tflite", optimizations=optimizations) as path:
        exported = path.read_bytes()

    @cache
    def of_batch(count: int) -> Any:
        interpreter = Interpreter(model_content=exported, num_threads=os.cpu_count())
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
    "OpenVINO, float32": Runtime(("openvino",), partial(_by_openvino, precision="f32")),
    "OpenVINO, bfloat16": Runtime(("openvino",), partial(_by_openvino, precision="bf16")),
    "LiteRT, float32": Runtime(("ai-edge-litert",), _by_litert),
    "LiteRT, int8": Runtime(("ai-edge-litert",), partial(_by_litert, in_int8=True)),
}
