"""The page at ``/docs``: it needs nothing but this server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.api import Api, running_api


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("docs")) as running:
        running.client.headers.pop("authorization")
        yield running


def test_all_that_the_page_loads_is_here(api: Api) -> None:
    page = api.client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    wanted = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert not [name for name in wanted if "//" in name]
    found = {
        name: api.client.get(str(page.url.join(name))) for name in wanted if name[:5] != "data:"
    }
    assert {name: answer.headers["content-type"] for name, answer in found.items()} == {
        "docs/swagger-ui.css": "text/css; charset=utf-8",
        "docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
        "docs/start.js": "text/javascript; charset=utf-8",
    }
    assert all(answer.status_code == 200 for answer in found.values())
    assert "SwaggerUIBundle" in found["docs/swagger-ui-bundle.js"].text
    assert ".swagger-ui" in found["docs/swagger-ui.css"].text
    document = re.findall(r'url: "(.+?)"', found["docs/start.js"].text)
    assert api.client.get(str(page.url.join(document[0]))).json()["info"]["title"] == "Whorl"


def test_the_page_may_load_and_reach_nothing_else(api: Api) -> None:
    policy = api.client.get("/docs").headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    elsewhere = api.client.get("/health/live").headers["content-security-policy"]
    assert elsewhere == "default-src 'none'; frame-ancestors 'none'"


def test_the_page_is_not_in_the_document(api: Api) -> None:
    paths = api.client.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if path.startswith("/docs")]


def test_the_page_can_be_left_out(tmp_path: Path) -> None:
    with running_api(tmp_path, docs=False) as api:
        for path in ("/docs", "/docs/start.js"):
            assert api.client.get(path).status_code == 404
