"""Every command of the README's walk-through works, and answers in the shape that it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.live import LiveService
from tests.e2e.walkthrough import Step, run_steps, shown_steps

# One of the commands trains a model; a busy machine takes its time over that.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Step, Step]]:
    """Each step as shown and as it ran."""
    shown = shown_steps()
    home: Path = tmp_path_factory.mktemp("home")
    with LiveService(home, worker=True) as live:
        ran = run_steps(live, [step.command for step in shown])
    return list(zip(shown, ran, strict=True))


def test_every_command_succeeds(steps: list[tuple[Step, Step]]) -> None:
    assert len(steps) > 10
    for _, ran in steps:
        assert ran.status == 0, ran


def test_answers_have_the_shape_and_the_verdicts_that_are_shown(
    steps: list[tuple[Step, Step]],
) -> None:
    compared = 0
    for shown, ran in steps:
        if not shown.output.startswith("{"):
            continue
        before, now = json.loads(shown.output), json.loads(ran.output)
        assert _shape(before) == _shape(now), ran.command
        for key in ("decision", "slug", "status", "finger"):
            assert before.get(key) == now.get(key), ran.command
        compared += 1
    assert compared > 6


def test_the_right_person_is_identified(steps: list[tuple[Step, Step]]) -> None:
    found = [json.loads(ran.output) for _, ran in steps if "/identify" in ran.command]
    assert [c["person_id"] for answer in found for c in answer["candidates"]] == ["person-4"]


def _shape(value: Any) -> Any:
    """Names and nesting; lists by their first entry."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shape(item) for item in value[:1]]
    return None
