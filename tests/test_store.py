"""The store: one file, opened with care, and never made worse."""

import os
import sqlite3
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from files import beside, sha256
from processes import run_python, start_python, wait_until
from promptlab.errors import ReadOnlyError, StoreError
from promptlab.migrations import APPLICATION_ID, SCHEMA_VERSION
from promptlab.store import READ_ROWS, Store, StoreWarning, choose_journal


@pytest.fixture
def path(tmp_path):
    """Where the store's file is."""
    return tmp_path / "lab.db"


@pytest.fixture
def store(path):
    """A fresh store."""
    with closing(Store(path)) as store:
        yield store


def add_case(connection, *, key):
    """Insert one row."""
    connection.execute("insert into cases (key, inputs) values (?, '{}')", (key,))


def add(store, *keys):
    """Write rows and wait for their commit."""
    for future in [store.write(partial(add_case, key=key)) for key in keys]:
        future.result()


def keys(store):
    """Return the rows written by `add`."""
    return [row["key"] for row in store.read("select key from cases order by id")]


def made(path, *keys, wal=True):
    """Make a file with some rows, at rest; without `wal` as `copy_to` leaves it."""
    source = path if wal else path.with_name("source.db")
    with closing(Store(source)) as store:
        add(store, *keys)
        if not wal:
            store.copy_to(path)
    if not wal:
        source.unlink()
    return path


# Making and opening


def test_a_new_file_and_its_log_are_for_their_owner_alone(store, path):
    """The file, its log and its shared memory are made with mode 0600, whatever the umask says."""
    add(store, "a")
    modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    assert modes == {"lab.db": 0o600, "lab.db-wal": 0o600, "lab.db-shm": 0o600}


def test_what_was_written_is_read_by_the_next(path):
    """Rows survive the store they were written through."""
    made(path, "a", "b")
    with closing(Store(path)) as store:
        assert keys(store) == ["a", "b"]


def test_a_large_read_comes_in_batches(store):
    """No row is lost between two of them, and an error is one of ours."""
    counted = "with recursive n (i) as (select 0 union all select i + 1 from n where i < ?) select i from n"
    batches = list(store.batches(counted, (2 * READ_ROWS,)))
    assert [len(rows) for rows in batches] == [READ_ROWS, READ_ROWS, 1]
    assert [row[0] for rows in batches for row in rows] == list(range(2 * READ_ROWS + 1))
    with pytest.raises(StoreError, match="could not be read"):
        list(store.batches("select absent"))


def test_a_missing_folder_is_named(tmp_path):
    """A file in a folder that is not there is an error, not a new folder."""
    with pytest.raises(StoreError, match=r"gone does not exist; name a folder that is there$"):
        Store(tmp_path / "gone" / "lab.db")


def test_a_file_is_not_made_where_none_is_wanted(path):
    """Offline there must be a file, and none appears."""
    with pytest.raises(StoreError, match=r"lab.db does not exist; name the file that holds the answers$"):
        Store(path, create=False)
    assert beside(path) == []


def test_a_folder_is_no_file(tmp_path):
    """A folder's name is refused."""
    with pytest.raises(StoreError, match="is a folder; name a file in it"):
        Store(tmp_path)


def test_awkward_names_are_names(tmp_path):
    """A name that means something in an address is a name here."""
    with closing(Store(tmp_path / "a?mode=ro#b%20c d.db")) as store:
        add(store, "a")
        assert keys(store) == ["a"]
    assert beside(tmp_path / "x") == ["a?mode=ro#b%20c d.db"]


def test_the_home_folder_can_be_abbreviated(tmp_path, monkeypatch):
    """A path may begin with ~, as in a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with closing(Store("~/lab.db")) as store:
        assert store.path == tmp_path / "lab.db"


def garbage(path):
    """Write something that is no database."""
    path.write_bytes(b"experiments, a diary\n" * 100)


def scrap(path):
    """Write a few bytes, which SQLite takes for an empty file."""
    path.write_bytes(b"x")


def foreign(path):
    """Make another program's database."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table bookmarks (url)")


