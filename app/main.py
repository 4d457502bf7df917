"""`create_app(settings)`: the service. Importing it loads no model and no torch."""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from fastapi import FastAPI

from app import logs, openapi, problems
from app.api import access, catalog, datasets, events, jobs, plans, results, runner, system, webhooks
from app.api.dependencies import Services
from app.executors.select import executor_of
from app.limits import RateLimit
from app.middleware import RequestMiddleware
from app.private import protect
from app.queue.scheduler import Scheduler
from app.responses import JsonAnswer
from app.services.accuracy import AccuracyService
from app.services.audit import AuditService
from app.services.background import Background
from app.services.datasets import DatasetService
from app.services.devices import DeviceService
from app.services.feed import EventFeed
from app.services.health import HealthService
from app.services.idempotency import IdempotencyService
from app.services.jobs import JobService
from app.services.keys import KeyService
from app.services.models import ModelCatalog
from app.services.plans import PlanService
from app.services.results import ResultService
from app.services.runs import RunService
from app.services.sealing import Sealer
from app.services.sessions import SessionService
from app.services.teams import TeamService
from app.services.uploads import UploadService
from app.services.webhooks import WebhookService
from app.settings import Settings
from app.store.database import Database
from app.store.exclusive import ExclusiveServer
from app.telemetry import Telemetry
from app.web import pages
from app.web.failures import for_a_person
from s2a_core import __version__

ROUTERS = (jobs, events, results, plans, datasets, catalog, access, webhooks, runner, system, pages)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; the database is migrated and the scheduler started when it starts, and both end with it."""
    settings = settings or Settings()
    protect(settings.data_dir)
    logs.configure(settings.log_json)
    database = Database(settings.url)
    server = ExclusiveServer(settings.url)
    services = wire(database, settings)
    telemetry = Telemetry(database)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        prepare(app)
        scheduler = Scheduler(database, settings, app.state.executor) if settings.run_scheduler else None
        background = Background(database, settings, services.uploads) if settings.run_workers else None
        services.feed.start()
        for part in (scheduler, background):
            if part is not None:
                part.start()

        def begin_stop() -> None:
            services.feed.close()
            if scheduler is not None:
                scheduler.begin_stop()

        with on_signal(begin_stop):
            yield
        await services.feed.stop()
        for part in (scheduler, background):
            if part is not None:
                part.stop()
        services.models.close()
        database.close()
        server.release()

    app = FastAPI(
        title="s2a",
        version=__version__,
        lifespan=lifespan,
        generate_unique_id_function=openapi.operation_id,
        docs_url=None,  # /docs is a page of ours, whose script comes from here
        redoc_url=None,
        default_response_class=JsonAnswer,
    )
    app.state.services, app.state.database, app.state.telemetry = services, database, telemetry
    app.state.server, app.state.settings, app.state.executor = server, settings, None
    for module in ROUTERS:
        app.include_router(module.router)
    openapi.install(app, settings.root_path)
    problems.install(app, for_a_person)
    app.add_middleware(RequestMiddleware, settings=settings, observe=telemetry.observe)
    return app


def wire(database: Database, settings: Settings) -> Services:
    """Every service, on one database."""
    datasets_ = DatasetService(database, settings)
    models_ = ModelCatalog(settings.data_dir / "cache")
    plans_ = PlanService(database, datasets_, models_)
    jobs_ = JobService(database, datasets_, models_, plans_)
    keys_ = KeyService(database)
    return Services(
        keys=keys_,
        sessions=SessionService(keys_, settings.data_dir),
        jobs=jobs_,
        runs=RunService(database, settings),
        results=ResultService(database, settings.data_dir),
        plans=plans_,
        datasets=datasets_,
        uploads=UploadService(database, settings),
        models=models_,
        teams=TeamService(database),
        devices=DeviceService(database),
        audit=AuditService(database),
        accuracy=AccuracyService(database),
        webhooks=WebhookService(database, Sealer(settings.data_dir), allow_private=settings.allow_private_webhooks),
        idempotency=IdempotencyService(database),
        health=HealthService(database, settings.data_dir),
        feed=EventFeed(jobs_.newest_event),
        limit=RateLimit(settings.rate_per_s, settings.rate_burst),
        stream_heartbeat_s=settings.stream_heartbeat_s,
    )


def prepare(app: FastAPI) -> str | None:
    """Migrate the database, connect to where attempts run; the first admin key if there was no key at all.

    Raises InvalidInput where another server is, and as `executor_of`.
    """
    app.state.server.acquire()
    if app.state.settings.run_scheduler and app.state.executor is None:
        app.state.executor = executor_of(app.state.settings)
    app.state.database.migrate()
    key: str | None = app.state.services.keys.bootstrap()
    app.state.services.sessions.prepare()
    app.state.services.webhooks.seal()
    return key


@contextmanager
def on_signal(act: Callable[[], None]) -> Iterator[None]:
    """Do something at the first word of an end, before the server waits for its streams to end by themselves."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}

    def handle(number: int, frame: Any) -> None:
        act()
        if callable(before[number]):
            before[number](number, frame)

    for name in (signal.SIGINT, signal.SIGTERM):
        before[name] = signal.getsignal(name)
        signal.signal(name, handle)
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)
