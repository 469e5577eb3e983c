"""No image, however broken, gets a 5xx or leaves anything behind."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.fakes.api import Api, running_api
from tests.fakes.prints import ridges

FORMATS = ("PNG", "BMP", "TIFF", "JPEG", "PPM")
MAGICS = (
    b"\x89PNG\r\n\x1a\n",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
    b"\xff\xd8\xff",
    b"P5\n",
    b"\xff\xa0",
)
REFUSED = {409, 413, 415, 422}
MOST_CPU_S = 10.0
"""Of the processors, not of the clock: what would unpack to gigabytes is refused before it does."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("malformed")) as running:
        yield running


@cache
def whole(form: str) -> bytes:
    """A print in one of the formats, 96x96 so that damage hits something that matters."""
    buffer = BytesIO()
    Image.fromarray(ridges(1)[80:176, 80:176]).save(buffer, form)
    return buffer.getvalue()


def truncated(data: bytes, at: int, _: int) -> bytes:
    return data[: at % len(data)]


def flipped(data: bytes, at: int, value: int) -> bytes:
    return _overwritten(data, at % len(data), bytes([value % 256]))


def flipped_in_header(data: bytes, at: int, value: int) -> bytes:
    return _overwritten(data, at % 128, bytes([value % 256]))


def number_in_header(data: bytes, at: int, value: int) -> bytes:
    return _overwritten(data, at % 128, struct.pack("<I", value))


def hole(data: bytes, at: int, value: int) -> bytes:
    start = at % len(data)
    return data[:start] + data[start + value % 1000 :]


def doubled(data: bytes, at: int, _: int) -> bytes:
    start = at % len(data)
    return data[:start] + data + data[start:]


def _overwritten(data: bytes, at: int, patch: bytes) -> bytes:
    return data[:at] + patch + data[at + len(patch) :]


DAMAGES: tuple[Callable[[bytes, int, int], bytes], ...] = (
    truncated,
    flipped,
    flipped_in_header,
    number_in_header,
    hole,
    doubled,
)


@st.composite
def malformed(draw: st.DrawFn) -> bytes:
    if draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from((*MAGICS, b""))) + draw(st.binary(max_size=400))
    data = whole(draw(st.sampled_from(FORMATS)))
    for _ in range(draw(st.integers(1, 3))):
        damage = draw(st.sampled_from(DAMAGES))
        data = damage(data, draw(st.integers(0, 2**16)), draw(st.integers(0, 2**32 - 1)))
        if not data:
            break
    return data


@settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    data=malformed(),
    route=st.sampled_from(("enroll", "verify", "identify", "quality", "compare")),
    dpi=st.sampled_from((None, "500", "1000", "1e300")),
)
def test_malformed_images(api: Api, data: bytes, route: str, dpi: str | None) -> None:
    fields = {} if dpi is None else {"dpi": dpi}
    if route in ("enroll", "verify"):
        fields["person_id"] = "mallory"
    names = ("image_a", "image_b") if route == "compare" else ("image",)
    files = [(name, ("a", data)) for name in names]
    began_s = time.process_time()
    answer = api.client.post(f"/v1/{route}", data=fields, files=files)
    cost_s = time.process_time() - began_s
    person = api.client.get("/v1/persons/mallory")
    if answer.status_code in REFUSED:
        assert answer.headers["content-type"] == "application/problem+json"
        assert len(answer.json()["detail"]) > 10
        assert person.status_code == 404
    else:  # the damage did no harm
        assert answer.status_code in (200, 201), answer.text
        assert (person.status_code == 200) == (answer.status_code == 201)
        api.client.delete("/v1/persons/mallory")
    assert cost_s < MOST_CPU_S
