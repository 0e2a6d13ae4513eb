"""A file that somebody sent: whatever is in it, reading ends, nothing is written elsewhere, and nothing of it runs."""

import hashlib
import shutil
import sqlite3
from contextlib import closing

import pytest

from processes import HERE, run_python
from promptlab import Lab
from promptlab.errors import ReadOnlyError, StoreError
from promptlab.migrations import TABLES
from promptlab.store import Store
from promptlab.testing import ScriptedBackend
from studies import plan_of

ENDLESS = "with recursive n (i) as (select 1 union all select i + 1 from n) select i as run from n"
HUGE = "select hex(zeroblob(400000000)) as run"
SLOW = f"select count(*) as run from (select randomblob(1000000) as blob from ({ENDLESS}) order by blob)"  # noqa: S608 - made here
TOO_LONG = "the query took too long and was ended; narrow it with WHERE or LIMIT"
REFUSED = [
    f"this query is not allowed ({why}): lab.sql reads this file only; SELECT and WITH are all it takes"
    for why in ("not authorized", "authorization denied")
]

READ = """
import os, sys
sys.path.insert(0, ".")
from studies import plan_of
from promptlab import Lab, PromptlabError
from promptlab.testing import ScriptedBackend
folder, copy = sys.argv[1:]
os.chdir(folder)
with Lab("lab.db", backend=ScriptedBackend()) as lab:
    plan, run = plan_of(lab, 3), lab.load(1)
    for each in (lab, lab.runs(), plan, plan.explain(plan[0]), run, run.frame(), run.errors, run.usage, lab.request(1)):
        repr(each), getattr(each, "_repr_html_", str)()
    print(run.outputs, lab.run(plan, name="study", progress=False).id)
    for query in ("select max(run) as run from trials_view", "attach 'stolen.db' as other", "vacuum into 'stolen.db'"):
        try:
            print(lab.sql(query)["run"].tolist())
        except PromptlabError as exc:
            print(exc)
    lab.store.copy_to(copy)
print(sorted(os.listdir()))
"""


@pytest.fixture
def sent(tmp_path):
    """A finished study of somebody else's, as `lab.store.copy_to` makes a file for sharing, alone in a folder."""
    folder = tmp_path / "sent"
    folder.mkdir()
    with Lab(tmp_path / "theirs.db", backend=ScriptedBackend()) as lab:
        lab.run(plan_of(lab, 3), name="study", progress=False)
        return lab.store.copy_to(folder / "lab.db")


def spoil(path, *statements):
    """Change a file as its sender might have, and return the hash of what it is then."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    return sha256(path)


def sha256(path):
    """Return the hash of a file's bytes. Only for files that nothing in this process has open: see promptlab.store."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def trigger(name, table, work="delete from outputs"):
    """Return a trigger that does its work with every row that is inserted."""
    return f"create trigger {name} after insert on {table} begin {work}; end"


@pytest.mark.parametrize(
    ("statements", "shown"),
    [
        pytest.param([], "['study']", id="honest"),
        pytest.param(["drop view trials_view", f"create view trials_view as {ENDLESS}"], TOO_LONG, id="endless-view"),
        pytest.param(
            ["drop view trials_view", f"create view trials_view as {HUGE}"],
            "the query failed: string or blob too big",
            id="huge-view",
        ),
        pytest.param(
            ["drop view trials_view", f"create view trials_view as {SLOW}"],
            TOO_LONG,
            id="view-with-slow-steps",
            marks=pytest.mark.soak,
        ),
        pytest.param([trigger("evil", "runs"), trigger("worse", "attempts")], "['study']", id="triggers"),
    ],
)
def test_untrusted_db(sent, statements, shown):
    """Every reading call ends, says what it would not do, leaves the file as it was, and makes no file but the copy."""
    before = spoil(sent, *statements)
    copy = sent.parent.parent / "copy.db"
    said = run_python(READ, sent.parent, copy).splitlines()
    assert said == ["['ok', 'ok', 'ok'] 1", shown, *REFUSED, "['lab.db']"]
    assert (sha256(sent), copy.stat().st_mode & 0o777) == (before, 0o600)


def test_a_file_with_triggers_is_only_read(sent):
    """Writing to it would run them; the error names them and says what to do."""
    before = spoil(sent, trigger('"of ""theirs"""', "runs"))
    with Lab(sent, backend=ScriptedBackend()) as lab, pytest.raises(ReadOnlyError) as caught:
        lab.run(plan_of(lab, 4), progress=False)
    assert str(caught.value) == (
        f'{sent} holds triggers that promptlab did not make (of "theirs"), which would run with what is written;'
        " it is read only until they are dropped"
    )
    assert (lab.backend.requests, sha256(sent)) == ([], before)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_view_in_the_place_of_a_table_is_refused(sent, name):
    """Each of our tables could be a view without an end, whatever its letters; the file is not read further."""
    spoil(sent, f"drop table if exists {name}", f"create view {name.title()} as {ENDLESS}")
    with pytest.raises(StoreError, match=rf"is not what it says: {name.title()} should be tables, and are views; name"):
        Store(sent)


def test_triggers_in_an_older_file_do_not_run_when_it_is_migrated(tmp_path):
    """It is read through a migrated copy without them, and stays as it is."""
    path = tmp_path / "lab.db"
    shutil.copy(HERE / "schemas" / "schema1.db", path)
    before = spoil(path, trigger("evil", "_sqlite_migrations", "delete from runs"))
    with Lab(path, offline=True, base_url="http://127.0.0.1:9/v1") as lab:
        assert (lab.store.is_read_only, len(lab.runs()) > 0) == (True, True)
    assert ({each.name for each in tmp_path.iterdir()}, sha256(path)) == ({"lab.db"}, before)
