"""Run by Alembic: connects to the URL the service hands over, or to that of the settings."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine

from app.models import Base
from app.store.transactions import begin_immediately

MIGRATING = 0x733261  # the number of the lock: "s2a"

url = context.config.attributes.get("url")
if url is None:
    from app.settings import Settings

    url = Settings().url
engine = create_engine(url)
# Alembic takes SQLite for a database that cannot roll back a CREATE TABLE. It can, within a transaction that we begin.
begin_immediately(engine)
with engine.connect() as connection:
    context.configure(
        connection=connection, target_metadata=Base.metadata, render_as_batch=True, transactional_ddl=True
    )
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":  # servers that start together migrate one after the other
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATING})")
        context.run_migrations()
engine.dispose()
