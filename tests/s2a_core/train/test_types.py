"""Training types import without torch."""

import subprocess
import sys


def test_the_types_of_training_do_not_import_torch() -> None:
    code = "import s2a_core.train.types, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
