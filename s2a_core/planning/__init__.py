"""Plans: the best configuration of a profile under a budget of bytes. Imports neither torch nor triton."""

from s2a_core.planning.search import plan
from s2a_core.planning.types import Baseline, FrontierPoint, Plan, Predicted, SolverReport

__all__ = ["Baseline", "FrontierPoint", "Plan", "Predicted", "SolverReport", "plan"]
