"""Writes every universal derivative table to standard output as JSON: `python -m s2a_core.operators`."""

import json
import sys

from s2a_core.kernels import fit_table
from s2a_core.operators import CURVES

rows = []
for curve in CURVES.values():
    for bits in (1, 2, 3, 4):
        table = fit_table(curve, bits)
        rows.append({"name": curve.name, "bits": bits, "borders": table.border_values, "levels": table.level_values})
sys.stdout.write(json.dumps(rows, indent=1) + "\n")
