"""What is in the repository, and what must never be: paths of a machine, hosts of registries, keys, stale outputs."""

import json
import re
import subprocess
from pathlib import Path

import pytest

import promptlab

ROOT = Path(__file__).parent.parent
SKIPPED_FOLDERS = {".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}

# Written so that no pattern matches its own line here.
FORBIDDEN = {
    "a path of one machine": rb"/(?:work|root|home)/",
    "a folder outside the repository": rb"\.\./shared",
    "a host of a registry or CDN": rb"://[^\s\"'<>]*(?:pypi|pythonhosted|npmjs|debian|jsdelivr|unpkg)",
    "an address of a package index": rb"(?:--|extra-)index-url",
    "a key": rb"\bsk-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{36}|\bAKIA[0-9A-Z]{16}\b|\bBearer [A-Za-z0-9._-]{20,}",
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY",
}


def test_no_file_holds_what_belongs_elsewhere():
    """No file, the database included, holds a machine's paths, a registry's host or anything like a key."""
    faults = [f"{path.relative_to(ROOT)}: {fault}" for path in tracked_files(ROOT) for fault in content_faults(path)]
    assert faults == []


def test_every_notebook_was_run_and_holds_no_widget_state():
    """Every code cell has its execution count, so that nbval compares it, and no notebook goes blank offline."""
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert notebooks
    assert [f"{path.name}: {fault}" for path in notebooks for fault in notebook_faults(path)] == []


def test_the_changelog_has_this_version():
    """The version that is installed has its entry."""
    assert f"## [{promptlab.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        pytest.param("/home" + "/ann/x.db", ["a path of one machine"], id="path"),
        pytest.param("https://py" + "pi.org/simple", ["a host of a registry or CDN"], id="registry"),
        pytest.param("pip install --index" + "-url x", ["an address of a package index"], id="index"),
        pytest.param("sk-proj-" + "A1b2" * 6, ["a key"], id="key"),
        pytest.param("Authorization: Bearer " + "A1b2" * 6, ["a key"], id="header"),
        pytest.param("-----BEGIN " + "RSA PRIVATE KEY-----", ["a private key"], id="private-key"),
        pytest.param("see ../" + "shared", ["a folder outside the repository"], id="outside"),
        pytest.param("api_key='sk-test-1234567890' at https://api.openai.com/v1", [], id="made-up-key"),
    ],
)
def test_forbidden_content_is_found(tmp_path, text, faults):
    """The check finds each kind of content that must not be there, and lets made-up short keys pass."""
    path = tmp_path / "file"
    path.write_bytes(b"\xff\x00" + text.encode())
    assert content_faults(path) == faults


CODE = {"cell_type": "code", "source": ["1 + 1"], "execution_count": 1, "outputs": []}


@pytest.mark.parametrize(
    ("notebook", "faults"),
    [
        pytest.param({"cells": [CODE], "metadata": {}}, [], id="good"),
        pytest.param(
            {"cells": [{**CODE, "execution_count": None}], "metadata": {}}, ["cell 0 was not run"], id="not-run"
        ),
        pytest.param({"cells": [{**CODE, "source": [], "execution_count": None}], "metadata": {}}, [], id="empty-cell"),
        pytest.param({"cells": [CODE], "metadata": {"widgets": {}}}, ["it holds widget state"], id="widgets"),
        pytest.param({"cells": [], "metadata": {}}, ["it has no code"], id="no-code"),
    ],
)
def test_a_stale_notebook_is_found(tmp_path, notebook, faults):
    """The check finds cells without a count, saved widget state and notebooks without code."""
    path = tmp_path / "notebook.ipynb"
    path.write_text(json.dumps(notebook))
    assert notebook_faults(path) == faults


def test_files_are_listed_without_git(tmp_path):
    """Outside a git checkout all files count, those of caches and environments apart."""
    for name in ("a.py", ".venv/b.py", "sub/__pycache__/c.pyc", "sub/d.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert tracked_files(tmp_path) == [tmp_path / "a.py", tmp_path / "sub/d.md"]


def tracked_files(root: Path) -> list[Path]:
    """Return the files that git tracks or would track, else all files outside environments and caches."""
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
        paths = [root / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in root.rglob("*") if not SKIPPED_FOLDERS & set(path.relative_to(root).parts)]
    return sorted(path for path in paths if path.is_file())


def content_faults(path: Path) -> list[str]:
    """Return the names of what a file holds and must not."""
    content = path.read_bytes()
    return [name for name, pattern in FORBIDDEN.items() if re.search(pattern, content)]


def notebook_faults(path: Path) -> list[str]:
    """Return what makes a notebook unfit to be shipped."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [(number, cell) for number, cell in enumerate(notebook["cells"]) if cell["cell_type"] == "code"]
    not_run = [f"cell {number} was not run" for number, cell in code if cell["source"] and not cell["execution_count"]]
    widgets = ["it holds widget state"] if "widgets" in notebook["metadata"] else []
    return not_run + widgets + ([] if code else ["it has no code"])
