import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from s2a_core.kernels import backend
from s2a_core.kernels.native import library
from s2a_core.kernels.native.build import BuildError, built, compiler_path, library_path

COMPILED = 'echo run >> "$COUNT"; while [ "$1" != "-o" ]; do shift; done; echo library > "$2"'


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch cache, and a PATH with nothing but a shell's own tools."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch" / "hub"))
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    return tmp_path / "torch"


def compiler(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Puts a compiler that runs `script` first on the PATH."""
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    program = place / "c++"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}/usr/bin{os.pathsep}/bin")


def runs(folder: Path) -> int:
    counted = folder / "count"
    return len(counted.read_text().splitlines()) if counted.is_file() else 0


def test_many_who_ask_at_once_share_one_build(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(tmp_path, monkeypatch, f"sleep 0.3; {COMPILED}")
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(built())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [library_path()] * 5
    assert library_path().read_text() == "library\n"
    assert runs(tmp_path) == 1
    assert {path.suffix for path in cache.rglob("*") if path.is_file()} == {".so", ".lock"}


def test_a_slow_compiler_is_left_alone_and_its_library_found_later(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path, monkeypatch, f"sleep 1; {COMPILED}")
    started = time.monotonic()
    with pytest.raises(BuildError, match=r"needs longer than 0.2 s; the next process finds its result"):
        built(wait_s=0.2)
    with pytest.raises(BuildError, match="needs longer"):
        built(wait_s=0.1)
    assert time.monotonic() - started < 1
    assert built(wait_s=20) == library_path()
    assert runs(tmp_path) == 1


def test_a_build_is_started_without_waiting_for_it(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path, monkeypatch, f"sleep 3; {COMPILED}")
    monkeypatch.setattr(backend._Native, "is_settled", False)
    started = time.monotonic()
    backend.start_native("cuda")
    assert not library_path().parent.exists()
    backend.start_native("cpu")
    assert time.monotonic() - started < 3
    assert built(wait_s=20) == library_path()
    assert runs(tmp_path) == 1


def test_a_failed_build_is_told_and_not_repeated_unless_asked(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path, monkeypatch, 'echo run >> "$COUNT"; echo "no such header" >&2; exit 1')
    for _ in range(3):
        with pytest.raises(BuildError, match=r"c\+\+ failed: no such header"):
            built()
    assert runs(tmp_path) == 1
    compiler(tmp_path, monkeypatch, COMPILED)
    assert built(retry=True) == library_path()


@pytest.mark.skipif(compiler_path() is None, reason="needs a C++ compiler")
def test_a_syntax_error_in_the_source_fails_the_tests_of_the_library(tmp_path: Path) -> None:
    """They run in a process of their own, with a broken source and an empty cache."""
    broken = tmp_path / "kernels.cpp"
    broken.write_text("this is not C++")
    plugin = tmp_path / "broken_source.py"
    plugin.write_text(
        f"from pathlib import Path\nfrom s2a_core.kernels.native import build\nbuild.SOURCE = Path({str(broken)!r})\n"
    )
    tests = Path(__file__).with_name("test_library.py")
    options = ["-q", "-p", "no:cacheprovider", "-p", "broken_source", "-k", "test_bytes_are_those_of_the_reference"]
    places = os.pathsep.join([str(tmp_path), str(tests.parents[4])])
    environment = {**os.environ, "PYTHONPATH": places, "TORCH_HOME": str(tmp_path / "torch"), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tests)],
        env=environment, cwd=tests.parents[4], capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "skipped" not in done.stdout.splitlines()[-1]
    assert "this is not C++" in done.stdout or "error:" in done.stdout


def test_a_machine_without_a_compiler_is_told_so(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"no C\+\+ compiler: none of c\+\+, g\+\+, clang\+\+ is on the PATH"):
        built()
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_a_reason_not_an_error(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path, monkeypatch, COMPILED)
    monkeypatch.setattr(library, "_loaded", [])
    cache.write_text("a file where the folder should be")
    assert library.load().startswith(("FileExistsError", "NotADirectoryError"))


def test_a_library_that_does_not_load_is_a_reason_not_an_error(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path, monkeypatch, COMPILED)
    monkeypatch.setattr(library, "_loaded", [])
    assert library.load().startswith("OSError")
