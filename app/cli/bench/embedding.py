"""The encoder behind its port, bare, and what the processor could do at best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from app.cli.bench.timing import Section, in_turns
from app.core.types import FloatArray, PreparedSample
from app.inference.embedder import CompiledEmbedder
from app.networks.folded import folded
from app.networks.forward import inference_function, serving_function, stack_samples
from app.networks.multiply_adds import multiply_adds
from app.networks.restore import read_params, restore_encoder
from model_store import Manifest, Registry

BATCHES = (1, 2, 4, 8, 16, 32, 64)
PEAK_SIDE = 2048
"""Of the square matrices whose product tells what the processor can do."""


@dataclass(frozen=True, slots=True)
class Encoders:
    """One encoder in the forms that are compared.

    Attributes:
        dtype: that it is served in.
        plain, served: as it was trained, in float32; as it is served.
    """

    dtype: str
    plain: keras.Model
    served: keras.Model
    shape_px: tuple[int, int]


def encoders(registry: Registry, manifest: Manifest, dtype: str) -> Encoders:
    """A published encoder, restored."""
    preparation, _ = read_params(manifest)
    plain = restore_encoder(registry, manifest)
    return Encoders(dtype, plain, folded(plain, dtype), preparation.shape_px)


def embedding_section(forms: Encoders, samples: list[PreparedSample], seconds: float) -> Section:
    """Images a second by batch: behind the port, bare, as it was trained, and the limit."""
    peak = {name: peak_flops(name, seconds) for name in dict.fromkeys(("float32", forms.dtype))}
    flops = 2 * multiply_adds(forms.plain)
    limit = peak[forms.dtype] / flops
    bare, plain = serving_function(forms.served), inference_function(forms.plain)
    port = CompiledEmbedder(bare, forms.shape_px)
    rows = []
    for batch in BATCHES:
        some = [samples[k % len(samples)] for k in range(batch)]
        inputs = stack_samples(some)
        taken = in_turns(
            {
                "port": lambda some=some: port.embed(some),  # type: ignore[misc]
                "bare": _run(bare, inputs),
                "plain": _run(plain, inputs),
            },
            seconds,
        )
        pace = {name: times.per_second(batch) for name, times in taken.items()}
        rows.append(
            [
                str(batch),
                f"{pace['port']:,.0f}",
                f"{taken['port'].p50_ms:.1f}",
                f"{pace['port'] / pace['bare']:.2f}",
                f"{pace['port'] / pace['plain']:.2f}",
                f"{pace['bare'] / limit:.0%}",
            ]
        )
    gflops = ", ".join(f"{name} {value / 1e9:,.0f} GFLOP/s" for name, value in peak.items())
    says = (
        f"Served in {forms.dtype}, folded. One view takes {flops / 1e9:.2f} GFLOP. A product of "
        f"two matrices of {PEAK_SIDE} x {PEAK_SIDE} reaches {gflops} here, so that at most "
        f"{limit:,.0f} images a second were possible if all were such products."
    )
    head = ["Batch", "Images/s", "ms", "of bare", "of float32 unfolded", "bare, of the limit"]
    return Section("Embedding", head, rows, says)


def _run(run: Callable[[FloatArray], FloatArray], inputs: FloatArray) -> Callable[[], object]:
    return lambda: run(inputs)


def peak_flops(dtype: str, seconds: float) -> float:
    """Floating point operations a second of a large product of matrices."""
    rng = np.random.default_rng(1)
    values = rng.standard_normal((PEAK_SIDE, PEAK_SIDE), dtype=np.float32)
    matrix = keras.ops.convert_to_tensor(values, dtype)

    def product() -> object:
        return keras.ops.convert_to_numpy(keras.ops.matmul(matrix, matrix)[:1])

    times = in_turns({dtype: product}, seconds)[dtype]
    return float(2 * PEAK_SIDE**3 / min(times.all_ms) * 1e3)