def marked(path):
    """Make an empty database of another program, which marks its files."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma application_id = 7")


def truncated(path):
    """Cut a file of ours in half."""
    made(path, *map(str, range(200)))
    os.truncate(path, path.stat().st_size // 2)


def overwritten(path):
    """Overwrite one page of a file of ours."""
    made(path, *map(str, range(200)))
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xa5" * 4096)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(garbage, "file is not a database; it is not a promptlab file; name another one", id="garbage"),
        pytest.param(scrap, "is not a promptlab file; name another one", id="scrap"),
        pytest.param(foreign, "is another program's SQLite file; name another one", id="foreign"),
        pytest.param(marked, "is another program's SQLite file; name another one", id="marked"),
        pytest.param(truncated, r"damaged.*; copy it, then try `sqlite3 FILE .recover`", id="truncated"),
        pytest.param(overwritten, r"damaged.*; copy it, then try `sqlite3 FILE .recover`", id="overwritten"),
    ],
)
def test_corrupt_db(path, make, message):
    """What is damaged or not ours is refused with what it is; its bytes stay, and nothing appears beside it."""
    make(path)
    before = sha256(path)
    with pytest.raises(StoreError, match=message):
        Store(path)
    assert (sha256(path), beside(path)) == (before, ["lab.db"])


def test_an_empty_file_becomes_ours(path):
    """A file without a byte, such as mktemp makes, is as good as none."""
    path.touch()
    with closing(Store(path)) as store:
        add(store, "a")
        assert keys(store) == ["a"]


# Reading without a trace


@pytest.mark.parametrize("wal", [pytest.param(True, id="wal"), pytest.param(False, id="rollback-journal")])
def test_reading_leaves_the_file_byte_for_byte_as_it_was(path, wal):
    """A file that is only read keeps its bytes and its journal mode, and nothing appears beside it."""
    made(path, "a", wal=wal)
    before = sha256(path)
    with closing(Store(path)) as store:
        found = keys(store)
        names = beside(path)
    assert (found, sha256(path), beside(path)) == (["a"], before, ["lab.db"])
    if not wal:
        assert names == ["lab.db"]


def test_the_first_write_switches_to_wal(path):
    """Only when there is something to write does the file change its mode."""
    made(path, "a", wal=False)
    with closing(Store(path)) as store:
        assert store.read("pragma journal_mode")[0][0] == "delete"
        add(store, "b")
        assert keys(store) == ["a", "b"]
        assert store.read("pragma journal_mode")[0][0] == "wal"


def test_where_there_is_no_shared_memory_a_warning_says_so(path):
    """A place that cannot do WAL (here: memory) is written all the same, and there is something to warn of."""
    with closing(sqlite3.connect(":memory:")) as connection:
        warning = choose_journal(connection, path)
    assert warning.startswith(
        f"{path} is on a file system without shared memory, where write-ahead logging is not safe"
    )


class NetworkStore(Store):
    """A store that takes its file for one on a network file system."""

    def _network_type(self):
        return "nfs4"


def test_on_a_network_file_system_the_log_is_not_shared_memory(path):
    """There a file is written with a truncated journal, synced in full, and one warning a store says what it means."""
    with closing(NetworkStore(path)) as store:
        with pytest.warns(StoreWarning, match=r"network file system \(nfs4\), where .*one machine write at a time"):
            add(store, "a")
        store.close()
        add(store, "b")
        mode, sync = store.write(
            lambda c: [c.execute(f"pragma {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
        ).result()
        assert (mode, sync, keys(store)) == ("truncate", 2, ["a", "b"])
        assert beside(path) == ["lab.db", "lab.db-journal"]


def test_a_file_in_wal_mode_leaves_it_on_a_network_file_system(path):
    """What was written on a local disk is switched when it is opened; who has it open already is not disturbed."""
    made(path, "a")
    with closing(Store(path)) as other, closing(sqlite3.connect(path)) as elsewhere:
        assert keys(other) == ["a"]
        with closing(NetworkStore(path)) as store, pytest.warns(StoreWarning, match="network"):
            add(store, "b")
        assert (keys(other), elsewhere.execute("pragma journal_mode").fetchone()) == (["a", "b"], ("wal",))
    NetworkStore(path).close()
    with closing(sqlite3.connect(path)) as elsewhere:
        assert elsewhere.execute("pragma journal_mode").fetchone() == ("delete",)  # a truncated journal, from elsewhere


def test_switching_to_wal_waits_for_whoever_writes(path):
    """Here SQLite itself would give up at once, so that of several processes that begin together all but one failed."""
    made(path, wal=False)
    tried = threading.Semaphore(0)
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection,
    ):
        connection.set_trace_callback(lambda _: tried.release())
        other.execute("begin immediate")
        switching = threading.Thread(target=choose_journal, args=(connection, path))
        switching.start()
        assert tried.acquire(timeout=10)
        assert tried.acquire(timeout=10)  # it tries again, so the first time it failed
        other.execute("commit")
        switching.join(10)
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


LOOK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("select count(*) from cases").fetchone())
connection.close()
"""


