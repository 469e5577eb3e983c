"""``/docs``: Swagger UI from this machine, since people type keys into it.

The page works without a way to the internet, and its policy lets it load and reach nothing but this
server. Of the package ``fastapi_offline`` only the two files of Swagger UI are used.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, Response

_KEPT = {"Cache-Control": "public, max-age=3600"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# Addresses are relative, so that they hold behind a proxy that adds a prefix.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Whorl</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
});
"""

_router = APIRouter(include_in_schema=False)


def install(app: FastAPI) -> None:
    """Serve the page and what it loads."""
    app.include_router(_router)


@_router.get("/docs")
async def page() -> Response:
    """The page itself."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@_router.get("/docs/start.js")
async def start() -> Response:
    """A script of its own, because the policy allows none within the page."""
    return Response(_START, media_type="text/javascript", headers=_KEPT)


@_router.get("/docs/swagger-ui-bundle.js")
def script() -> Response:
    """Swagger UI."""
    return Response(_shipped("swagger-ui-bundle.js"), media_type="text/javascript", headers=_KEPT)


@_router.get("/docs/swagger-ui.css")
def style() -> Response:
    """Its style."""
    return Response(_shipped("swagger-ui.css"), media_type="text/css", headers=_KEPT)


@cache
def _shipped(name: str) -> bytes:
    return (files("fastapi_offline") / "static" / name).read_bytes()
