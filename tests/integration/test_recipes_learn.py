"""Recipes that need no data set learn what they say they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.learning.siamese.diagnosis import Symptom
from app.learning.siamese.improved import STRIPES
from app.networks.device import find_device
from app.services.run_recipe import RunTools, RunWatch, run_recipe


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_stripes_are_told_apart_without_an_error(seed: int) -> None:
    found: list[tuple[int, Symptom]] = []
    sheets: dict[str, bytes] = {}
    tools = RunTools(Path("nowhere"), {}, find_device("cpu"), "float32")
    watch = RunWatch(
        lambda _: None,
        lambda epoch, symptom: found.append((epoch, symptom)),
        sheets.__setitem__,
    )
    record = run_recipe(STRIPES, seed, tools, watch)
    assert (record.name, record.seed, record.stopped) == ("stripes", seed, "")
    assert len(record.epochs) == STRIPES.schedule.epochs
    # Nine pictures of the test: 6 + 10 genuine pairs, and as many of the 20 impostor ones.
    assert record.parts["test"]["pictures"] == 9
    assert record.figures["pairs"] == 32.0
    assert record.counts == [[16, 0], [0, 16]]
    for figure in ("accuracy", "precision", "recall", "roc_auc", "recall_at_precision_0.99"):
        assert record.figures[figure] == 1.0
    assert record.threshold == pytest.approx(1 / 1.5)
    loss = record.figures["loss"]
    assert loss is not None
    assert loss < 0.1
    # What keeps the original from learning is never found.
    assert {symptom.name for _, symptom in found}.isdisjoint(
        {"pairs_out_of_balance", "picture_with_itself", "embedding_collapse", "dead_relu_output"}
    )
    assert sheets
