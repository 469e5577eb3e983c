"""Runtimes beside what serves: which win, and what is said of those that are not installed."""

from __future__ import annotations

import numpy as np
import pytest

from app.cli.bench.embedding import Encoders
from app.cli.bench.prints import PrintParams
from app.cli.bench.runtimes import BATCHES, CLEARLY, Measured, runtimes_section, verdict
from app.cli.bench.timing import Times
from app.core.types import PreparedSample
from app.inference.runtimes import Runtime
from app.networks.encoder import build_encoder
from app.networks.folded import folded
from app.networks.forward import inference_function
from app.networks.golden import GOLDEN_TOLERANCE
from tests.conftest import ROOT
from tests.fakes.models import model

SIZE_PX = 64


def measured(name: str, alone: float = 1.0, together: float = 1.0, apart: float = 0.0) -> Measured:
    """So many times as fast, for a single sample and in batches, as one that takes 10 ms each."""
    times = {n: Times((10.0 * n / (alone if n == 1 else together),)) for n in BATCHES}
    return Measured(name, times, apart, apart / 2)


def test_a_runtime_wins_clearly_or_not_at_all() -> None:
    others = [
        measured("early", alone=CLEARLY + 0.1, together=0.5),
        measured("steady", together=CLEARLY + 0.1, apart=GOLDEN_TOLERANCE),
        measured("hardly", alone=CLEARLY - 0.1, together=CLEARLY - 0.1),
        measured("rough", alone=3.0, together=3.0, apart=GOLDEN_TOLERANCE + 0.001),
    ]
    said = verdict([measured("ours"), *others])
    assert "as fast as ours, in batches of 1, 7, 28, 32: early 1.40, 0.50, 0.50, 0.50; " in said
    assert said.endswith(": early, steady.")
    assert verdict([measured("ours"), *others[2:]]).endswith(": none.")


def test_a_row_tells_time_pace_and_precision() -> None:
    row = measured("ours", apart=0.01).row()
    assert row == ["ours", *(f"{10 * n}.0 (100)" for n in BATCHES), "0.0100", "0.0050"]


def test_what_is_installed_is_measured_and_the_rest_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {
        "Again": Runtime(("numpy",), inference_function),
        "Absent": Runtime(("numpy", "whorl-absent"), inference_function),
    }
    monkeypatch.setattr("app.cli.bench.runtimes.RUNTIMES", found)
    params = {"size_px": SIZE_PX, "widths": (4, 8, 8, 8), "blocks": (1, 1, 1)}
    plain = build_encoder("grid_encoder", params)
    forms = Encoders("bfloat16", plain, folded(plain, "bfloat16"), (SIZE_PX, SIZE_PX))
    noise = np.random.default_rng(1).uniform(-1, 1, (5, SIZE_PX, SIZE_PX)).astype(np.float32)
    samples = [PreparedSample(image, np.ones_like(image)) for image in noise]
    section = runtimes_section(forms, None, PrintParams.of(model("m")), samples, 0.001)
    served, trained, again = section.rows
    assert (served[0], again[0]) == ("tensorflow, bfloat16, as served", "Again")
    assert all(len(row) == len(section.head) for row in section.rows)
    assert (trained[-2:], again[-2:]) == (["0.0000"] * 2, ["0.0000"] * 2)
    assert 0.0 < float(served[-2]) < 0.1
    assert f"With numpy {np.__version__}." in section.says
    assert "Not installed: whorl-absent; `make runtimes`" in section.says


def test_the_pins_of_the_runtimes_stand_on_all_others() -> None:
    own = (ROOT / "constraints-runtimes.txt").read_text("utf-8").splitlines()
    assert "--constraint constraints.txt" in own
    packages = [{line for line in text if "==" in line} for text in (own, constraints())]
    assert packages[0]
    assert {line.split("==")[0] for line in packages[0]}.isdisjoint(
        line.split("==")[0] for line in packages[1]
    )


def constraints() -> list[str]:
    return (ROOT / "constraints.txt").read_text("utf-8").splitlines()
