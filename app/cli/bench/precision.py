"""What the served form of the encoder decides otherwise than the trained one, on real prints."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from app.cli.bench.embedding import Encoders
from app.cli.bench.prints import PrintParams
from app.cli.bench.timing import Section
from app.core.errors import InvalidInput
from app.core.params import PreparationParams
from app.core.types import PreparedSample
from app.evaluation.dataset import parse_names
from app.imaging.pipeline import prepare
from app.learning.judge import embed_gallery
from app.networks.forward import inference_function

SETS = ("FVC2002/DB1_B", "FVC2000/DB2_B", "FVC2004/DB1_B")
DPI = 500.0
RATES = (1e-2, 1e-3, 1e-4, 1e-5)


def precision_section(
    forms: Encoders,
    pose: keras.Model | None,
    params: PrintParams,
    datasets: Path,
) -> Section:
    """By set: comparisons, how far scores lie apart, and decisions that differ at some rates.

    Args:
        params: how samples are prepared and compared, and what the scores mean.
    """
    matching, calibration = params.matching, params.calibration
    find = None if pose is None else inference_function(pose)
    rows, changed, compared = [], 0, 0
    for name in SETS:
        samples = _samples(datasets / name, params.preparation)
        if not samples:
            continue
        exact, served = (
            embed_gallery(inference_function(form), samples, matching, None, find).scores(matching)
            for form in (forms.plain, forms.served)
        )
        above = np.triu_indices(len(samples), 1)
        apart = np.abs(exact[above] - served[above])
        bars = [calibration.threshold(fmr) for fmr in RATES]
        differ = [int(((exact[above] >= bar) != (served[above] >= bar)).sum()) for bar in bars]
        changed, compared = changed + sum(differ), compared + len(apart) * len(bars)
        apart_text = [f"{apart.mean():.4f}", f"{np.percentile(apart, 99):.4f}"]
        rows.append([name, f"{len(apart):,}", *apart_text, *map(str, differ)])
    says = (
        f"Encoder in float32, unfolded, against {forms.dtype}, folded: of {compared:,} decisions "
        f"{changed} differ."
        if rows
        else "None of the sets is under WHORL_DATASETS."
    )
    head = ["Set", "Comparisons", "apart, mean", "p99", *(f"at FMR {fmr:g}" for fmr in RATES)]
    return Section("Precision", head, rows, says)


def _samples(folder: Path, preparation: PreparationParams) -> list[PreparedSample]:
    if not folder.is_dir():
        return []
    samples = []
    for image in parse_names([path for path in folder.rglob("*") if path.is_file()], None).images:
        try:
            capture = prepare(image.path.read_bytes(), preparation, requested_dpi=DPI)
        except InvalidInput:
            continue
        samples.append(capture.prepared)
    return samples
