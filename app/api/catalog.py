"""/v1/models, /v1/devices, /v1/queue and /v1/predictions: what there is to run, where, and how well it is predicted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.api.answers import cached, tagged
from app.api.dependencies import After, Authenticated, IfNoneMatch, Limit, Wired
from app.schemas.operations import DeviceOut, DevicePage, QueueOut
from app.schemas.resources import AccuracyPage, ModelOut, ModelPage

router = APIRouter(prefix="/v1", tags=["catalog"])
Word = Annotated[str | None, Query(max_length=200)]


@router.get("/models", response_model=ModelPage, responses=cached(403))
def list_models(
    wired: Wired,
    caller: Authenticated,
    q: Annotated[str, Query(max_length=200, description="Words that the name or family holds.")] = "",
    family: Word = None,
    limit: Limit = 50,
    after: After = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Models that can be fine-tuned, by timm's names."""
    return tagged(wired.models.search(q, family, limit, after), if_none_match)


@router.get("/models/{name}", response_model=ModelOut, responses=cached(403, 404))
def get_model(
    wired: Wired,
    caller: Authenticated,
    name: Annotated[str, Path(description="With or without a pretrained tag.")],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One model."""
    return tagged(wired.models.get(name), if_none_match)


@router.get("/devices", response_model=DevicePage, responses=cached(403))
def list_devices(
    wired: Wired, caller: Authenticated, limit: Limit = 50, after: After = None, if_none_match: IfNoneMatch = None
) -> Response:
    """Devices with their memory and the jobs on them."""
    return tagged(wired.devices.listed(caller, limit, after), if_none_match)


@router.get("/devices/{device_id}", response_model=DeviceOut, responses=cached(403, 404))
def get_device(wired: Wired, caller: Authenticated, device_id: str, if_none_match: IfNoneMatch = None) -> Response:
    """One device."""
    return tagged(wired.devices.get(caller, device_id), if_none_match)


@router.get("/queue", response_model=QueueOut, responses=cached(403))
def get_queue(wired: Wired, caller: Authenticated, limit: Limit = 100, if_none_match: IfNoneMatch = None) -> Response:
    """What runs where and what waits, in the order in which it is expected to start."""
    return tagged(wired.devices.queue(caller, limit), if_none_match)


@router.get("/predictions", response_model=AccuracyPage, responses=cached(403))
@router.get(
    "/accuracy",
    response_model=AccuracyPage,
    responses=cached(403),
    deprecated=True,
    name="get_accuracy",
    description="The former address of /v1/predictions.",
)
def get_predictions(
    wired: Wired,
    caller: Authenticated,
    device: Word = None,
    model: Word = None,
    limit: Limit = 50,
    after: After = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """How good predictions of the peak were, for the team's own jobs; an admin sees every team's."""
    return tagged(wired.accuracy.summary(caller, device, model, limit, after), if_none_match)
