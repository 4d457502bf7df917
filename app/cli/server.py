"""What the commands of a server share: its settings, and a database that cannot be used as an error to act on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from s2a_core.errors import InvalidInput

if TYPE_CHECKING:
    from app.settings import Settings

DATABASES = "give --db or S2A_DATABASE_URL as sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME"


def read_settings() -> Settings:
    """The settings of the S2A_* variables. Raises InvalidInput that names the variables that cannot be read."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from app.settings import Settings

    try:
        return Settings()
    except SettingsError as error:  # only values of several parts are decoded before they are checked
        name = "".join(re.findall('field "(.+?)"', str(error))).upper()
        raise InvalidInput(f"""S2A_{name} is a JSON list: write S2A_{name}='["one", "two"]'""") from error
    except ValidationError as error:
        wrong = [
            f"S2A_{str(e['loc'][0]).upper()}={e['input']}: {e['msg']}" if e["loc"] else str(e["ctx"]["error"])
            for e in error.errors()
        ]
        raise InvalidInput("; ".join(wrong), details={"source": "settings", "problems": wrong}) from error


@contextmanager
def database_errors() -> Iterator[None]:
    """InvalidInput where the database cannot be used, is of another version, or is no database at all.

    The URL is not repeated: it may hold a password.
    """
    from alembic.util import CommandError
    from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

    try:
        yield
    except (ArgumentError, ModuleNotFoundError) as error:
        raise InvalidInput(f"{DATABASES} ({error})") from error
    except CommandError as error:
        raise InvalidInput(f"the database is not one of this version of s2a ({error}): update s2a") from error
    except DatabaseError as error:
        if type(error) not in (DatabaseError, OperationalError):  # no connection, or no database there; others are bugs
            raise
        raise InvalidInput(f"the database cannot be used: {' '.join(str(error.orig).split())}; {DATABASES}") from error
