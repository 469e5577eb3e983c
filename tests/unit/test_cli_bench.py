"""The bench: what it times, what it asks with, and what it writes."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest

from app.cli.bench.__main__ import bench_page
from app.cli.bench.identification import identification_section
from app.cli.bench.others import Other, afis
from app.cli.bench.prints import SET, Captures, PrintParams, captures
from app.cli.bench.profile import HEAVIEST, STAGES, Spent, function_rows, short_name, stage_rows
from app.cli.bench.requests import overload_row
from app.cli.bench.service import Answers, Service, ask, form, watched_memory
from app.cli.bench.timing import Section, Times, in_turns, whole_ms
from app.cli.bench.verification import Loop, verification_section
from app.core.types import GrayImage, Probe
from app.imaging.decode import ImageLimits, decode, inspect
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


def test_what_was_never_timed_is_no_number() -> None:
    assert whole_ms(Answers({}, 1.0).times(503).p99_ms) == "none"
    assert whole_ms(Answers({503: [1.6]}, 1.0).times(503).p99_ms) == "2"


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


def test_a_probe_is_claimed_to_be_of_its_finger_or_of_one_after_it(shown: Captures) -> None:
    for number in range(2 * FINGERS):
        finger, data = shown.probe(number)
        assert shown.claim(number) == (data, finger)
        assert shown.claim(number, 1) == (data, (finger + 1) % FINGERS)


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


def test_memory_is_watched_from_before_to_after() -> None:
    service = Service("nowhere", 1, "", os.getpid(), 0.0)
    with watched_memory(service) as seen:
        assert len(seen) == 1
        held = mmap.mmap(-1, 64 << 20)  # pages that no earlier test has left to the process
        held.write(os.urandom(1 << 20) * 64)
    assert len(seen) >= 2
    assert seen[-1] - seen[0] > 32
    held.close()


def test_overload_tells_paces_times_and_memory() -> None:
    answers = Answers({200: [100.0] * 20, 503: [5.0] * 90}, 10.0, 4.0)
    assert overload_row(80, answers, [700.0, 720.0, 710.0]) == [
        *("80", "2.0", "9.0", "100", "5", "0.40"),
        *("700", "720", "710"),
    ]


def pixels_of(image: GrayImage) -> float:
    return float(image.mean())


def test_the_loop_matches_what_is_alike_and_nothing_else(shown: Captures) -> None:
    few = replace(shown, files=[[one[0], one[0]] for one in shown.files])
    loop = Loop.of(model("m"), few)
    assert all(loop.genuine() for _ in range(3))
    assert not any(loop.impostor() for _ in range(3))
    compared: list[bool] = []

    def compare(probe: float, reference: float) -> float:
        compared.append(probe == reference)
        return 0.0

    other = Other("theirs", pixels_of, compare)
    section = verification_section(loop, [other], ["get it there"], 0.01)
    assert section.title == "A verification"
    assert [row[0] for row in section.rows[3:]] == [
        *("theirs: a genuine pair", "theirs: an impostor pair", "theirs: a comparison alone")
    ]
    assert compared[:6] == [True, False, True] * 2
    assert "Beside theirs a match is" in section.says
    assert "Not measured here: get it there." in section.says
    assert "Of 3 genuine comparisons match: 3 in 1 views, 3 in 3 views." in section.says


def test_where_there_is_no_other_ours_is_measured_alone(shown: Captures) -> None:
    section = verification_section(Loop.of(model("m"), shown), [], [], 0.01)
    assert len(section.rows) == 3
    assert "A refusal takes" in section.says


def test_openvino_is_measured_beside_it(shown: Captures) -> None:
    loop = Loop.of(model("m"), shown)
    section = verification_section(loop, [], [], 0.01, replace(loop, model=model("m")))
    assert [row[0].endswith("by OpenVINO") for row in section.rows] == [False] * 3 + [True] * 2
    assert "With `WHORL_RUNTIME=openvino` a match is" in section.says


def test_afis_finds_a_finger_more_like_itself(shown: Captures) -> None:
    try:
        other = afis()
    except ImportError as error:
        pytest.skip(str(error))
    one, two = (
        other.extract(decode(of_one[0], inspect(of_one[0], ImageLimits())))
        for of_one in shown.files[:2]
    )
    assert other.compare(one, one) > other.compare(one, two)


def spent(total_ms: float, own_ms: dict[str, float]) -> Spent:
    stages_ms = dict.fromkeys(STAGES, total_ms / 10) | {"total": total_ms}
    functions = {("~", 0, f"<{name}>"): ms for name, ms in own_ms.items()}
    return Spent(stages_ms, functions, functions, 1.0)


def test_stages_add_up_to_the_whole() -> None:
    rows = stage_rows(spent(10.0, {}), spent(100.0, {}))
    assert rows[0] == ["a verification", "10.00", "100%", "100.00", "100%"]
    assert rows[-1] == ["all else", "5.00", "50%", "50.00", "50%"]
    assert {row[0] for row in rows} > STAGES.keys()


def test_the_heaviest_functions_come_first() -> None:
    many = {f"light {n}": 0.01 for n in range(HEAVIEST)}
    rows = function_rows(
        spent(10.0, many | {"of a match": 4.0}), spent(100.0, many | {"of a refusal": 30.0})
    )
    assert rows[0] == ["`of a match`", "4.00", "4.00", "0.00", "0.00"]
    assert rows[1] == ["`of a refusal`", "0.00", "0.00", "30.00", "30.00"]
    assert len(rows) == HEAVIEST


def test_functions_are_named_from_their_package_on() -> None:
    assert short_name(("~", 0, "<built-in method math.sqrt>")) == "built-in method math.sqrt"
    assert short_name(("/a/app/b/app/imaging/x.py", 3, "f")) == "app/imaging/x.py: f"
    assert short_name(("/v/site-packages/keras/app/y.py", 3, "g")) == "keras/app/y.py: g"
    assert short_name(("/usr/lib/python3.11/threading.py", 3, "run")) == "threading.py: run"


def test_search_is_measured_by_the_number_of_templates(
    shown: Captures, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"PRINTS": (20, 40), "VECTORS": (15, 30), "STORED": 10, "BATCH": 5, "LOADS": 1}
    for name, value in small.items():
        monkeypatch.setattr(f"app.cli.bench.identification.{name}", value)
    fake, rng = model("m"), np.random.default_rng(2)
    shape = (3, 6, 6, 8)
    probe = Probe(rng.normal(size=shape).astype(np.float32), np.ones(shape[:3], np.float32))
    section = identification_section(fake, probe, Loop.of(fake, shown).references, 0.01)
    assert [row[1] for row in section.rows] == ["20", "40", "15", "30"]
    assert "Among 40 prints a search takes" in section.says
    assert "templates of prints are loaded a second at the start" in section.says
    assert "an encrypted store of 10 persons" in section.says


def test_only_models_of_prints_are_measured() -> None:
    assert PrintParams.of(model("m")).preparation == model("m").preparation
    with pytest.raises(TypeError):
        PrintParams.of(picture_model("p"))


def test_the_page_names_its_command() -> None:
    page = bench_page([Section("Stages", ["Stage", "ms"], [["decode", "1.0"]], "One.")], "`run it`")
    assert "Written by `run it`. Times" in page
    assert "## Stages\n\n| Stage | ms |\n| --- | ---: |\n| decode | 1.0 |\n\nOne.\n" in page
