"""The bench: what it times, what it asks with, and what it writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest

from app.cli.bench.__main__ import bench_page
from app.cli.bench.identification import identification_section
from app.cli.bench.prints import SET, Captures, PrintParams, captures
from app.cli.bench.service import Service, ask, form
from app.cli.bench.timing import Section, Times, in_turns
from app.cli.bench.verification import Loop, verification_section
from app.core.types import Probe
from tests.fakes.api import Api, running_api
from tests.fakes.models import model
from tests.fakes.pictures import picture_model
from tests.fakes.prints import print_png

FINGERS, EACH = 3, 2


def test_calls_are_timed_in_turns_after_a_first_one() -> None:
    seen: list[str] = []

    def slow() -> None:
        seen.append("slow")
        time.sleep(0.004)

    taken = in_turns({"quick": lambda: seen.append("quick"), "slow": slow}, 0.02)
    assert seen[:4] == ["quick", "slow", "quick", "slow"]
    assert len(taken["quick"].all_ms) == len(taken["slow"].all_ms) == seen.count("slow") - 1
    assert taken["slow"].p50_ms >= 4.0 > taken["quick"].p50_ms


def test_times_tell_the_pace() -> None:
    times = Times(tuple(float(ms) for ms in range(1, 102)))
    assert (times.p50_ms, times.p99_ms) == (51.0, 100.0)
    assert times.per_second(102) == 2000.0


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Captures]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("app.cli.bench.prints.FINGERS", FINGERS)
        patched.setattr("app.cli.bench.prints.EACH", EACH)
        yield captures(tmp_path_factory.mktemp("nothing"))


def test_prints_are_generated_where_there_is_no_public_set(shown: Captures) -> None:
    assert (len(shown.files), len(shown.all_files)) == (FINGERS, FINGERS * EACH)
    assert shown.source != SET
    assert len({data[:4] for data in shown.all_files}) == 1
    assert len(set(shown.all_files)) == FINGERS * EACH


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_api(tmp_path) as running:
        yield running


def test_clients_ask_again_and_again(api: Api) -> None:
    url = urlparse(str(api.client.base_url))
    service = Service(str(url.hostname), int(url.port or 0), api.token(), 1, 0.0)
    bodies = [form({"person_id": "ada"}, {"image": print_png(1)}), form({}, {})]
    answers = ask(service, 3, 0.5, "/verify", lambda number: bodies[number % 2])
    assert set(answers.took_ms) == {200, 422}
    assert answers.seconds >= 0.5
    assert answers.per_second(200) == len(answers.took_ms[200]) / answers.seconds > 0.0
    assert answers.per_second(503) == 0.0


def test_the_loop_matches_what_is_alike_and_nothing_else(shown: Captures) -> None:
    few = replace(shown, files=[[one[0], one[0]] for one in shown.files])
    loop = Loop.of(model("m"), few)
    assert all(loop.genuine() for _ in range(3))
    assert not any(loop.impostor() for _ in range(3))
    section = verification_section(loop, 0.01)
    assert section.title == "A verification"
    assert len(section.rows) in (3, 5)
    assert "times as" in section.says
    assert "Of 3 genuine comparisons match: 3 in 1 views, 3 in 3 views." in section.says


def test_search_is_measured_by_the_number_of_templates(
    shown: Captures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.bench.identification.SIZES", (20, 40))
    fake, rng = model("m"), np.random.default_rng(2)
    shape = (3, 6, 6, 8)
    probe = Probe(rng.normal(size=shape).astype(np.float32), np.ones(shape[:3], np.float32))
    section = identification_section(fake, probe, Loop.of(fake, shown).references, 0.01)
    assert [row[0] for row in section.rows] == ["20", "40"]


def test_only_models_of_prints_are_measured() -> None:
    assert PrintParams.of(model("m")).preparation == model("m").preparation
    with pytest.raises(TypeError):
        PrintParams.of(picture_model("p"))


def test_the_page_names_its_command() -> None:
    page = bench_page([Section("Stages", ["Stage", "ms"], [["decode", "1.0"]], "One.")], "`run it`")
    assert "Written by `run it`. Times" in page
    assert "## Stages\n\n| Stage | ms |\n| --- | ---: |\n| decode | 1.0 |\n\nOne.\n" in page
