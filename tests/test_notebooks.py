"""The notebooks and the file they were recorded in: nothing is sent, nothing is changed, and the file is sound.

That their stored outputs come out again is nbval's part (`make notebooks`); here they run on a backend that refuses.
"""

import hashlib
import json
import linecache
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from promptlab import Lab, LocalModel, demo
from promptlab.migrations import SCHEMA_VERSION

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
FILE = ROOT / "experiments.db"


class Refusing(LocalModel):
    """The local model's name without the model: whoever starts or asks it fails."""

    def start(self):
        """Fail."""
        pytest.fail("the notebook started the model")

    async def send(self, request, **_):
        """Fail."""
        pytest.fail(f"the notebook sent {request.body}")


def digest(path):
    """Return the hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def code(path):
    """Return the sources of a notebook's code cells."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A copy of the recorded file, and a folder beside it to run notebooks in."""
    shutil.copyfile(FILE, tmp_path / "experiments.db")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_sends_nothing_and_leaves_its_file_as_it_was(path, workplace):
    """Run again, a notebook finds every answer in the file, and the file keeps its bytes."""
    before = digest(FILE)
    namespace = {"display": lambda *_: None}
    for number, source in enumerate(code(path)):
        name = f"<cell {number} of {path.stem}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)  # as a kernel does
        exec(compile(source, name, "exec"), namespace)  # noqa: S102 - our own notebooks
        if "LocalModel" in namespace:
            namespace["LocalModel"] = Refusing
    assert digest(workplace / "experiments.db") == before
    assert sorted(file.name for file in workplace.iterdir()) == ["experiments.db", "notebooks"]


def test_the_first_notebook_is_the_demo(workplace):
    """Notebook 01 writes out the prompts, settings and cases of the demo, so both share their answers."""
    namespace = {"display": lambda *_: None}
    for source in code(NOTEBOOKS[0]):
        if "lab.plan" in source:
            break
        exec(source, namespace)  # noqa: S102 - our own notebook
    namespace["lab"].close()
    assert namespace["templates"] == demo.templates()
    assert namespace["grid"] == demo.grid()
    assert namespace["cases"] == demo.reviews()


def test_the_recorded_file_is_sound_and_of_the_newest_schema():
    """experiments.db passes SQLite's check, has today's schema, and is small and in rollback mode."""
    with closing(sqlite3.connect(f"{FILE.as_uri()}?mode=ro", uri=True)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert connection.execute("pragma foreign_key_check").fetchall() == []
        assert connection.execute("pragma user_version").fetchone() == (SCHEMA_VERSION,)
        assert connection.execute("pragma journal_mode").fetchone() == ("delete",)
    assert FILE.stat().st_size < 4_000_000


def test_the_recorded_file_names_no_machine():
    """Neither the host nor a path of the machine that recorded it is in the file."""
    with Lab(FILE, offline=True) as lab:
        assert lab.sql("select distinct host, git_commit from runs").to_numpy().tolist() == [[None, None]]


def test_every_answer_in_the_recorded_file_has_its_exchange():
    """Each trial that is done has an attempt with the exact request and the exact response."""
    query = """
        select count(*) as trials, sum(length(requests.body) > 0 and length(attempts.response) > 0) as kept
        from trials_view join attempts on attempts.id = attempt_id join requests on requests.id = trials_view.request_id
        where trials_view.state = 'done'
    """
    with Lab(FILE, offline=True) as lab:
        found = lab.sql(query).iloc[0]
    assert found["trials"] == found["kept"] > 0
