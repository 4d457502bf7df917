"""Runs the tests of this folder where Triton can run: in this process with a GPU, else in one with TRITON_INTERPRET=1.

Triton reads the variable when its functions are decorated, so a process either interprets or compiles. Without a GPU
a test file is run once more, whole, in an interpreting process, and every test here reports what it did there.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent
RUNS_HERE = torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1"


@pytest.fixture
def device() -> torch.device:
    """Where the kernels under test run."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With a GPU the tests of this folder are GPU tests, so `-m gpu` selects them."""
    for item in items:
        if torch.cuda.is_available() and HERE in item.path.parents and "device" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.gpu)


@functools.cache
def _outcomes(path: Path) -> dict[str, str]:
    """What the interpreting process says of every test of a file: empty for passed, else the failure."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # the interpreter computes in NumPy, which warns of the NaN and infinities that a GPU makes in silence
        options = ["-q", "--no-header", "-p", "no:cacheprovider", "-W", "ignore::RuntimeWarning"]
        command = [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", str(path)]
        environment = {**os.environ, "TRITON_INTERPRET": "1"}
        done = subprocess.run(
            command, cwd=HERE.parents[3], env=environment, capture_output=True, text=True, timeout=170
        )
        if not report.is_file():
            pytest.fail(done.stdout[-3000:] + done.stderr[-3000:])
        cases = ElementTree.parse(report).getroot().iter("testcase")
        return {case.attrib["name"]: "\n".join(part.text or "" for part in case) for case in cases}


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Take the outcome from the interpreting process, for tests of this folder that need Triton to run."""
    if RUNS_HERE or HERE not in pyfuncitem.path.parents or "device" not in pyfuncitem.fixturenames:
        return None
    failure = _outcomes(pyfuncitem.path).get(pyfuncitem.name, "did not run")
    if failure:
        pytest.fail(failure, pytrace=False)
    return True
