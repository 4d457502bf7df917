"""The count of launches begins at none and needs no GPU library."""

from __future__ import annotations

import subprocess
import sys


def test_nothing_is_launched_and_no_library_loaded_by_importing() -> None:
    code = "import sys; from s2a_core.kernels.launches import Launches; print(Launches.count, 'triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]