def test_a_second_store_in_this_process_does_not_drop_the_locks_of_the_first(store, path):
    """Opening the file again, as a cell that is run again does, leaves the first one's log to the first one."""
    add(store, "a")
    Store(path).close()
    run_python(LOOK, path)  # the last one to close takes the log away
    add(store, "b")
    assert run_python(LOOK, path) == "(2,)\n"


# Read-only files

READ_ONLY = """
import os, sys
from pathlib import Path
from promptlab.store import Store
from promptlab.errors import ReadOnlyError
path = Path(sys.argv[1])
store = Store(path)
print([row["key"] for row in store.read("select key from cases")], store.query("select 1")[1], store.is_read_only)
try:
    store.write(lambda connection: None)
except ReadOnlyError as exc:
    print(exc)
print(sorted(os.listdir(path.parent)))
store.close()
"""


@pytest.mark.parametrize("wal", [pytest.param(True, id="wal"), pytest.param(False, id="rollback-journal")])
@pytest.mark.parametrize("modes", [pytest.param((0o444, 0o755), id="file"), pytest.param((0o644, 0o555), id="folder")])
def test_readonly_db(tmp_path, wal, modes):
    """A read-only file, or one in a read-only folder, opens, says why it cannot be written, and leaves no trace."""
    (tmp_path / "shelf").mkdir()
    path = made(tmp_path / "shelf" / "lab.db", "a", wal=wal)
    path.chmod(modes[0])
    path.parent.chmod(modes[1])
    before = sha256(path)
    said = run_python(READ_ONLY, path, as_anybody=True).splitlines()
    assert said == [
        "['a'] [(1,)] True",
        f"{path} cannot be written here; copy it to a folder of yours to add to it",
        "['lab.db']",
    ]
    assert sha256(path) == before


OPEN = """
import sys
from promptlab.store import Store
from promptlab.errors import StoreError
try:
    Store(sys.argv[1]).close()
except StoreError as exc:
    print(exc)
"""


@pytest.mark.parametrize(
    ("content", "modes", "sentence"),
    [
        pytest.param(
            None, (0, 0o555), "cannot be made: Permission denied; name a folder that can be written", id="new"
        ),
        pytest.param(b"", (0o444, 0o555), "is empty and cannot be written here; name another file", id="empty"),
        pytest.param(
            b"x", (0o000, 0o755), "could not be opened: unable to open database file; check its folder", id="unreadable"
        ),
    ],
)
def test_a_place_that_gives_nothing_is_told(tmp_path, content, modes, sentence):
    """Where a file can neither be made nor read, the error says which file and what to do."""
    (tmp_path / "shelf").mkdir()
    path = tmp_path / "shelf" / "lab.db"
    if content is not None:
        path.write_bytes(content)
        path.chmod(modes[0])
    path.parent.chmod(modes[1])
    assert run_python(OPEN, path, as_anybody=True).startswith(f"{path} {sentence}")


def test_newer_schema(path):
    """A schema of a later version is read, never written, and the sentence says what to do."""
    made(path, "a", wal=False)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")
    before = sha256(path)
    schemas = f"schema {SCHEMA_VERSION + 1}, this one knows {SCHEMA_VERSION}"
    sentence = f"was written by a newer promptlab ({schemas}); upgrade to write to it"
    with closing(Store(path)) as store:
        assert (keys(store), store.is_read_only, repr(store)) == (["a"], True, f"<Store {path} (read only)>")
        with pytest.raises(ReadOnlyError) as caught:
            store.write(partial(add_case, key="b"))
    assert (str(caught.value), sha256(path), beside(path)) == (f"{path} {sentence}", before, ["lab.db"])


