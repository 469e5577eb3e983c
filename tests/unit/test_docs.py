"""The documents against the code: routes, fields, problems, scopes, settings, links."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from app.api import (
    bodies,
    calibrations,
    enrolled,
    job_answers,
    problems,
    resources,
    routes,
    schemas,
    training_bodies,
)
from app.api.problems import status_of
from app.api.titles import TITLES
from app.core import errors
from app.core.errors import WhorlError
from app.core.records import CalibrationBasis, Drift, JobState, Scope
from app.core.types import QualityReason
from app.services.outcomes import Decision
from app.settings import Settings
from tests.conftest import ROOT

DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [path for path in [*DOCS, *ROOT.glob("*.md")] if not path.is_relative_to(ROOT / "var")]
API = ROOT / "docs" / "api.md"
ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, WhorlError)
}
ROOMS = (
    bodies,
    calibrations,
    enrolled,
    job_answers,
    problems,
    resources,
    schemas,
    training_bodies,
)
BODIES = [
    model
    for room in ROOMS
    for model in vars(room).values()
    if isinstance(model, type)
    and issubclass(model, BaseModel)
    and model.__module__ == room.__name__
]


def row_of(name: str, field: FieldInfo) -> str:
    """A setting's row of the configuration table."""
    default: Any = field.default
    if field.default_factory is not None:
        shown = "the package's own"
    elif default is None:
        shown = "none"
    elif name == "home":
        shown = "`./var`"
    else:
        shown = f"`{str(default).lower() if isinstance(default, bool) else default}`"
    return f"| `WHORL_{name.upper()}` | {shown} | {values_of(field)} | {field.description} |"


def values_of(field: FieldInfo) -> str:
    """What a setting may be."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    if field.annotation is bool:
        return "`true`, `false`"
    if field.annotation is not int:
        return "an address" if field.annotation is str else "a path"
    low = next(limit.ge for limit in field.metadata if hasattr(limit, "ge"))
    high = next((limit.le for limit in field.metadata if hasattr(limit, "le")), None)
    return f"{low} or more" if high is None else f"{low} to {high}"


def raised_statuses() -> dict[str, set[int]]:
    """Statuses of every slug that the service raises, from its source."""
    found: dict[str, set[int]] = defaultdict(set)
    for kind in ERRORS.values():
        found[kind.slug].add(status_of(kind("x")))
    for room in ("api", "imaging", "matching", "learning", "evaluation", "services", "storage"):
        for file in (ROOT / "app" / room).rglob("*.py"):
            for name, slug in _slugs(ast.parse(file.read_text("utf-8"))):
                found[slug].add(status_of(ERRORS[name]("x", slug=slug)))
    return found


def _slugs(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            for given in node.keywords:
                fixed = given.arg == "slug" and isinstance(given.value, ast.Constant)
                if fixed and node.func.id in ERRORS:
                    yield node.func.id, str(ast.literal_eval(given.value))


def documented_problems() -> dict[str, tuple[int, str]]:
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| (.+?) \|$", API.read_text("utf-8"), re.MULTILINE)
    assert len(rows) == len({slug for slug, _, _ in rows})
    return {slug: (int(status), title) for slug, status, title in rows}


def anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as the usual renderers make them."""
    heads = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_setting_is_in_the_configuration_table() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    wanted = [row_of(name, field) for name, field in Settings.model_fields.items()]
    assert re.findall(r"^\| `WHORL_.*$", text, re.MULTILINE) == wanted


def test_every_problem_is_documented_with_its_title() -> None:
    documented = documented_problems()
    assert {slug: title for slug, (_, title) in documented.items()} == dict(TITLES)


def test_problems_are_documented_with_the_status_they_are_raised_with() -> None:
    raised = raised_statuses()
    documented = {slug: status for slug, (status, _) in documented_problems().items()}
    known = {slug: raised[slug] for slug in documented if slug in raised}
    assert known == {slug: {documented[slug]} for slug in known}


def test_every_route_is_documented() -> None:
    app = FastAPI()
    routes.install(app)
    text = API.read_text("utf-8")
    served = {
        f"{method.upper()} {path.removeprefix('/v1')}"
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    }
    documented = {
        f"{method} {path}" for method, path in re.findall(r"`([A-Z]+) (?:/v1)?(/[^`]*)`", text)
    }
    assert "POST /enroll" in served
    assert documented == served


@pytest.mark.parametrize("model", BODIES, ids=lambda model: model.__name__)
def test_every_field_is_documented(model: type[BaseModel]) -> None:
    text = API.read_text("utf-8")
    assert {name for name in model.model_fields if f"`{name}`" not in text} == set()


@pytest.mark.parametrize(
    "words", [Scope, JobState, Decision, QualityReason, CalibrationBasis, Drift]
)
def test_every_word_of_the_api_is_documented(words: type[Scope]) -> None:
    text = API.read_text("utf-8")
    assert {word.value for word in words if f"`{word.value}`" not in text} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(
        r"\]\((?!\w+:)([^)#\s]*)(#[^)\s]*)?\)", page.read_text("utf-8")
    ):
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), target
        if anchor:
            assert anchor[1:] in anchors(found), anchor


def test_decisions_are_numbered_in_a_row() -> None:
    names = [path.name for path in DOCS if path.parent.name == "adr"]
    assert names
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_the_layers_are_drawn_as_they_are_enforced() -> None:
    """docs/architecture.md shows the contract of pyproject.toml, floor by floor."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layers = next(c["layers"] for c in contracts["contracts"] if c["type"] == "layers")
    drawn = "\n".join(layer.replace("app.", "") for layer in layers)
    assert drawn in (ROOT / "docs" / "architecture.md").read_text("utf-8")
