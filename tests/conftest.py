"""Fixtures shared by all kinds of tests; the folder a test lies in is its marker."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Time on a shared machine says nothing of the code: no deadline, no verdict on slow drawing.
# The same examples in every run, so that a change fails for what it does and not by chance;
# `pytest --hypothesis-profile=search` draws new ones.
QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", QUIET)
settings.register_profile("whorl", QUIET, derandomize=True)
settings.load_profile("whorl")

ROOT = Path(__file__).resolve().parent.parent

# Tests leave little behind that only the collector of cycles can free, and the libraries make so
# many objects that looking through all of them again and again was a third of gathering the tests.
gc.set_threshold(50_000, 20, 100)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(item.path.relative_to(ROOT / "tests").parts[0])


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # what is loaded by now stays to the end: no collection need look through it


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The folder with real prints; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("WHORL_DATASETS", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder} (set WHORL_DATASETS)")
    return folder


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits step by step in Python, see ``training.without_graphs``."""
    from tests.fakes.training import without_graphs

    without_graphs(monkeypatch)
