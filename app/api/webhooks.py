"""/v1/webhooks: where events of a team's jobs are sent, and the log of what was sent."""

from __future__ import annotations

from fastapi import APIRouter, Response

from app.api.answers import cached, problems, tagged
from app.api.dependencies import After, Authenticated, IfNoneMatch, Limit, Wired, Writer
from app.responses import JsonAnswer
from app.schemas.operations import DeliveryPage, NewWebhook, WebhookOut, WebhookPage, WebhookRequest

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


@router.post("", status_code=201, response_model=NewWebhook, responses=problems(403))
def create_webhook(wired: Wired, caller: Writer, body: WebhookRequest) -> Response:
    """Send events to a public address, signed: `S2A-Signature: t=<seconds>,v1=<HMAC-SHA256 of "<t>.<body>">`.

    The secret is shown this once. There is no Idempotency-Key: no answer with a secret is kept.
    """
    made = wired.webhooks.create(caller, body.url, list(body.events))
    return JsonAnswer(made, 201, headers={"Location": f"/v1/webhooks/{made['id']}"})


@router.get("", response_model=WebhookPage, responses=cached(403))
def list_webhooks(
    wired: Wired, caller: Authenticated, limit: Limit = 50, after: After = None, if_none_match: IfNoneMatch = None
) -> Response:
    """Webhooks of the team."""
    return tagged(wired.webhooks.listed(caller, limit, after), if_none_match)


@router.get("/{webhook_id}", response_model=WebhookOut, responses=cached(403, 404))
def get_webhook(wired: Wired, caller: Authenticated, webhook_id: str, if_none_match: IfNoneMatch = None) -> Response:
    """One webhook, without its secret."""
    return tagged(wired.webhooks.get(caller, webhook_id), if_none_match)


@router.delete("/{webhook_id}", status_code=204, responses=problems(403, 404))
def delete_webhook(wired: Wired, caller: Writer, webhook_id: str) -> None:
    """Send nothing more, and forget the log."""
    wired.webhooks.remove(caller, webhook_id)


@router.get("/{webhook_id}/deliveries", response_model=DeliveryPage, responses=cached(403, 404))
def list_deliveries(
    wired: Wired,
    caller: Authenticated,
    webhook_id: str,
    limit: Limit = 50,
    after: After = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Every try to deliver, newest first."""
    return tagged(wired.webhooks.deliveries(caller, webhook_id, limit, after), if_none_match)
