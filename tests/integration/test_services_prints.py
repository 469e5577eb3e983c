"""The services on prints that look like prints, through the whole preparation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.services.context import Recognition
from app.services.enroll import EnrolRequest, enroll
from app.services.identify import IdentifyRequest, identify
from app.services.outcomes import Decision, OnDuplicate
from app.services.verify import VerifyRequest, verify
from app.synth.impression import impress
from app.synth.ridges import grow_master
from tests.fakes.prints import png
from tests.fakes.recognition import ACTOR, opened


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Recognition]:
    with opened(tmp_path / "whorl.db") as (ctx, _):
        yield ctx


@pytest.fixture(scope="module")
def grown() -> list[tuple[bytes, float]]:
    made = [impress(grow_master(seed), np.random.default_rng(seed)) for seed in range(3)]
    return [(png(impression.image, None), impression.dpi) for impression in made]


def test_synthetic_prints_are_told_apart(
    ctx: Recognition, grown: list[tuple[bytes, float]]
) -> None:
    for number, (image, dpi) in enumerate(grown):
        enroll(ctx, ACTOR, EnrolRequest("default", f"person-{number}", 0, (image,), dpi))
    for number, (image, dpi) in enumerate(grown):
        found = identify(ctx, ACTOR, IdentifyRequest("default", image, dpi))
        assert [c.person_id for c in found.candidates] == [f"person-{number}"]
        claimed = VerifyRequest("default", image, f"person-{(number + 1) % 3}", dpi=dpi)
        assert verify(ctx, ACTOR, claimed).decision is not Decision.MATCH
    assert found.facts.dpi_source == "request"


def test_real_fingers_enrol(ctx: Recognition, datasets: Path) -> None:
    files = sorted((datasets / "FVC2002" / "DB1_B").glob("*_1.tif"))
    assert len(files) == 10
    for file in files:
        request = EnrolRequest(
            "default", file.stem, 0, (file.read_bytes(),), 500.0, OnDuplicate.ALLOW
        )
        assert enroll(ctx, ACTOR, request).images[0].problem is None, file.name
