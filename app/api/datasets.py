"""/v1/datasets and /v1/uploads."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from app.api.answers import cached, once, problems, tagged
from app.api.dependencies import After, Authenticated, IdempotencyKey, IfNoneMatch, Limit, Wired, Writer
from app.responses import JsonAnswer
from app.schemas.fields import MAX_BYTES
from app.schemas.resources import DatasetOut, DatasetPage, DatasetRequest, DatasetStatus, UploadOut

router = APIRouter(prefix="/v1", tags=["datasets"])
PART = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


@router.post("/datasets", status_code=201, response_model=DatasetOut, responses=problems(403, 409))
def create_dataset(
    wired: Wired, caller: Writer, body: DatasetRequest, idempotency_key: IdempotencyKey = None
) -> Response:
    """A dataset: from an upload that begins with this, from a directory of the service's machine, or from a hub."""
    source: dict[str, Any] = body.source.model_dump()
    return once(
        wired,
        caller,
        idempotency_key,
        ["dataset", body.model_dump()],
        lambda: wired.datasets.create(caller, body.name, source),
        "/v1/datasets/{id}",
    )


@router.get("/datasets", response_model=DatasetPage, responses=cached(403))
def list_datasets(
    wired: Wired,
    caller: Authenticated,
    status: Annotated[DatasetStatus | None, Query(description="Only datasets of this status.")] = None,
    limit: Limit = 50,
    after: After = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A page of datasets, newest first."""
    return tagged(wired.datasets.listed(caller, status, limit, after), if_none_match)


@router.get("/datasets/{dataset_id}", response_model=DatasetOut, responses=cached(403, 404))
def get_dataset(wired: Wired, caller: Authenticated, dataset_id: str, if_none_match: IfNoneMatch = None) -> Response:
    """One dataset: what was found in it, or why it was refused."""
    return tagged(wired.datasets.get(caller, dataset_id), if_none_match)


@router.delete("/datasets/{dataset_id}", status_code=204, responses=problems(403, 404, 409))
def delete_dataset(wired: Wired, caller: Writer, dataset_id: str) -> None:
    """Remove a dataset and its files."""
    wired.datasets.remove(caller, dataset_id)


@router.get("/uploads/{upload_id}", response_model=UploadOut, responses=problems(403, 404))
def get_upload(wired: Wired, caller: Authenticated, upload_id: str) -> dict[str, Any]:
    """How much of an upload has been received: where the next part begins."""
    return wired.uploads.get(caller, upload_id)


@router.patch(
    "/uploads/{upload_id}",
    response_model=UploadOut,
    responses=problems(403, 404, 409),
    openapi_extra={"requestBody": PART},
)
async def append_upload(
    request: Request,
    wired: Wired,
    caller: Writer,
    upload_id: str,
    upload_offset: Annotated[
        int, Header(alias="Upload-Offset", ge=0, le=MAX_BYTES, description="Where this part begins.")
    ],
) -> Response:
    """Append the next part, its bytes as the body. The last one begins the validation."""
    done = await wired.uploads.receive(caller, upload_id, upload_offset, request.stream())
    return JsonAnswer(done, headers={"Upload-Offset": str(done["received"])})


@router.delete("/uploads/{upload_id}", status_code=204, responses=problems(403, 404))
def delete_upload(wired: Wired, caller: Writer, upload_id: str) -> None:
    """Drop an upload and its dataset."""
    wired.uploads.abort(caller, upload_id)
