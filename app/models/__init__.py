"""The tables."""

from app.models.tables import ApiKey, Artifact, Attempt, Base, Event, Job, JobStatus, Team

__all__ = ["ApiKey", "Artifact", "Attempt", "Base", "Event", "Job", "JobStatus", "Team"]
