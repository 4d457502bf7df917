"""The service from Python: `Client(url, key)`."""

from app.client.client import Client, ProblemError

__all__ = ["Client", "ProblemError"]
