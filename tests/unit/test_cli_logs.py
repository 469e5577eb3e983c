"""Log lines for machines."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.logs import set_up_logs


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_json_line_has_what_was_given_beside_the_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logs("info", "json")
    facts = {"route": "/verify", "status": 200, "duration_ms": 1.5, "key_id": None, "home": Path()}
    logging.getLogger("whorl.access").info("%s %d", "POST", 200, extra=facts)
    line = json.loads(capsys.readouterr().err)
    assert line.pop("at").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "whorl.access",
        "message": "POST 200",
        "route": "/verify",
        "status": 200,
        "duration_ms": 1.5,
        "key_id": None,
        "home": ".",
    }


def test_extra_does_not_replace_what_a_line_always_has(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info", "json")
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("x").exception("failed", extra={"level": "fine", "logger": "y"})
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["logger"], line["message"]) == ("error", "x", "failed")
    assert "ValueError: no" in line["exception"]
