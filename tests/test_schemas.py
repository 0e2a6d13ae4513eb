"""Files of every released schema: each opens, is brought up to date, and loses nothing, whatever happens meanwhile.

`schemas/` keeps one file a schema, written by the release that had it, with answered, failed, stopped and unknown
samples, scores, ratings and votes.
"""

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from files import beside
from processes import run_python, start_python
from promptlab import Lab, PromptTemplate
from promptlab.migrations import SCHEMA_VERSION
from promptlab.testing import ScriptedBackend

HERE = Path(__file__).parent
SCHEMAS = sorted((HERE / "schemas").glob("schema*.db"))


@pytest.fixture(params=SCHEMAS, ids=lambda path: path.stem)
def old(request, tmp_path):
    """A copy of a file of an older schema."""
    return Path(shutil.copy(request.param, tmp_path / "lab.db"))


def tables(path):
    """Return every row of every table of a file, by the columns it has; what SQLite and FTS keep is left out."""
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        ours = [name for name in names if "_fts" not in name and not name.startswith(("sqlite_", "_sqlite_"))]
        return {name: pd.read_sql(f'select * from "{name}"', connection) for name in ours}  # noqa: S608 - the file's own


def in_old_columns(new, old):
    """Return the rows of a migrated file in the columns that they had before."""
    return {name: new[name][list(rows.columns)] for name, rows in old.items()}


def are_equal(new, old):
    """Whether the frames of two files are the same."""
    return {name: new[name].equals(rows) for name, rows in old.items()} == dict.fromkeys(old, True)


def test_there_is_a_file_of_every_released_schema():
    """Whoever adds a migration keeps a file of the schema before it."""
    assert [path.name for path in SCHEMAS] == [f"schema{version}.db" for version in range(1, SCHEMA_VERSION)]


def test_old_schemas(old):
    """It opens and is brought up to date: checks find nothing, and old and new rows are searched."""
    before, name = tables(old), f"{old.name}.schema{schema_of(old)}.bak"
    with Lab(old, backend=ScriptedBackend("a needle")) as lab:
        assert lab.check().problems == []
        lab.ask(PromptTemplate("new", user="Where in the haystack?"), model="m")
        places = {text: {hit.matched for hit in lab.search(text)} for text in ("refund", "terse", "needle", "haystack")}
        assert places == {"refund": {"output"}, "terse": {"prompt"}, "needle": {"output"}, "haystack": {"prompt"}}
        assert lab.search("refund", status="ok").frame()["output_id"].nunique() == len(before["outputs"])
    assert beside(old) == [old.name, name]
    assert are_equal(tables(old.with_name(name)), before)


def schema_of(path):
    """Return a file's schema."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("pragma user_version").fetchone()[0]


def test_rows_and_frames_stay_as_they_were(old, tmp_path):
    """Every table has its rows in the old columns, and every run shows what it showed in the release that wrote it."""
    before = tables(old)
    shown = {run: shown_by_first_release(old, run) for run in before["runs"]["id"]}
    with Lab(old, backend=ScriptedBackend("x")) as lab:
        frames = {run: lab.load(int(run)).frame() for run in shown}
    assert are_equal(in_old_columns(tables(old), before), before)
    for run, rows in shown.items():
        frame = frames[run].astype(object).where(frames[run].notna(), None)
        columns = ["position", "output", "finish_reason", "trial_id", "sample_id"]
        assert [tuple(row) for row in frame[columns].to_numpy()] == rows


def shown_by_first_release(path, run):
    """Return what `run.frame()` of 0.1.0 reads, in some of its columns."""
    sql = """
    select trials.position, outputs.text, outputs.finish_reason, trials.id, samples.id
    from trials join samples on samples.id = trials.sample_id left join outputs on outputs.id = samples.output_id
    where trials.run_id = ? order by trials.position
    """
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, (int(run),)).fetchall()


# A process that opens a file, and is killed when SQLite is about to run its n-th statement; without points it tells how
# many statements there are.
KILLED = """
import os, shutil, signal, sys
from promptlab.store import Store
import sqlite_utils
source, folder, *points = sys.argv[1:]

class Killed(Store):
    point, seen = None, 0
    def count(self, _):
        self.seen += 1
        if self.seen == self.point:
            os.kill(os.getpid(), signal.SIGKILL)
    def _open(self, *arguments, **options):
        connection = super()._open(*arguments, **options)
        connection.set_trace_callback(self.count)
        return connection

if not points:
    print(Killed(shutil.copy(source, f"{folder}/whole.db")).seen)
for point in points:
    path = shutil.copy(source, f"{folder}/{point}.db")
    if os.fork() == 0:
        Killed.point = int(point)
        Killed(path)
        os._exit(0)
    print(os.wait()[1])
"""


@pytest.mark.crash
def test_migrate_killed(old, tmp_path):
    """Killed before any statement of the migration, the next one to open the file finds all of it."""
    before = tables(old)
    statements = int(run_python(KILLED, old, tmp_path))
    points = random.Random(12).sample(range(1, statements + 1), min(40, statements))
    ends = run_python(KILLED, old, tmp_path, *points).split()
    assert (ends, statements > 20) == (["9"] * len(points), True)
    for point in points:
        path = tmp_path / f"{point}.db"
        with Lab(path, backend=ScriptedBackend("x")) as lab:
            assert lab.check().problems == []
        assert schema_of(path) == SCHEMA_VERSION
        assert are_equal(in_old_columns(tables(path), before), before)


RACE = """
import sys, time
from pathlib import Path
from promptlab.store import Store
folder, worker, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(rounds):
    (folder / f"{number}.{worker}.ready").touch()
    while len(list(folder.glob(f"{number}.*.ready"))) < 4:
        time.sleep(0.0005)
    store = Store(folder / f"{number}.db")
    insert = "insert into views (name, spec, created_at) values (?, '', '')"
    store.write(lambda c: c.execute(insert, (worker,))).result()
    store.close()
"""


@pytest.mark.slow
def test_migrate_race(old, tmp_path):
    """Four processes open one old file at once and write to it, forty times: nobody fails, and it is migrated once."""
    before, rounds = tables(old), 40
    for number in range(rounds):
        shutil.copy(old, tmp_path / f"{number}.db")
    processes = [start_python(RACE, tmp_path, worker, rounds) for worker in range(4)]
    assert [process.communicate(timeout=120) for process in processes] == [("", "")] * 4
    for number in range(rounds):
        with closing(sqlite3.connect(tmp_path / f"{number}.db")) as connection:
            found = connection.execute("select name from views order by name").fetchall()
            applied = connection.execute("select count(*) from _sqlite_migrations").fetchone()[0]
            sound = connection.execute("pragma integrity_check").fetchone()[0]
        assert (found, applied, sound) == ([("0",), ("1",), ("2",), ("3",)], SCHEMA_VERSION, "ok")
    after = in_old_columns(tables(tmp_path / "0.db"), before)
    assert are_equal({**after, "views": before["views"]}, before)
