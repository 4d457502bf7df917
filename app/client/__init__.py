"""The service from Python: `Client(url, key)`."""

from app.client.client import Client
from app.client.errors import ProblemError, Unreachable

__all__ = ["Client", "ProblemError", "Unreachable"]
