"""One table from errors to answers."""

from __future__ import annotations

import json
import re

import pytest

from app.api.problems import field_errors, printable, problem_body, problem_response, status_of
from app.api.titles import TITLES
from app.core import errors
from app.core.errors import (
    Conflict,
    DpiUnknown,
    InvalidImage,
    InvalidInput,
    ModelRefused,
    NotFound,
    Overloaded,
    PolicyNotSupported,
    QualityTooLow,
    WhorlError,
)
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidImage("x"), 422),
        (InvalidImage("x", slug="unsupported_format"), 415),
        (InvalidImage("x", slug="image_too_large"), 413),
        (InvalidImage("x", slug="too_many_frames"), 422),
        (QualityTooLow("x"), 422),
        (DpiUnknown("x"), 422),
        (PolicyNotSupported("x"), 422),
        (NotFound("x", slug="anything_not_found"), 404),
        (Conflict("x"), 409),
        (Overloaded("x"), 503),
        (ModelRefused("x"), 503),
        (WhorlError("x"), 500),
    ],
)
def test_status(error: WhorlError, status: int) -> None:
    assert status_of(error) == status
    assert problem_response(error, "r").status_code == status


def test_every_slug_has_a_title() -> None:
    used = {
        cls.slug for cls in vars(errors).values() if isinstance(cls, type) and hasattr(cls, "slug")
    }
    for room in ("api", "imaging", "matching", "services"):
        for file in (ROOT / "app" / room).rglob("*.py"):
            used |= set(re.findall(r'slug="(\w+)"', file.read_text()))
    assert used - TITLES.keys() == set()


def test_a_problem_carries_what_a_program_and_a_person_need() -> None:
    error = NotFound("nobody", slug="person_not_found", person="alice", figure=float("nan"))
    assert json.loads(problem_body(error, "req-1")) == {
        "type": "/problems/person_not_found",
        "title": TITLES["person_not_found"],
        "status": 404,
        "detail": "nobody",
        "instance": "urn:whorl:request:req-1",
        "slug": "person_not_found",
        "request_id": "req-1",
        "context": {"person": "alice", "figure": None},
    }


def test_overload_says_when_to_come_back() -> None:
    assert int(problem_response(Overloaded("full"), "r").headers["Retry-After"]) >= 1
    assert "Retry-After" not in problem_response(Conflict("no"), "r").headers


def test_a_missing_scope_is_named_in_the_challenge() -> None:
    error = WhorlError("no", slug="scope_missing", required=["verify"])
    assert 'scope="verify"' in problem_response(error, "r").headers["WWW-Authenticate"]


def test_what_callers_sent_is_never_echoed_raw() -> None:
    assert printable("a\ud800b") == "a?b"
    assert len(printable("x" * 10_000)) == 500
    found = field_errors([{"loc": ("body", "im\udfff", 3), "msg": "Value error, no"}], skip=1)
    assert (found[0].field, found[0].message) == ("im?.3", "no")
    problem_body(InvalidInput(printable("\ud800")), "r").decode()
