"""Migrations go up and down with rows in every table, on SQLite and on PostgreSQL."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect, text

from app.models import Base
from app.store.database import Database

# One row of every table of the newest schema, parents first.
ROWS = {
    "teams": {"id": "team_1", "name": "a", "weight": 2.0, "quota_jobs": 3},
    "api_keys": {"id": "k1", "team_id": "team_1", "name": "n", "scopes": ["read", "admin"], "secret_hash": "h"},
    "devices": {"id": "dev_1", "worker": "w", "kind": "cpu", "name": "cpu", "capacity_bytes": 2**40},
    "plans": {"id": "plan_1", "team_id": "team_1", "request": {"model": "m"}, "status": "ready"},
    "jobs": {
        "id": "job_1",
        "team_id": "team_1",
        "request": {"model": "m"},
        "budget_bytes": 2**35,
        "plan_id": "plan_1",
        "metadata": {"owner": "ana"},
        "phases": [{"name": "training"}],
    },
    "attempts": {
        "id": "att_1",
        "job_id": "job_1",
        "epoch": 1,
        "token_hash": "h",
        "reserved_bytes": 2**34,
        "device_id": "dev_1",
        "is_live": False,
        "state": "ended",
    },
    "events": {"id": 1, "job_id": "job_1", "seq": 1, "epoch": 1, "type": "queued", "payload": {"a": 1}},
    "artifacts": {"id": 1, "job_id": "job_1", "name": "plan.json", "num_bytes": 8, "sha256": "0" * 64},
    "checkpoints": {
        "id": "ckpt_1",
        "job_id": "job_1",
        "attempt_epoch": 1,
        "step": 7,
        "path": "p",
        "num_bytes": 9,
        "sha256": "0" * 64,
    },
    "metrics": {"job_id": "job_1", "name": "step.loss", "step": 1, "value": 0.5},
    "datasets": {"id": "ds_1", "team_id": "team_1", "name": "d", "source": {"kind": "upload"}},
    "ended_sessions": {"id": "n1", "expires_at": 1e10},
    "uploads": {"id": "up_1", "team_id": "team_1", "dataset_id": "ds_1", "size": 9, "expires_at": 1e10},
    "profiles": {"fingerprint": "f", "device": "cpu", "document": {}},
    "prediction_pairs": {
        "id": 1,
        "model": "m",
        "adapter": "bias",
        "device": "cpu",
        "precision": "fp32",
        "predicted_bytes": 2**33,
        "measured_bytes": 2**33 + 1,
        "source": "job_1",
    },
    "leader_leases": {"name": "scheduler", "holder": "h", "token": 2**40, "expires_at": 1.5},
    "idempotency_keys": {"team_id": "team_1", "key": "k", "body_hash": "b"},
    "audit_log": {"id": 1, "team_id": "team_1", "action": "job.created"},
    "webhooks": {
        "id": "hook_1",
        "team_id": "team_1",
        "url": "https://example.org",
        "secret": "s",
        "events": ["failed"],
    },
    "webhook_deliveries": {"id": 1, "webhook_id": "hook_1", "event_id": 1},
}


def fill(database: Database) -> None:
    with database.engine.begin() as connection:
        for name, row in ROWS.items():
            connection.execute(insert(Base.metadata.tables[name]).values(**row))


def one(database: Database, sql: str) -> tuple[object, ...]:
    with database.engine.connect() as connection:
        return tuple(connection.execute(text(sql)).one())


def test_every_table_has_a_row_in_this_test() -> None:
    assert set(ROWS) == set(Base.metadata.tables)


def test_down_and_up_again_with_rows_in_every_table(database_url: str) -> None:
    database = Database(database_url)
    database.migrate()
    fill(database)
    database.downgrade("0001")
    assert one(database, "select scope, secret_hash from api_keys") == ("admin", "h")
    assert one(database, "select budget_bytes, status from jobs") == (2**35, "queued")
    assert one(database, "select reserved_bytes from attempts") == (2**34,)
    assert "plans" not in inspect(database.engine).get_table_names()
    database.migrate()
    assert one(database, "select name, weight from teams") == ("a", 1.0)
    assert one(database, "select version, own_retries, byte_seconds, plan_id from jobs") == (1, 0, 0, None)
    assert one(database, "select state from attempts") == ("ended",)
    with database.transaction() as session:
        from app.models import ApiKey, Job

        key, job = session.get(ApiKey, "k1"), session.get(Job, "job_1")
        assert key is not None
        assert job is not None
        assert key.scopes == ["read", "write", "admin"]
        assert (job.labels, job.phases) == ({}, [{"name": "training"}])
    database.downgrade("base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    database.close()


def test_the_models_describe_what_the_migrations_make(database_url: str) -> None:
    database = Database(database_url)
    database.migrate()
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    database.close()
