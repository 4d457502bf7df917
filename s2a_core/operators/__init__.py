"""The operators that s2a knows: one file per family holds declarations, what each saves, and how it runs.

`OPERATORS` is the one table. Which torch functions are routed, what a site can be planned as, which stock operators
bear rounding and which curves have derivative tables all follow from it.
"""

from s2a_core.operators.call import Call, Intent, Site
from s2a_core.operators.low_rank import low_rank_conv, low_rank_linear
from s2a_core.operators.operator import Operator
from s2a_core.operators.table import CURVES, OPERATORS, ROUTES, can_be_rounded, fit_tables, operator_name, storages_of

__all__ = [
    "CURVES",
    "OPERATORS",
    "ROUTES",
    "Call",
    "Intent",
    "Operator",
    "Site",
    "can_be_rounded",
    "fit_tables",
    "low_rank_conv",
    "low_rank_linear",
    "operator_name",
    "storages_of",
]
