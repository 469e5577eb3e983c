"""The model that comes with the release does what the README shows, on prints it never saw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.bootstrap.home import open_home
from app.bootstrap.recognition import wire_recognition
from app.core.ports import LoadedModel
from app.imaging.pipeline import prepare, require_quality
from app.services.compare import CompareRequest, compare_images
from app.services.context import Actor, Recognition
from app.services.outcomes import Decision
from app.settings import Settings

ACTOR = Actor("test", frozenset())


@pytest.fixture(scope="module")
def ctx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recognition]:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    with open_home(settings) as home:
        wired = wire_recognition(settings, home, warm=False)
        (shipped,) = home.registry.shipped_ids()
        wired.shelf.activate(wired.shelf.get(shipped))
        yield wired.recognition
        wired.shelf.release(())


@pytest.fixture
def model(ctx: Recognition) -> LoadedModel:
    return ctx.models.active()


def test_its_calibration_supports_the_default_policies(model: LoadedModel) -> None:
    assert model.calibration.threshold(1e-4) > model.calibration.threshold(1e-2)
    assert model.calibration.fpir_threshold(None, 50)[1] == pytest.approx(1e-3)


def test_its_manifest_states_error_rates_with_counts() -> None:
    from model_store import Registry

    registry = Registry(Path("none"), (Settings().shipped_dir,))
    (shipped,) = registry.shipped_ids()
    measured = registry.verify(shipped).metrics["synthetic"]
    assert measured["genuine"] > 500
    assert measured["impostor"] > 100_000
    assert 0.0 < measured["eer"] < 0.1


@pytest.mark.parametrize(
    ("probe", "decision"), [("101_2.tif", Decision.MATCH), ("102_1.tif", Decision.NO_MATCH)]
)
def test_it_tells_real_fingers_apart(
    ctx: Recognition, datasets: Path, probe: str, decision: Decision
) -> None:
    folder = datasets / "FVC2002" / "DB1_B"
    reference, seen = ((folder / name).read_bytes() for name in ("101_1.tif", probe))
    request = CompareRequest(reference, seen, dpi=500.0)
    assert compare_images(ctx, ACTOR, request).decision is decision


@pytest.mark.parametrize("folder", ["FVC2002/DB1_B", "Neurotechnology/UareU"])
def test_no_first_sample_fails_to_enrol(
    ctx: Recognition, model: LoadedModel, datasets: Path, folder: str
) -> None:
    files = sorted((datasets / folder).glob("*_1.tif"))
    assert len(files) >= 10
    for file in files:
        capture = prepare(file.read_bytes(), model.preparation, requested_dpi=500.0)
        require_quality(capture.quality, ctx.minimum_quality)
