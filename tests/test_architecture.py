"""The rules of the tree, checked: who imports whom, sizes, names and lean imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(p for package in ("s2a_core", "app", "benchmarks") for p in (ROOT / package).rglob("*.py"))
MAX_LINES = 320
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "manager", "handler", "handlers", "data", "info", "misc", "common"}
# A folder or package address that exists on one machine only. Written so that this line does not match itself.
MACHINE_PATHS = re.compile(r"(^|[^A-Za-z0-9_.])/(w[o]rk|f[a]rm|r[o]ot)/|index-[u]rl|find-[l]inks")

# (files, what they must not import, why). A trailing dot means "and everything below".
FORBIDDEN = [
    (
        "s2a_core",
        ("app", "benchmarks", "fastapi", "sqlalchemy", "pydantic_settings", "starlette"),
        "the method knows no service",
    ),
    ("s2a_core/planning", ("torch", "triton", "timm"), "plans are made without a model in memory"),
    ("s2a_core/profiling/types.py", ("torch", "triton", "timm"), "the service reads profiles"),
    ("s2a_core/adapters/spec.py", ("torch", "triton", "timm"), "the service reads adapter specs"),
    (
        "s2a_core/operators",
        ("s2a_core.compression", "s2a_core.train", "s2a_core.pipeline", "s2a_core.planning", "s2a_core.profiling"),
        "operators are below",
    ),
    ("app/api", ("app.store", "app.models", "torch", "s2a_core.pipeline"), "endpoints call services"),
    ("app/services", ("app.api", "torch", "s2a_core.pipeline"), "services know no HTTP and no model"),
    ("app/store", ("app.api", "app.services", "torch", "s2a_core.pipeline"), "SQL is below the services"),
    ("app/models", ("app.api", "app.services", "app.store", "torch"), "tables are at the bottom"),
    ("app/schemas", ("app.store", "app.models", "app.services", "torch"), "schemas are plain documents"),
    ("app/queue", ("app.api", "torch", "s2a_core.pipeline"), "the scheduler loads no model"),
    ("app/web", ("app.store", "app.models", "torch", "s2a_core.pipeline"), "pages call services"),
    (
        "app/client",
        ("app.api", "app.services", "app.store", "app.models", "fastapi", "sqlalchemy", "torch"),
        "a client",
    ),
]
SQL_NAMES = {"select", "insert", "update", "delete", "text", "func"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """Every module a file imports, dotted; `from a import b` gives a and a.b. TYPE_CHECKING blocks are free."""
    tree = ast.parse(path.read_text())
    free = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in free:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node


def import_graph(paths: list[Path], root: Path) -> dict[str, set[str]]:
    """Module -> the modules among `paths` it imports, under TYPE_CHECKING and inside functions too."""
    names = {path: ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for path in paths}
    modules = set(names.values())
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for path, name in names.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & modules
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    graph[name] |= {inner if inner in modules else node.module} & modules
        graph[name].discard(name)
    return graph


def cycles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that import each other, directly or through others."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        todo = list(graph[start])
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += graph[name]
        return seen

    below = {name: reached(name) for name in graph}
    groups = {frozenset(o for o in below[n] if n in below[o]) for n in graph if n in below[n]}
    return [set(group) for group in groups]


def starts_with(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def files_under(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


@pytest.mark.parametrize(("place", "forbidden", "why"), FORBIDDEN, ids=[rule[0] for rule in FORBIDDEN])
def test_imports_go_one_way(place: str, forbidden: tuple[str, ...], why: str) -> None:
    found = sorted(
        {
            f"{relative(path)}:{node.lineno} imports {name}"
            for path in files_under(place)
            for name, node in imports(path)
            for prefix in forbidden
            if starts_with(name, prefix)
        }
    )
    assert not found, f"{why}: {found}"


def test_kernels_import_torch_and_triton_only() -> None:
    allowed = {"torch", "triton", "s2a_core", "__future__", *sys.stdlib_module_names}
    inside = ("s2a_core", "s2a_core.kernels", "s2a_core.errors")
    found = [
        f"{relative(path)}:{node.lineno} imports {name}"
        for path in files_under("s2a_core/kernels")
        for name, node in imports(path)
        if name.split(".")[0] not in allowed
        or (starts_with(name, "s2a_core") and not any(name == p or starts_with(name, p) for p in inside[1:]))
    ]
    assert not found


def test_only_the_runner_and_the_command_line_import_the_pipeline() -> None:
    found = [
        f"{relative(path)}:{node.lineno} imports {name}"
        for path in files_under("app")
        if not relative(path).startswith(("app/runner/", "app/cli/"))
        for name, node in imports(path)
        if starts_with(name, "s2a_core.pipeline") or name.split(".")[0] in ("torch", "timm", "triton")
    ]
    assert not found


def test_sql_is_written_in_the_store_only() -> None:
    found = [
        f"{relative(path)}:{node.lineno} imports {name}"
        for path in files_under("app")
        if not relative(path).startswith(("app/store/", "app/models/"))
        for name, node in imports(path)
        if starts_with(name, "sqlalchemy") and name.rsplit(".", 1)[-1] in SQL_NAMES
    ]
    assert not found


def test_files_are_short_enough_to_read() -> None:
    found = {relative(p): n for p in SOURCES if (n := len(p.read_text().splitlines())) > MAX_LINES}
    assert not found, f"longer than {MAX_LINES} lines: {found}"


def test_every_module_begins_with_its_one_job() -> None:
    assert [
        relative(p) for p in SOURCES if p.read_text().strip() and not ast.get_docstring(ast.parse(p.read_text()))
    ] == []


def test_no_file_has_a_vague_name() -> None:
    assert [relative(p) for p in SOURCES if p.stem in VAGUE_NAMES or p.parent.name in VAGUE_NAMES] == []


# Our settings; what libraries read as they load; cuBLAS's workspaces, for which PyTorch has no other door.
READS_ENVIRONMENT = ("app/settings.py", "s2a_core/libraries.py", "s2a_core/device/libraries.py")


def test_nothing_prints_or_reads_the_environment_outside_the_settings() -> None:
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                found.append(f"{relative(path)}:{node.lineno} print")
            is_environment = isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
            if is_environment and ast.unparse(node).startswith("os.") and relative(path) not in READS_ENVIRONMENT:
                found.append(f"{relative(path)}:{node.lineno} {ast.unparse(node)}")
    assert not found


@pytest.mark.parametrize(
    "module",
    [
        "s2a_core",
        "s2a_core.errors",
        "s2a_core.storage",
        "s2a_core.planning",
        "s2a_core.profiling.types",
        "app.main",
        "app.client",
    ],
)
def test_importing_it_does_not_import_torch(module: str) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules or 'triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr or f"{module} imports torch"


def test_tracked_files_name_no_folder_of_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("needs a git checkout: `git ls-files` lists the tracked files")
    found = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in (".png", ".safetensors", ".npz", ".woff2") or not path.is_file():
            continue
        text = path.read_text(errors="replace")
        found += [f"{name}:{i}" for i, line in enumerate(text.splitlines(), 1) if MACHINE_PATHS.search(line)]
    assert not found


def test_the_public_names_of_the_method_are_those_it_promises() -> None:
    import s2a_core

    assert sorted(s2a_core.__all__) == [
        "AdapterSpec",
        "Plan",
        "add_adapters",
        "compress",
        "load_model",
        "plan",
        "profile",
    ]
    assert all(callable(getattr(s2a_core, name)) for name in s2a_core.__all__)


def test_no_modules_import_each_other_in_a_circle() -> None:
    paths = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in ("s2a_core", "app")]
    found = [sorted(group) for group in cycles(import_graph(paths, ROOT))]
    assert not found


def test_a_planted_circle_is_seen_under_type_checking_and_inside_functions(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from b import B\n")
    (tmp_path / "b.py").write_text("def late():\n    import a\n")
    (tmp_path / "c.py").write_text("import a\n")
    assert cycles(import_graph(sorted(tmp_path.glob("*.py")), tmp_path)) == [{"a", "b"}]


def test_every_routed_operator_is_named_by_the_tests_of_operators() -> None:
    """Derivatives of curves are tested by the table itself (test_activations); the others by name."""
    from s2a_core.operators import OPERATORS

    text = "".join(path.read_text() for path in files_under("tests/s2a_core/operators"))
    unused = [name for name, operator in OPERATORS.items() if operator.functions and name not in text]
    assert not unused, f"no test names {unused}"


def test_every_adapter_declares_the_rates_it_trains_at() -> None:
    from s2a_core.adapters.kinds import FILES, KINDS

    files = {path.stem for path in (ROOT / "s2a_core/adapters/kinds").glob("*.py")} - {"__init__"}
    assert files == set(FILES)
    assert [kind.name for kind in KINDS.values() if kind.rates is None] == ["head"], "it trains nothing but the head"
