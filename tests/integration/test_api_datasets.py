"""Data sets over HTTP: uploaded, listed, looked at, trained on, deleted."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from app.core.clock import now_ms
from app.core.records import JobState, Scope
from app.services.audit import list_events
from tests.fakes.api import Api, running_api
from tests.fakes.print_archives import drawn_prints, tar_bytes, zip_bytes
from tests.fakes.prints import print_png

PRINTS = drawn_prints()
ZIP = zip_bytes(PRINTS)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_api(tmp_path, max_body_bytes=100_000) as running:
        yield running


def upload(api: Api, archive: bytes = ZIP, **fields: Any) -> httpx.Response:
    files = {"archive": ("prints", archive, "application/octet-stream")}
    return api.client.post("/v1/datasets", data={"name": "door", **fields}, files=files)


def uploaded(api: Api, **fields: Any) -> str:
    answer = upload(api, **fields)
    assert answer.status_code == 201, answer.text
    dataset_id: str = answer.json()["dataset_id"]
    return dataset_id


def left(api: Api) -> list[str]:
    """What lies on the disk of data sets."""
    folder = api.train_root.parent / "datasets"
    lying = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return sorted(path.relative_to(folder).as_posix() for path in lying)


def test_an_upload_from_beginning_to_end(api: Api) -> None:
    made = upload(api, zip_bytes(PRINTS | {"notes.txt": b"x"}), name="front door")
    assert made.status_code == 201
    dataset = made.json()
    assert made.headers["location"] == f"/v1/datasets/{dataset['dataset_id']}"
    assert (dataset["name"], dataset["dpi"], dataset["pattern"]) == ("front door", None, None)
    assert (dataset["subjects"], dataset["fingers"], dataset["samples"]) == (5, 5, 10)
    assert dataset["bytes"] == sum(map(len, PRINTS.values()))
    assert dataset["report"] == {
        "files": 11,
        "fingers_with_one_sample": 0,
        "skipped": [
            {"reason": "not an image file by its name", "count": 1, "examples": ["notes.txt"]}
        ],
    }
    assert api.client.get(made.headers["location"]).json() == dataset

    second = uploaded(api, archive=tar_bytes(PRINTS), dpi="500")
    first_page = api.client.get("/v1/datasets?limit=1").json()
    assert [item["dataset_id"] for item in first_page["items"]] == [second]
    rest = api.client.get(f"/datasets?limit=1&cursor={first_page['next_cursor']}").json()
    assert (rest["items"], rest["next_cursor"]) == ([dataset], None)

    assert api.client.delete(made.headers["location"]).status_code == 204
    gone = api.client.get(made.headers["location"])
    assert (gone.status_code, gone.json()["slug"]) == (404, "dataset_not_found")
    assert api.client.delete(made.headers["location"]).status_code == 404
    assert left(api) == [f"{second}/images", f"{second}/index"]
    events = [(event.action, event.subject) for event in list_events(api.store, None, 10)]
    assert events[:3] == [
        ("dataset.deleted", dataset["dataset_id"]),
        ("dataset.created", second),
        ("dataset.created", dataset["dataset_id"]),
    ]


def test_the_preview_is_a_sheet_of_the_prints(api: Api) -> None:
    dataset_id = uploaded(api)
    answer = api.client.get(f"/v1/datasets/{dataset_id}/preview.png")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    with Image.open(BytesIO(answer.content)) as sheet:
        assert sheet.width > 5 * 80  # ten prints in a row
        assert len(sheet.convert("L").getcolors() or ()) > 100
    assert api.client.get("/v1/datasets/0/preview.png").status_code == 404


@pytest.mark.parametrize(
    ("archive", "slug", "status"),
    [
        (b"no archive", "broken_archive", 422),
        (ZIP[:9000], "broken_archive", 422),
        (zip_bytes({"a.txt": b"x"}), "no_labelled_images", 422),
        (zip_bytes(drawn_prints(3)), "too_few_fingers", 422),
        (zip_bytes(drawn_prints(dpi=None)), "too_few_fingers", 422),
        (tar_bytes({f"{n}_1.png": bytes(999_999) for n in range(30)}), "archive_too_large", 422),
        (bytes(5_200_000), "request_too_large", 413),
        (b"", "invalid_request", 422),
    ],
    ids=["noise", "cut", "no images", "few", "no dpi", "bomb", "large", "empty"],
)
def test_an_archive_that_cannot_be_used_leaves_nothing(
    api: Api, archive: bytes, slug: str, status: int
) -> None:
    answer = upload(api, archive)
    assert (answer.status_code, answer.json()["slug"]) == (status, slug)
    assert left(api) == []
    assert api.client.get("/v1/datasets").json()["items"] == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"dpi": "soon"}, "dpi"),
        ({"dpi": "5"}, "dpi"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_fields_that_cannot_be_used(api: Api, fields: dict[str, Any], named: str) -> None:
    answer = upload(api, **fields)
    assert (answer.status_code, answer.json()["slug"]) == (422, "invalid_request")
    assert [error["field"] for error in answer.json()["context"]["errors"]] == [named]
    assert left(api) == []


def test_forms_that_cannot_be_read(api: Api) -> None:
    for headers, body, slug in (
        ({"content-type": "application/json"}, b"{}", "unsupported_media_type"),
        ({"content-type": "multipart/form-data"}, b"x", "malformed_request"),
        ({"content-type": "multipart/form-data; boundary=b"}, b"x", "malformed_request"),
        (
            {"content-type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="archive"; filename="a"\r\n\r\nPK',
            "malformed_request",
        ),
    ):
        answer = api.client.post("/v1/datasets", content=body, headers=headers)
        assert answer.json()["slug"] == slug
    nothing = api.client.post("/v1/datasets", files={"name": (None, "door")})
    assert nothing.json()["slug"] == "invalid_request"
    twice: Any = [("archive", ("a", ZIP)), ("archive", ("b", ZIP)), ("name", (None, "door"))]
    assert api.client.post("/v1/datasets", files=twice).json()["slug"] == "invalid_request"
    assert left(api) == []


def test_who_goes_away_in_the_middle_leaves_nothing(api: Api) -> None:
    url = api.client.base_url
    connection = http.client.HTTPConnection(url.host, url.port or 80)
    connection.putrequest("POST", "/v1/datasets")
    connection.putheader("Authorization", api.client.headers["authorization"])
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader("Content-Length", "4000000")
    connection.endheaders()
    head = b'--b\r\nContent-Disposition: form-data; name="archive"; filename="a"\r\n\r\n'
    connection.send(head + bytes(1_000_000))
    folder = api.train_root.parent / "datasets" / ".incoming"
    until(lambda: folder.is_dir() and any(path.stat().st_size for path in folder.iterdir()))
    connection.close()
    until(lambda: not any(folder.iterdir()))
    assert left(api) == []
    uploaded(api)


def until(holds: Any) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_scopes(api: Api) -> None:
    dataset_id = uploaded(api)
    reader = api.headers(Scope.DATASETS_READ)
    writer = api.headers(Scope.DATASETS_WRITE)
    for path in ("", f"/{dataset_id}", f"/{dataset_id}/preview.png"):
        assert api.client.get(f"/v1/datasets{path}", headers=reader).status_code == 200
        assert api.client.get(f"/v1/datasets{path}", headers=writer).status_code == 403
    files: Any = {"archive": ("a", ZIP), "name": (None, "x")}
    assert api.client.post("/v1/datasets", files=files, headers=reader).status_code == 403
    assert api.client.delete(f"/v1/datasets/{dataset_id}", headers=reader).status_code == 403
    nobody = {"Authorization": ""}
    assert api.client.post("/v1/datasets", files=files, headers=nobody).status_code == 401
    assert api.client.delete(f"/v1/datasets/{dataset_id}", headers=writer).status_code == 204


def test_other_routes_keep_their_own_limit(api: Api) -> None:
    answer = api.client.post("/v1/quality", files={"image": ("a.png", bytes(150_000))})
    assert (answer.status_code, answer.json()["slug"]) == (413, "request_too_large")


def test_training_on_data_sets_is_ordered_and_protects_them(api: Api) -> None:
    first, second = uploaded(api), uploaded(api, name="other")
    judge = uploaded(api, name="judge")
    order = {"datasets": [first, second], "benchmark": [judge], "synthetic_share": 0.25}
    made = api.client.post("/v1/train", json=order)
    assert made.status_code == 202
    job = made.json()
    assert job["spec"]["data"] == "datasets"
    assert (job["spec"]["datasets"], job["spec"]["synthetic_share"]) == ([first, second], 0.25)
    refused = api.client.delete(f"/v1/datasets/{judge}")
    assert (refused.status_code, refused.json()["slug"]) == (409, "dataset_in_use")
    refused = api.client.delete(f"/v1/datasets/{first}")
    assert (refused.status_code, refused.json()["slug"]) == (409, "dataset_in_use")
    assert refused.json()["context"]["jobs"] == [job["job_id"]]
    with api.store.write() as tx:
        claimed = tx.jobs.claim("w", ["train"], now_ms(), 60_000)
    assert claimed is not None
    assert api.client.delete(f"/v1/datasets/{second}").status_code == 409
    with api.store.write() as tx:
        tx.jobs.finish(claimed, JobState.FAILED, now_ms())
    assert api.client.delete(f"/v1/datasets/{first}").status_code == 204
    gone = api.client.post("/v1/train", json={"datasets": [first]})
    assert (gone.status_code, gone.json()["slug"]) == (404, "dataset_not_found")


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ({"data": "datasets"}, "datasets"),
        ({"data": "synthetic", "datasets": ["0a"]}, "datasets"),
        ({"datasets": ["0a", "0a"]}, "datasets"),
        ({"datasets": ["0a"], "dpi": 500}, "dpi"),
        ({"synthetic_share": 0.5}, "synthetic_share"),
        ({"datasets": ["0a"], "prints": "device"}, "prints"),
    ],
)
def test_orders_that_do_not_go_together(api: Api, order: dict[str, Any], named: str) -> None:
    answer = api.client.post("/v1/train", json=order)
    assert (answer.status_code, answer.json()["slug"]) == (422, "invalid_training_spec")
    assert answer.json()["context"]["fields"] == [named]


@pytest.mark.parametrize("order", [{"datasets": []}, {"datasets": ["../x"]}, {"datasets": "0a"}])
def test_ids_that_are_none(api: Api, order: dict[str, Any]) -> None:
    answer = api.client.post("/v1/train", json=order)
    assert (answer.status_code, answer.json()["slug"]) == (422, "invalid_request")


def test_recipes_of_pictures_take_no_data_sets(api: Api) -> None:
    order = {"recipe": "att-faces", "datasets": [uploaded(api)]}
    answer = api.client.post("/v1/train", json=order)
    assert answer.json()["slug"] == "invalid_training_spec"
    assert answer.json()["context"]["fields"] == ["datasets"]


def test_a_print_alone_is_no_reason_to_refuse_the_others(api: Api) -> None:
    answer = upload(api, zip_bytes(PRINTS | {"77_1.png": print_png(77)}))
    assert answer.json()["report"]["fingers_with_one_sample"] == 1