def test_a_query_that_fails_on_a_newer_file_says_why(path):
    """Where a later schema has another shape, the error names the reason beside SQLite's own words."""
    made(path, wal=False)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("alter table cases rename to situations")
        connection.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")
    with closing(Store(path)) as store, pytest.raises(StoreError, match=r"no such table: cases; .*newer promptlab"):
        keys(store)


def older(path):
    """Make a file of ours from before the first schema: marked, with a table of its own."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"pragma application_id = {APPLICATION_ID}")
        connection.execute("create table kept (text)")
        connection.execute("insert into kept values ('old')")
        connection.commit()
    path.chmod(0o600)
    return path


def test_an_older_file_is_backed_up_and_migrated(path):
    """It gets the newest schema at once, and what it was is kept beside it, for its owner alone."""
    older(path)
    with closing(Store(path)) as store:
        add(store, "a")
        assert (store.read("select text from kept")[0][0], keys(store)) == ("old", ["a"])
    backup = path.with_name("lab.db.schema0.bak")
    with closing(sqlite3.connect(backup)) as connection:
        found = list(connection.iterdump())
    assert found == [
        "BEGIN TRANSACTION;",
        "CREATE TABLE kept (text);",
        "INSERT INTO \"kept\" VALUES('old');",
        "COMMIT;",
    ]
    assert (beside(path), backup.stat().st_mode & 0o777) == (["lab.db", "lab.db.schema0.bak"], 0o600)


def test_a_backup_has_what_was_only_in_the_log(path):
    """Rows that a crashed program left in the write-ahead log are in the backup as well."""
    older(path)
    code = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("pragma journal_mode = wal")
connection.execute("insert into kept values ('in the log')")
connection.commit()
os._exit(0)
"""
    run_python(code, path)
    Store(path).close()
    with closing(sqlite3.connect(path.with_name("lab.db.schema0.bak"))) as connection:
        assert connection.execute("select text from kept").fetchall() == [("old",), ("in the log",)]


def test_a_read_only_file_of_an_older_schema_is_read_through_a_copy(tmp_path):
    """It is brought up to date in a temporary copy that goes with the store; the file stays as it is."""
    (tmp_path / "shelf").mkdir()
    path = older(tmp_path / "shelf" / "lab.db")
    path.chmod(0o444)
    path.parent.chmod(0o555)
    before = sha256(path)
    code = READ_ONLY.replace("print([", "store.read('select text from kept'); print([").replace("[(1,)]", "")
    said = run_python(code, path, as_anybody=True).splitlines()
    assert (said[0], said[2], sha256(path)) == ("[] [(1,)] True", "['lab.db']", before)


# Threads, and files that cannot grow


def test_each_thread_reads_on_a_connection_of_its_own(store):
    """Many threads read at once, and what ended threads used is given back."""
    add(store, "a")
    found = []
    for _ in range(20):
        thread = threading.Thread(target=lambda: found.append(keys(store)))
        thread.start()
        thread.join()
    assert (found, len(store._readers)) == ([["a"]] * 20, 1)


def test_it_can_be_used_again_after_close(store):
    """Closing gives back connections; the next use opens new ones."""
    add(store, "a")
    store.close()
    add(store, "b")
    assert keys(store) == ["a", "b"]


FULL = """
import resource, sys
from promptlab.store import Store
from promptlab.errors import StoreError
def add(connection, key, size):
    connection.execute("insert into cases (key, inputs) values (?, ?)", (key, "x" * size))
store = Store(sys.argv[1])
store.write(lambda c: add(c, "before", 10)).result()
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
try:
    store.write(lambda c: add(c, "too much", 5_000_000)).result()
except StoreError as exc:
    print(exc)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.write(lambda c: add(c, "after", 10)).result()
print([row[0] for row in store.read("select key from cases order by id")], store.read("pragma integrity_check")[0][0])
store.close()
"""


def test_a_disk_that_cannot_take_it_is_one_clear_error(path):
    """When a file may not grow the write fails with advice; earlier rows are there, and later ones can be written."""
    said = run_python(FULL, path).splitlines()
    assert said[0].startswith(
        f"{path} could not be written: disk I/O error (SQLITE_IOERR_WRITE); the disk could not be"
    )
    assert said[1] == "['before', 'after'] ok"


