"""What every baseline promises, and the processes that compare with it."""

from __future__ import annotations

import os
import pickle
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest

from app.cli.synth import Order, write_prints
from app.core.types import GrayImage
from app.evaluation.baseline import Baseline, Failure, Template, score_with
from app.evaluation.nbis import NbisBaseline, require_nbis
from app.services.altered_capture import read_image

Captures = tuple[GrayImage, ...]
BLANK: GrayImage = np.full((300, 260), 255, np.uint8)


class Pixels:
    """Correlation of small pictures; a blank page has none."""

    name = "pixels"

    def extract(self, image: GrayImage) -> Template | Failure:
        rows, columns = (np.linspace(0, side - 1, 32).astype(int) for side in image.shape)
        small = image[np.ix_(rows, columns)].astype(np.float32)
        return small.tobytes() if small.std() else Failure("nothing is there")

    def compare(self, probe: Template, reference: Template) -> float:
        one, other = (np.frombuffer(t, np.float32) for t in (probe, reference))
        return float(np.corrcoef(one, other)[0, 1])


class Crashing(Pixels):
    """Native code that takes its process along."""

    def compare(self, probe: Template, reference: Template) -> float:
        os._exit(1)


def installed_nbis() -> Baseline:
    try:
        require_nbis()
    except ImportError as error:
        pytest.skip(str(error))
    return NbisBaseline()


@pytest.fixture(params=["fake", "nbis"])
def baseline(request: pytest.FixtureRequest) -> Baseline:
    if request.param == "fake":
        return Pixels()
    return installed_nbis()


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> tuple[GrayImage, ...]:
    """Two synthetic fingers by two, at 500 dpi."""
    folder = tmp_path_factory.mktemp("captures")
    write_prints(Order(folder, fingers=2, impressions=2, seed=5, dpi=500, masters=False))
    files = (folder / f"{finger}_{impression}.png" for finger in (1, 2) for impression in (1, 2))
    return tuple(read_image(file.read_bytes(), None).pixels for file in files)


def template_of(baseline: Baseline, image: GrayImage) -> Template:
    found = baseline.extract(image)
    assert not isinstance(found, Failure)
    return found


def test_a_print_is_more_like_itself_than_like_another_finger(
    baseline: Baseline, captures: Captures
) -> None:
    one, _, other, _ = (template_of(baseline, image) for image in captures)
    assert baseline.compare(one, one) > baseline.compare(one, other)
    assert baseline.compare(other, other) > baseline.compare(other, one)


def test_an_empty_page_is_a_failure_with_a_reason(baseline: Baseline) -> None:
    found = baseline.extract(BLANK)
    assert isinstance(found, Failure)
    assert found.reason


def test_the_same_image_gives_the_same_template_in_whatever_memory_it_lies(
    baseline: Baseline, captures: Captures
) -> None:
    image = captures[0]
    wanted = template_of(baseline, image)
    assert template_of(baseline, np.asfortranarray(image)) == wanted
    assert template_of(pickle.loads(pickle.dumps(baseline)), image.copy()) == wanted


def test_every_pair_is_compared_once_in_processes_of_its_own(
    baseline: Baseline, captures: Captures
) -> None:
    told: list[tuple[str, int, int]] = []
    images: list[GrayImage | Failure] = [*captures, BLANK, Failure("the file is damaged")]
    found = score_with(
        baseline,
        iter(images),
        len(images),
        processes=2,
        report=lambda what, done, of: told.append((what, done, of)),
    )
    assert found.name == baseline.name
    assert set(found.failed) == {4, 5}
    assert found.failed[5] == "the file is damaged"
    templates = [template_of(baseline, image) for image in captures]
    for probe, reference in zip(*np.triu_indices(4, k=1), strict=True):
        wanted = baseline.compare(templates[probe], templates[reference])
        assert found.matrix[probe, reference] == pytest.approx(wanted)
    assert not np.tril(found.matrix).any()
    name = baseline.name
    assert told[:6] == [(f"{name} templates", k, 6) for k in range(1, 7)]
    assert told[6:] == [(f"{name} comparisons", k, 15) for k in (5, 9, 12, 14, 15, 15)]


def test_a_crash_of_native_code_is_an_error_here(captures: Captures) -> None:
    with pytest.raises(BrokenProcessPool):
        score_with(Crashing(), captures[:2], 2, processes=1)


def test_nbis_tells_real_fingers_apart(datasets: Path) -> None:
    nbis = installed_nbis()
    folder = datasets / "FVC2002" / "DB1_B"
    files = [folder / f"{name}.tif" for name in ("101_1", "101_2", "102_1")]
    images = [read_image(file.read_bytes(), 500.0).pixels for file in files]
    one, again, other = (template_of(nbis, image) for image in images)
    assert nbis.compare(one, again) > 40
    assert nbis.compare(one, other) < 15
