"""The REST API as Python: one method for each thing to do, pages as iterators, problems as exceptions."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from app.client import stream, upload
from app.client.errors import ProblemError, Unreachable, error_of
from app.client.requests import Requests
from s2a_core.errors import InvalidInput

Document = dict[str, Any]
ENDED = ("succeeded", "failed", "cancelled")
PLANNED = ("ready", "infeasible", "failed")
TIMEOUT = httpx.Timeout(30.0, read=60.0)


class Client(Requests):
    """One service and one key. transport: for tests.

    Every method raises the exception of app.errors or s2a_core.errors that the service's problem document names,
    ProblemError for one without a name, Unreachable when nobody answers.
    """

    def __init__(self, url: str, key: str, transport: httpx.BaseTransport | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidInput(f"the service's address begins with http:// or https://, not {url!r}")
        if not key.isascii() or any(c.isspace() for c in key):
            raise InvalidInput("a key is s2a_, its id, and its secret, without spaces")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self._http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT, transport=transport)
        except httpx.InvalidURL as error:
            raise InvalidInput(f"{url!r} is no address of a service ({error})") from error

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    # jobs

    def jobs(self, status: str | None = None, words: str = "") -> Iterator[Document]:
        """Every job, newest first, page by page. words: all in its name, id, model, adapter or data."""
        return self._pages("/v1/jobs", status=status, q=words)

    def job(self, job_id: str) -> Document:
        """One job."""
        return self._json("GET", f"/v1/jobs/{job_id}")

    def cancel(self, job_id: str) -> Document:
        """Stop a job for good."""
        return self._json("POST", f"/v1/jobs/{job_id}/cancel")

    def pause(self, job_id: str) -> Document:
        """Stop a job so that it can be resumed."""
        return self._json("POST", f"/v1/jobs/{job_id}/pause")

    def resume(self, job_id: str) -> Document:
        """Queue a paused job again."""
        return self._json("POST", f"/v1/jobs/{job_id}/resume")

    def events(self, job_id: str, after: int = 0, give_up_s: float = 300.0) -> Iterator[Document]:
        """Events of a job as they come, each once and in order, until it has ended; a cut stream is picked up again."""
        return stream.follow(lambda seen: self._stream(f"/v1/jobs/{job_id}/events", seen), after, give_up_s)

    def wait(self, job_id: str) -> Document:
        """The job once it has ended."""
        for _ in self.events(job_id):
            pass
        return self.job(job_id)

    def metrics(self, job_id: str) -> Document:
        """The numbers of each epoch, and every series."""
        return self._json("GET", f"/v1/jobs/{job_id}/metrics")

    def attempts(self, job_id: str) -> list[Document]:
        """The processes of a job, newest first."""
        return list(self._json("GET", f"/v1/jobs/{job_id}/attempts")["items"])

    def artifacts(self, job_id: str) -> list[Document]:
        """Names, sizes and checksums of a job's files."""
        return list(self._json("GET", f"/v1/jobs/{job_id}/artifacts")["items"])

    def artifact(self, job_id: str, name: str) -> bytes:
        """A file of a job."""
        return self._call("GET", f"/v1/jobs/{job_id}/artifacts/{name}").content

    # plans and profiles

    def plans(self, status: str | None = None) -> Iterator[Document]:
        """Every plan, newest first."""
        return self._pages("/v1/plans", status=status)

    def get_plan(self, plan_id: str, wait_s: float = 0.0, poll_s: float = 0.5) -> Document:
        """One plan; with wait_s, once it is ready, infeasible or failed, or when the time is over."""
        deadline = time.monotonic() + wait_s
        while True:
            plan = self._json("GET", f"/v1/plans/{plan_id}")
            if plan["status"] in PLANNED or time.monotonic() >= deadline:
                return plan
            time.sleep(poll_s)

    # datasets

    def datasets(self, status: str | None = None) -> Iterator[Document]:
        """Every dataset, newest first."""
        return self._pages("/v1/datasets", status=status)

    def dataset(self, dataset_id: str) -> Document:
        """One dataset."""
        return self._json("GET", f"/v1/datasets/{dataset_id}")

    def add_dataset(self, name: str, source: str) -> Document:
        """A dataset from a directory of the service's machine, or from a hub: hf:owner/name."""
        kind = "hub" if source.startswith("hf:") else "path"
        return self._make("/v1/datasets", {"name": name, "source": {"kind": kind, "source": source}})

    def upload(
        self,
        path: Path,
        name: str | None = None,
        dataset_id: str | None = None,
        progress: upload.Progress | None = None,
    ) -> Document:
        """Send a zip or tar of images, or weights as safetensors, or the rest of one that was cut off, by its id.

        It is looked at then; a job names images as `data` and weights as `weights`.
        """
        if not path.is_file() or not (size := path.stat().st_size):
            what = "is empty" if path.is_file() else "is not a file"
            raise InvalidInput(f"{path} {what}: give a zip or tar of images, or a safetensors file")
        if dataset_id is None:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            source = {"kind": "upload", "size": size, "filename": path.name[:255], "sha256": sha256}
            made = self._make("/v1/datasets", {"name": (name or path.stem)[:100], "source": source})
        else:
            made = self.dataset(dataset_id)
            if not made["upload"] or made["upload"]["size"] != size:
                raise InvalidInput(f"{dataset_id} does not wait for the {size:,} bytes of {path.name}")
        upload.send(self._json, path, made["upload"], progress)
        return self.dataset(made["id"])

    def wait_dataset(self, dataset_id: str, poll_s: float = 0.5) -> Document:
        """The dataset once it was looked at: ready or refused."""
        while (dataset := self.dataset(dataset_id))["status"] == "validating":
            time.sleep(poll_s)
        return dataset

    def remove_dataset(self, dataset_id: str) -> None:
        """Forget a dataset and its files."""
        self._call("DELETE", f"/v1/datasets/{dataset_id}")

    # the service

    def models(self, words: str = "") -> Iterator[Document]:
        """Models that can be fine-tuned, by name."""
        return self._pages("/v1/models", q=words)

    def devices(self) -> Iterator[Document]:
        """Devices with their memory and jobs."""
        return self._pages("/v1/devices")

    def queue(self) -> Document:
        """What runs where, and what waits."""
        return self._json("GET", "/v1/queue")

    def predictions(self) -> Document:
        """How good predictions of peaks were."""
        return self._json("GET", "/v1/predictions")

    accuracy = predictions  # its former name

    # keys

    def create_key(
        self, team: str, scopes: Sequence[str] = ("read", "write"), name: str = "", expires_at: float | None = None
    ) -> Document:
        """A key for a team, with its text in `key`, this once; needs an admin's key. expires_at: Unix seconds."""
        asked = {"team": team, "scopes": list(scopes), "name": name, "expires_at": expires_at}
        return self._json("POST", "/v1/keys", json=asked)

    def keys(self) -> Iterator[Document]:
        """Every key without its secret; needs an admin's key."""
        return self._pages("/v1/keys")

    def me(self) -> Document:
        """The key of this client."""
        return self._json("GET", "/v1/keys/me")

    def revoke_key(self, key_id: str) -> None:
        """Make a key useless; needs an admin's key."""
        self._call("DELETE", f"/v1/keys/{key_id}")

    # teams

    def teams(self) -> Iterator[Document]:
        """Teams with their weights, quotas and use: one's own, or all with an admin's key."""
        return self._pages("/v1/teams")

    def create_team(self, name: str, **quotas: Any) -> Document:
        """A new team, with `weight`, `quota_jobs`, `quota_bytes`, `quota_byte_seconds_per_day`; for admins."""
        return self._make("/v1/teams", {"name": name, **quotas})

    def change_team(self, team_id: str, **quotas: Any) -> Document:
        """Set what is named of the same; a quota of None has no limit. Needs an admin's key."""
        return self._json("PATCH", f"/v1/teams/{team_id}", json=quotas)

    # how

    def _make(self, path: str, request: Document) -> Document:
        """POST what makes something, again if the answer is lost: the Idempotency-Key keeps it one."""
        body = {name: value for name, value in request.items() if value is not None}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        try:
            return self._json("POST", path, json=body, headers=headers)
        except Unreachable as error:
            if not isinstance(error.__cause__, httpx.ReadError | httpx.RemoteProtocolError):
                raise
            return self._json("POST", path, json=body, headers=headers)

    def _pages(self, path: str, **asked: Any) -> Iterator[Document]:
        after: str | None = None
        while True:
            params = {name: value for name, value in {**asked, "after": after}.items() if value}
            page = self._json("GET", path, params=params)
            yield from page["items"]
            after = page["next"]
            if after is None:
                return

    def _json(self, method: str, path: str, **content: Any) -> Document:
        answer = self._call(method, path, **content)
        try:
            return dict(answer.json())
        except (ValueError, TypeError) as error:
            raise ProblemError(f"{answer.url} is no address of s2a's API: it answers something else") from error

    def _call(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **content)
        except httpx.TransportError as error:
            where = f"{self._http.base_url}".rstrip("/")
            raise Unreachable(f"{where} does not answer ({error}); is `s2a serve` running?") from error
        if answer.is_error:
            raise error_of(answer.status_code, _problem(answer))
        return answer

    def _stream(self, path: str, after: int) -> Any:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        return _Stream(self._http, path, headers)


class _Stream:
    """An answer that is read line by line; errors come before the first line."""

    def __init__(self, http: httpx.Client, path: str, headers: dict[str, str]) -> None:
        self._opened = http.stream("GET", path, headers=headers)

    def __enter__(self) -> httpx.Response:
        answer = self._opened.__enter__()
        if answer.is_error:
            answer.read()
            self._opened.__exit__(None, None, None)
            if answer.status_code in (429, 502, 503, 504):
                raise Unreachable(f"the service answered {answer.status_code}")
            raise error_of(answer.status_code, _problem(answer))
        return answer

    def __exit__(self, *stop: Any) -> None:
        self._opened.__exit__(*stop)


def _problem(answer: httpx.Response) -> Document:
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"title": answer.text[:200] or answer.reason_phrase}
