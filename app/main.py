"""`create_app(settings)`: the service. Importing it loads no model and no torch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.api import jobs, runner, system
from app.api.dependencies import Services
from app.errors import problem, status_of
from app.executors.local import LocalExecutor
from app.queue.scheduler import Scheduler
from app.services.jobs import JobService
from app.services.keys import KeyService
from app.services.runs import RunService
from app.settings import Settings
from app.store.database import Database
from app.web import pages
from s2a_core import __version__
from s2a_core.errors import S2AError

PROBLEM = "application/problem+json"


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; the database is migrated and the scheduler started when it starts, and both end with it."""
    settings = settings or Settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.url)
    services = Services(
        KeyService(database), JobService(database, settings.data_dir), RunService(database, settings.data_dir)
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        prepare(app)
        scheduler = Scheduler(database, settings, LocalExecutor()) if settings.run_scheduler else None
        if scheduler:
            scheduler.start()
        yield
        if scheduler:
            scheduler.stop()
        database.close()

    app = FastAPI(title="s2a", version=__version__, lifespan=lifespan)
    app.state.services, app.state.database = services, database
    for module in (jobs, runner, system, pages):
        app.include_router(module.router)
    app.add_exception_handler(S2AError, _known)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    return app


def prepare(app: FastAPI) -> str | None:
    """Migrate the database; the first admin key if there was no key at all."""
    app.state.database.migrate()
    key: str | None = app.state.services.keys.bootstrap()
    return key


def _answer(status: int, code: str, title: str, details: object = None) -> JSONResponse:
    body = problem(
        status, code, title, details if isinstance(details, dict) else {"errors": details} if details else {}
    )
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(body, status, headers=headers, media_type=PROBLEM)


async def _known(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, S2AError)
    return _answer(status_of(error), error.code, error.message, error.details)


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [{"at": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
    first = f"{found[0]['at']}: {found[0]['message']}" if found else "the request is malformed"
    return _answer(422, "invalid_request", first, found)


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _answer(error.status_code, f"http_{error.status_code}", str(error.detail))
