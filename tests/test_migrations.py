"""The schema: strict, marked as ours, made once, and never half."""

import sqlite3
from contextlib import closing

import pytest

from promptlab.migrations import APPLICATION_ID, SCHEMA_VERSION, marks, migrate

TABLES = {
    "attempt_samples",
    "attempts",
    "cases",
    "notes",
    "outputs",
    "pairings",
    "pins",
    "ratings",
    "requests",
    "runs",
    "samples",
    "scores",
    "templates",
    "trials",
    "views",
    "votes",
}


@pytest.fixture
def connection():
    """A fresh file in memory."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def dump(connection):
    """Return everything a file holds."""
    return list(connection.iterdump())


def test_a_fresh_file_gets_every_table_strict(connection):
    """All tables of the design are there, and each refuses values of another type."""
    migrate(connection)
    ours = {row[1]: row[5] for row in connection.execute("pragma table_list") if row[1] in TABLES}
    assert ours == dict.fromkeys(TABLES, 1)


def test_a_file_is_marked_as_ours(connection):
    """Its head tells whose it is, and which schema."""
    migrate(connection)
    assert marks(connection) == (APPLICATION_ID, SCHEMA_VERSION) == (int.from_bytes(b"plab"), 2)


def test_search_and_the_flat_view_are_there(connection):
    """Two full-text indexes and the view for people with an SQL prompt can be queried."""
    migrate(connection)
    for table in ("outputs_fts", "requests_fts", "trials_view"):
        assert connection.execute(f"select count(*) from {table}").fetchone() == (0,)  # noqa: S608 - names above


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        pytest.param(
            "insert into cases (key, inputs) values ('k', x'00')", "cannot store BLOB value in TEXT", id="type"
        ),
        pytest.param("insert into cases (key) values ('k')", "NOT NULL constraint failed", id="missing"),
        pytest.param(
            "insert into samples (key, repeat, generation, request_id, backend, state) values ('k', 0, 0, 1, 'b', '?')",
            "CHECK constraint failed",
            id="state",
        ),
    ],
)
def test_a_wrong_value_is_refused(connection, statement, message):
    """Types, missing values and unknown states are errors, not data."""
    migrate(connection)
    with pytest.raises(sqlite3.IntegrityError, match=message):
        connection.execute(statement)


def test_migrating_twice_changes_nothing(connection):
    """A file of the newest schema is left as it is, row for row."""
    migrate(connection)
    once = dump(connection)
    migrate(connection)
    assert dump(connection) == once


def test_a_backup_is_asked_for_before_an_older_file_of_ours_changes(connection):
    """The callback hears the old schema while the file is still as it was."""
    connection.execute(f"pragma application_id = {APPLICATION_ID}")
    connection.execute("create table kept (text)")
    seen = []
    migrate(connection, before=lambda version: seen.append((version, dump(connection))))
    assert seen == [(0, ["BEGIN TRANSACTION;", "CREATE TABLE kept (text);", "COMMIT;"])]


def test_no_backup_is_asked_for_a_new_file(connection):
    """An empty file holds nothing to keep."""
    seen = []
    migrate(connection, before=seen.append)
    assert seen == []


def test_a_migration_that_fails_leaves_the_file_as_it_was(connection):
    """When the last step cannot be done the first ones are undone."""
    connection.execute("create table votes (text)")
    once = dump(connection)
    with pytest.raises(sqlite3.OperationalError, match="table votes already exists"):
        migrate(connection)
    assert (dump(connection), marks(connection), connection.in_transaction) == (once, (0, 0), False)


def test_a_newer_file_is_not_touched(connection):
    """A schema that this version does not know keeps its number."""
    connection.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")
    migrate(connection)
    assert (dump(connection), marks(connection)[1]) == (["BEGIN TRANSACTION;", "COMMIT;"], SCHEMA_VERSION + 1)