# Copies


def test_a_copy_is_clean_compact_and_searchable(store, path):
    """It is in rollback-journal mode, for its owner alone, its index is complete, and the original is not written."""
    add(store, "a")
    store.write(lambda c: c.execute("insert into requests values (1, 'k', 'e', 'm', '{}', 'a needle')")).result()
    copy = store.copy_to(path.with_name("copy.db"))
    with closing(sqlite3.connect(copy)) as connection:
        mode = connection.execute("pragma journal_mode").fetchone()[0]
        found = connection.execute("select rowid from requests_fts where requests_fts match 'needle'").fetchall()
    assert (mode, found, copy.stat().st_mode & 0o777) == ("delete", [(1,)], 0o600)


def test_copying_leaves_the_file_as_it_was(path):
    """A file at rest is not switched to WAL by being copied."""
    made(path, "a", wal=False)
    before = sha256(path)
    with closing(Store(path)) as store:
        store.copy_to(path.with_name("copy.db"))
    assert sha256(path) == before


def test_a_copy_never_overwrites(store, path):
    """A file that is there stays."""
    target = path.with_name("copy.db")
    target.write_text("mine")
    with pytest.raises(StoreError, match=r"copy.db exists; remove it or name another file$"):
        store.copy_to(target)
    assert target.read_text() == "mine"


def test_a_newer_file_can_be_copied(path):
    """Its index is not ours to make, everything else is copied as it is."""
    made(path, "a", wal=False)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")
    with closing(Store(path)) as store:
        copy = store.copy_to(path.with_name("copy.db"))
    with closing(Store(copy)) as store:
        assert (keys(store), store.is_read_only) == (["a"], True)


def test_a_copy_that_fails_leaves_nothing(path):
    """Half a copy would look like a whole one."""
    made(path, *map(str, range(200)))
    with closing(Store(path)) as store:
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(StoreError, match=r"could not be copied to .*copy.db: .*; it is damaged; copy it"):
            store.copy_to(path.with_name("copy.db"))
    assert beside(path) == ["lab.db"]


def test_the_index_is_fed_when_nobody_writes(store):
    """A little after the last write, what was written can be searched."""
    store.write(lambda c: c.execute("insert into requests values (1, 'k', 'e', 'm', '{}', 'a needle')")).result()
    search = "select rowid from requests_fts where requests_fts match 'needle'"
    wait_until(lambda: [row[0] for row in store.read(search)] == [1], "the index")


def test_the_log_is_folded_when_nobody_writes(store, path):
    """A little after the last write the file alone holds everything, so that a copy of it is whole."""
    add(store, "a")
    wait_until(lambda: Path(f"{path}-wal").stat().st_size == 0, "an empty log")


WRITE = """
import sys, time
from promptlab.store import Store
store = Store(sys.argv[1])
insert = "insert into cases (key, inputs) values (?, '{}')"
for number in range(100_000):
    store.write(lambda c: c.execute(insert, (number,))).result()
    print(number, flush=True)
"""


@pytest.mark.slow
def test_backup_live(path):
    """A copy made while another process writes is whole, and has every row acknowledged before it began."""
    Store(path).close()
    with start_python(WRITE, path) as writer, closing(Store(path)) as store:
        lines = iter(writer.stdout)
        for acknowledged in (100, 200, 300):
            while int(next(lines)) < acknowledged:
                pass
            copy = store.copy_to(path.with_name(f"{acknowledged}.db"))
            with closing(sqlite3.connect(copy)) as connection:
                found = [connection.execute(f"pragma {name}").fetchone()[0] for name in ("journal_mode", "quick_check")]
                held = {int(key) for (key,) in connection.execute("select key from cases")}
            assert (found, set(range(acknowledged + 1)) - held) == (["delete", "ok"], set())
            assert held == set(range(len(held)))
        writer.kill()
        writer.stdout.read()


