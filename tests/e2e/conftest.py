"""A live service for each module that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.synth import impress, population
from tests.e2e.live import LiveService
from tests.fakes.prints import png


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """API without a worker."""
    with LiveService(tmp_path_factory.mktemp("home")) as live:
        yield live


@pytest.fixture(scope="session")
def prints(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], bytes]:
    """PNG files of three impressions of four synthetic fingers, by (finger, impression)."""
    made = {}
    for finger, master in enumerate(population(seed=41, fingers=4)):
        for impression in range(3):
            rng = np.random.default_rng([finger, impression])
            made[finger, impression] = png(impress(master, rng).image, master.dpi)
    return made


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return Path(__file__).resolve().parents[2]
