"""The rooms of the library, and who may import whom.

The table is the design's: an import may only point to a line above the importer's own. Inside a package (`backends/`,
`panels/`) modules import one another freely; between two rooms of one line only what `SAME_LINE` names, with its
reason. Imports inside functions and for types count too: what a room must not know it must not name.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import promptlab

PACKAGE = Path(promptlab.__file__).parent

LINES = (
    ("errors", "_json", "_loop", "_mounts"),
    ("_markdown", "_text", "signs"),
    ("templates", "grids", "cases", "requests"),
    ("attempts", "plans"),
    (
        "prices",
        "tokens",
        "limits",
        "retries",
        "stats",
        "diffs",
        "sharing",
        "pairings",
        "racing",
        "scorers",
        "tallies",
        "textdiff",
    ),
    ("backends",),
    ("migrations", "writer", "store", "ledger"),
    ("jobs", "accounts", "unwritten", "checks", "forgetting", "merging", "judgements", "verdicts"),
    ("runner", "results", "search"),
    ("analysis",),
    (
        "agreements",
        "comparison",
        "effects",
        "endpoints",
        "estimates",
        "exports",
        "histories",
        "judging",
        "layouts",
        "model_judges",
        "monitoring",
        "scoring",
        "plots",
        "versions",
    ),
    ("analyses", "finetuning", "lookups", "model_raters", "preferences", "promptdiffs", "reruns"),
    ("panels",),
    ("live", "reports"),
    ("outlets",),
    ("run",),
    ("launch",),
    ("races",),
    ("lab",),
    ("testing",),
    ("cli", "demo", "doctor"),
    ("__init__",),
)
LINE_OF = {room: number for number, line in enumerate(LINES) for room in line}
SAME_LINE = {
    ("store", "migrations"): "opening a file brings its schema up to date",
    ("store", "writer"): "the store starts the thread that writes its file",
    ("monitoring", "layouts"): "a watch draws its map on a layout",
    ("cli", "demo"): "the command line starts the demo",
    ("cli", "doctor"): "the command line prints the doctor's checks",
}
# Only these rooms load these libraries. An import for types alone loads nothing and is left out here.
OWNERS = {
    ("backends",): ("aiohttp", "http.client", "httpx", "httpx2", "openai", "requests", "socket", "urllib.request"),
    ("migrations", "writer", "store", "ledger"): ("sqlite3", "sqlite_utils"),
    ("panels",): ("anywidget", "comm", "ipykernel", "ipywidgets", "traitlets"),
}
LATE = {
    "aiohttp",
    "anywidget",
    "httpx2",
    "ipywidgets",
    "matplotlib",
    "openai",
    "pandas",
    "scipy",
    "sqlite_utils",
    "xllamacpp",
}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name: where it stands, what it names in full, and whether only a type checker reads it."""

    place: str
    room: str
    target: str
    for_types: bool


def test_imports_point_upwards():
    """No file imports from a line below its own, nor from a room beside it without a reason."""
    assert layer_faults(PACKAGE) == []


def test_libraries_stay_in_their_rooms():
    """Only backends/ reaches the network, only the store's line speaks SQL, only panels/ draws widgets."""
    assert owner_faults(PACKAGE) == []


def test_every_exception_is_used():
    """A pair in SAME_LINE that no import needs any more has to go."""
    used = {(each.room, _room_of(each.target, PACKAGE)) for each in _imports(PACKAGE)}
    assert set(SAME_LINE) - used == set()


def test_import_promptlab_is_light():
    """Importing promptlab loads none of the libraries that are used only in places."""
    code = "import sys, promptlab; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert LATE & set(done.stdout.split()) == set()


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file into a made-up package, and returns the package's folder."""
    package = tmp_path / "promptlab"

    def write(name, text):
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return package

    write("errors.py", "")
    write("store.py", "")
    return write


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        pytest.param("grids.py", "import promptlab.store", "grids.py:1 imports store, a line below it", id="plain"),
        pytest.param("grids.py", "from promptlab import store", "grids.py:1 imports store, a line below it", id="from"),
        pytest.param("grids.py", "from . import store", "grids.py:1 imports store, a line below it", id="relative"),
        pytest.param(
            "backends/http.py",
            "def send():\n    from ..store import Store",
            "backends/http.py:2 imports store, a line below it",
            id="in-a-function",
        ),
        pytest.param(
            "grids.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from promptlab.store import Store",
            "grids.py:3 imports store, a line below it",
            id="for-types",
        ),
        pytest.param(
            "grids.py", "import promptlab", "grids.py:1 imports __init__, a line below it", id="the-front-door"
        ),
        pytest.param(
            "ledger.py", "from promptlab.store import Store", "ledger.py:1 imports store beside it", id="beside"
        ),
        pytest.param("attic.py", "", "attic.py is in no line of the table", id="no-line"),
    ],
)
def test_a_bad_import_is_found(write, name, text, fault):
    """The check names file, line and target of an import that breaks the table, however it is written."""
    assert layer_faults(write(name, text)) == [fault]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("store.py", "from promptlab.errors import StoreError", id="above"),
        pytest.param("store.py", "from promptlab.migrations import migrate", id="beside-with-a-reason"),
        pytest.param("panels/matrix.py", "from promptlab.panels._panel import Panel", id="inside-a-package"),
        pytest.param("__init__.py", "from promptlab.store import Store", id="the-front-door"),
        pytest.param("grids.py", "import json\nfrom promptlabel import store", id="others"),
        pytest.param("store.py", "from promptlab import __version__", id="the-version"),
    ],
)
def test_a_good_import_passes(write, name, text):
    """The check lets through what the table allows."""
    assert layer_faults(write(name, text)) == []