def test_a_store_that_may_not_write_leaves_the_file_as_it_is(path):
    """An older file is read through a migrated copy, and stays as it was."""
    older(path)
    before = sha256(path)
    with closing(Store(path, write=False)) as store:
        assert (store.read("select text from kept")[0][0], keys(store), store.is_read_only) == ("old", [], True)
        with pytest.raises(ReadOnlyError, match=r"lab.db was opened to be read only$"):
            add(store, "a")
    assert (sha256(path), beside(path)) == (before, ["lab.db"])


def test_what_is_done_on_a_snapshot_is_undone(store):
    """It sees one state of the file, and leaves no trace."""
    add(store, "a")
    with store.snapshot() as connection:
        add_case(connection, key="b")
        assert connection.execute("select count(*) from cases").fetchone() == (2,)
    with store.snapshot() as connection:
        assert connection.execute("select count(*) from cases").fetchone() == (1,)
        add(store, "c")
        assert connection.execute("select count(*) from cases").fetchone() == (1,)
    assert keys(store) == ["a", "c"]


def test_vacuum_gives_space_back(store, path):
    """The space of deleted rows goes back to the disk, and the file can be read and written as before."""
    add(store, *("x" * 10_000 + str(number) for number in range(200)))
    store.write(lambda c: c.execute("delete from cases")).result()
    add(store, "a")
    done = store.vacuum()
    assert (done.bytes_before > 2_000_000, done.bytes_after == path.stat().st_size < 400_000) == (True, True)
    assert repr(done) == f"<Vacuumed {path}: {done.bytes_before / 1e6:.1f} MB, now {done.bytes_after / 1e3:.1f} kB>"
    add(store, "b")
    assert keys(store) == ["a", "b"]


# Queries of a user


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        pytest.param("select key from cases", [("a",)], id="select"),
        pytest.param("with one as (select 1) select * from one", [(1,)], id="with"),
        pytest.param("select json_extract('[7]', '$[0]')", [(7,)], id="json"),
        pytest.param("select name from pragma_table_info('cases') limit 1", [("id",)], id="columns"),
        pytest.param("select rowid from outputs_fts where outputs_fts match 'x'", [], id="search"),
        pytest.param("select run from trials_view", [], id="view"),
        pytest.param("-- nothing", [], id="comment"),
    ],
)
def test_a_query_reads(store, sql, rows):
    """What reads this file is let through."""
    add(store, "a")
    assert store.query(sql)[1] == rows


def test_a_query_takes_parameters_and_names_its_columns(store):
    """Values are passed beside the text, and the columns come with the rows."""
    assert store.query("select ? as n, 'x' as t", (7,)) == (["n", "t"], [(7, "x")])


@pytest.mark.parametrize(
    "sql",
    [
        "insert into cases (key, inputs) values ('b', '{}')",
        "update cases set inputs = 'x'",
        "delete from cases",
        "drop table cases",
        "create table t (x)",
        "create temp table t (x)",
        "attach ':memory:' as other",
        "attach 'stolen.db' as other",
        "vacuum into 'stolen.db'",
        "pragma writable_schema = 1",
        "pragma query_only = 0",
        "pragma user_version = 9",
        "pragma journal_mode = delete",
        "select load_extension('x')",
        "insert into outputs_fts (outputs_fts) values ('rebuild')",
        "reindex",
        "begin exclusive",
        "update sqlite_master set sql = 'x'",
    ],
)
def test_a_query_cannot_do_anything_else(store, path, sql, monkeypatch):
    """Writing, other files, settings, extensions and transactions are refused, and the file is as before."""
    monkeypatch.chdir(path.parent)
    add(store, "a")
    with pytest.raises(StoreError, match=r"not allowed|the query failed"):
        store.query(sql)
    assert (keys(store), [name for name in beside(path) if not name.startswith("lab.db")]) == (["a"], [])


def test_a_query_cannot_run_for_ever(store):
    """A query without an end is ended."""
    with pytest.raises(StoreError, match="took too long and was ended; narrow it with WHERE or LIMIT"):
        store.query("with recursive n (i) as (select 1 union all select i + 1 from n) select count(*) from n")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        pytest.param("select missing", "the query failed: no such column: missing", id="unknown"),
        pytest.param("select 1; select 2", "the query failed: You can only execute one statement", id="two"),
    ],
)
def test_a_wrong_query_is_told(store, sql, message):
    """SQLite's own words are passed on."""
    with pytest.raises(StoreError, match=message):
        store.query(sql)
