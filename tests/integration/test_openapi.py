"""The API keeps what its own OpenAPI document says, whatever is sent to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fakes.api import Api, running_api
from tests.fakes.print_archives import drawn_prints, zip_bytes
from tests.fakes.prints import print_png

EXAMPLES = 8
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# What schemathesis makes up may be a flag or an unfinished group of a regular expression.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("openapi")) as running:
        yield running


@pytest.fixture(scope="module")
def operations(api: Api) -> list[Any]:
    """All operations; those that delete come last, the innermost first of them."""
    schema = schemathesis.openapi.from_url(f"{api.client.base_url}/openapi.json")
    results: list[Any] = list(schema.get_all_operations())
    found = [result.ok() for result in results]
    return sorted(found, key=lambda op: (op.method.lower() == "delete", -len(op.path)))


@pytest.fixture(scope="module")
def existing(api: Api) -> dict[str, str]:
    """Names of resources that are there, by path parameter; the job has ended."""
    files = {"image": ("a.png", print_png(1))}
    enrolled = api.client.post("/v1/enroll", files=files, data={"person_id": "alice"}).json()
    job = api.client.post("/v1/train", json={}).json()["job_id"]
    assert api.client.post(f"/v1/jobs/{job}:cancel").json()["state"] == "cancelled"
    api.client.put("/v1/galleries/spare")
    prints: Any = {"archive": ("prints.zip", zip_bytes(drawn_prints())), "name": (None, "spare")}
    dataset = api.client.post("/v1/datasets", files=prints).json()
    key = api.client.post("/v1/keys", json={"name": "spare", "scopes": ["verify"]}).json()
    return {
        "person_id": "alice",
        "template_id": enrolled["templates"][0]["template_id"],
        "gallery": "spare",
        "job_id": job,
        "model_id": "m2",
        "key_id": key["key_id"],
        "dataset_id": dataset["dataset_id"],
        "slug": "dpi_unknown",
    }


def check(
    operation: Any,
    mode: GenerationMode,
    checks: list[Any],
    headers: dict[str, str],
    path: dict[str, str] | None = None,
) -> int:
    """Send what schemathesis makes up; gives the number of answers below 300."""
    good = 0

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def conforms(case: Any) -> None:
        nonlocal good
        if path is not None:
            case.path_parameters = {name: path[name] for name in case.path_parameters}
            case.query = {}
        answer = case.call_and_validate(headers=headers, checks=checks, timeout=20)
        good += answer.status_code < 300

    conforms()
    return good


def test_operation_ids_are_unique(api: Api) -> None:
    document = api.client.get("/openapi.json").json()
    ids = [op["operationId"] for path in document["paths"].values() for op in path.values()]
    assert len(ids) == len(set(ids)) > 30


def test_fitting_requests(api: Api, operations: list[Any]) -> None:
    good = {
        op.label: check(op, GenerationMode.POSITIVE, CHECKS, api.headers()) for op in operations
    }
    assert good["GET /v1/persons"] > 0
    assert good["POST /train"] > 0


def test_unfitting_requests(api: Api, operations: list[Any]) -> None:
    headers = api.headers()
    for operation in operations:
        try:
            check(operation, GenerationMode.NEGATIVE, [*CHECKS, negative_data_rejection], headers)
        except Unsatisfiable:  # nothing can be wrong where nothing is asked for
            assert operation.path in ("/health/live", "/health/ready")


def test_requests_for_what_exists(
    api: Api, operations: list[Any], existing: dict[str, str]
) -> None:
    headers = api.headers()
    for operation in operations:
        if "{" in operation.path:
            # the model that others ask to be promoted cannot be deleted
            spare = {"model_id": "m3"} if operation.method.lower() == "delete" else {}
            path = existing | spare
            good = check(operation, GenerationMode.POSITIVE, CHECKS, headers, path)
            # an ended job cannot be cancelled
            assert good > 0 or operation.path.endswith(":cancel"), operation.label