@pytest.mark.parametrize(
    ("name", "text", "faults"),
    [
        pytest.param("run.py", "import openai", ["run.py:1 loads openai, which only backends may"], id="network"),
        pytest.param(
            "run.py",
            "from urllib import request",
            ["run.py:1 loads urllib.request, which only backends may"],
            id="part",
        ),
        pytest.param(
            "run.py",
            "def f():\n    import sqlite3",
            ["run.py:2 loads sqlite3, which only migrations, writer, store, ledger may"],
            id="sql",
        ),
        pytest.param(
            "run.py", "from ipywidgets import VBox", ["run.py:1 loads ipywidgets, which only panels may"], id="widgets"
        ),
        pytest.param("run.py", "from urllib.parse import urlsplit", [], id="harmless-part"),
        pytest.param("backends/http.py", "import openai", [], id="its-own-room"),
        pytest.param(
            "run.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import openai", [], id="types-alone"
        ),
    ],
)
def test_a_library_out_of_its_room_is_found(write, name, text, faults):
    """The check names who loads a library that belongs to another room."""
    assert owner_faults(write(name, text)) == faults


def layer_faults(package: Path) -> list[str]:
    """Return every import that does not point to a line above."""
    rooms = {_room(path, package): path for path in sorted(package.rglob("*.py"))}
    strays = [
        f"{path.relative_to(package)} is in no line of the table" for room, path in rooms.items() if room not in LINE_OF
    ]
    return strays + [fault for each in _imports(package) if (fault := _layer_fault(each, package))]


def owner_faults(package: Path) -> list[str]:
    """Return every import of a library outside the rooms it belongs to."""
    return [
        f"{each.place} loads {library}, which only {', '.join(rooms)} may"
        for each in _imports(package)
        for rooms, libraries in OWNERS.items()
        for library in libraries
        if f"{each.target}.".startswith(f"{library}.") and each.room not in rooms and not each.for_types
    ]


def _layer_fault(each: Import, package: Path) -> str | None:
    target = _room_of(each.target, package)
    if target is None or target == each.room or {target, each.room} - set(LINE_OF):
        return None
    if LINE_OF[target] > LINE_OF[each.room]:
        return f"{each.place} imports {target}, a line below it"
    if LINE_OF[target] == LINE_OF[each.room] and (each.room, target) not in SAME_LINE:
        return f"{each.place} imports {target} beside it"
    return None


def _room(path: Path, package: Path) -> str:
    """Return the room a file belongs to: its own name, or its package's."""
    return path.relative_to(package).parts[0].removesuffix(".py")


def _room_of(target: str, package: Path) -> str | None:
    """Return the room an imported name belongs to, None where it is not ours."""
    top, _, rest = target.partition(".")
    room = rest.partition(".")[0]
    if top != package.name or rest == "__version__":  # a constant of the package, no room
        return None
    return room if room in LINE_OF or (package / f"{room}.py").exists() else "__init__"


def _imports(package: Path) -> Iterator[Import]:
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for_types = set(_nodes_for_types(tree))
        for node in ast.walk(tree):
            for target in _targets(node, path, package):
                place = f"{path.relative_to(package)}:{node.lineno}"
                yield Import(place, _room(path, package), target, node in for_types)


def _nodes_for_types(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for child in node.body:
                yield from ast.walk(child)


def _targets(node: ast.AST, path: Path, package: Path) -> list[str]:
    """Return the full names that an import statement names, none for any other node."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    parents = path.relative_to(package.parent).parts[: -node.level] if node.level else ()
    module = ".".join([*parents, *filter(None, [node.module])])
    return [f"{module}.{alias.name}" for alias in node.names]
