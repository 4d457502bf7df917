"""Which waiting job starts where, and why each other one waits: plain values in, decisions out, no database."""

from app.queue.policy.decide import decide
from app.queue.policy.facts import Decision, Device, Front, Live, Preempt, Rules, Start, Team, Wait, Waiting

__all__ = ["Decision", "Device", "Front", "Live", "Preempt", "Rules", "Start", "Team", "Wait", "Waiting", "decide"]
