"""``/datasets``: upload, look at, delete what may be trained on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from app.api.auth import require
from app.api.bodies import DatasetBody
from app.api.names import DatasetPath
from app.api.openapi import BODY, failures, upload_body
from app.api.paging import Page, WantedWindow, page
from app.api.resources import DatasetAnswer
from app.api.state import Services
from app.api.trace import address
from app.api.uploads import Upload, uploaded
from app.core.records import Scope
from app.services import datasets as use_case
from app.services.context import Actor
from app.services.create_dataset import create_dataset
from app.services.preview_dataset import preview_dataset

router = APIRouter(prefix="/datasets", tags=["training"])

_Reader = Annotated[Actor, require(Scope.DATASETS_READ)]
_Writer = Annotated[Actor, require(Scope.DATASETS_WRITE)]

_PNG = "image/png"


@router.get("", responses=failures())
def list_datasets(services: Services, _: _Reader, window: WantedWindow) -> Page[DatasetAnswer]:
    """Uploaded data sets, newest first."""
    found = use_case.list_datasets(services.datasets.store, window.after, window.probe)
    return page(found, window, lambda dataset: dataset.id, DatasetAnswer.of)


@router.post(
    "",
    status_code=201,
    responses=failures(*BODY, 503),
    openapi_extra=upload_body(
        DatasetBody, "archive", "A .zip, .tar or .tar.gz of labelled prints."
    ),
)
def upload_dataset(
    request: Request,
    response: Response,
    services: Services,
    actor: _Writer,
    upload: Annotated[Upload[DatasetBody], uploaded(DatasetBody, "archive")],
) -> DatasetAnswer:
    """Upload labelled prints to train on; what cannot be used is left out and told."""
    body = upload.body
    made = create_dataset(
        services.datasets,
        actor,
        upload.file,
        name=body.name,
        pattern=body.pattern,
        dpi=body.dpi,
    )
    response.headers["Location"] = address(request, f"/datasets/{made.id}")
    return DatasetAnswer.of(made)


@router.get("/{dataset_id}", responses=failures(404))
def get_dataset(services: Services, _: _Reader, dataset_id: DatasetPath) -> DatasetAnswer:
    """One data set."""
    return DatasetAnswer.of(use_case.get_dataset(services.datasets.store, dataset_id))


@router.get(
    "/{dataset_id}/preview.png",
    response_class=Response,
    responses={200: {"description": "The sheet.", "content": {_PNG: {}}}, **failures(404)},
)
def preview(services: Services, _: _Reader, dataset_id: DatasetPath) -> Response:
    """A contact sheet of some samples with their labels."""
    return Response(preview_dataset(services.datasets, dataset_id), media_type=_PNG)


@router.delete("/{dataset_id}", status_code=204, responses=failures(404, 409))
def delete_dataset(services: Services, actor: _Writer, dataset_id: DatasetPath) -> Response:
    """Delete a data set with its images; models that have learned from it stay."""
    use_case.delete_dataset(services.datasets, actor, dataset_id)
    return Response(status_code=204)
