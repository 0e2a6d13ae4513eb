"""People's judgements on an output, as the panels write them: for tests of what keeps, merges or forgets them."""

import sqlite3

AT = "2026-11-24T00:00:00.000Z"
TABLES = ("scores", "ratings", "notes", "pins", "pairings", "votes")


def judge(connection: sqlite3.Connection, left: int, right: int, *, session: str = "s", case: int = 1) -> None:
    """Score, rate, note, pin and compare two outputs; the first vote is undone by a second one."""
    connection.execute(
        "insert into scores (output_id, case_id, scorer, config_key, value, created_at) values (?, ?, 'x', ?, 1, ?)",
        (left, case, session, AT),
    )
    connection.execute(
        "insert into ratings (output_id, rater, value, scale, source, created_at) values (?, 'me', null, 'x', 'y', ?)",
        (left, AT),
    )
    connection.execute("insert into notes (output_id, rater, text, created_at) values (?, 'me', 'hm', ?)", (left, AT))
    connection.execute("insert into pins (output_id, rater, pinned, created_at) values (?, 'me', 1, ?)", (right, AT))
    pairing = connection.execute(
        "insert into pairings (session, item_key, left_id, right_id, seed, position, created_at)"
        " values (?, 'i', ?, ?, 7, 0, ?)",
        (session, left, right, AT),
    ).lastrowid
    vote = "insert into votes (pairing_id, rater, choice, created_at) values (?, 'me', ?, ?)"
    first = connection.execute(vote, (pairing, "left", AT)).lastrowid
    second = connection.execute(vote, (pairing, "tie", AT)).lastrowid
    connection.execute("update votes set undone_by = ? where id = ?", (second, first))


def counts(connection: sqlite3.Connection, *tables: str) -> dict[str, int]:
    """Return how many rows tables have."""
    sizes = {table: f"select count(*) from {table}" for table in tables or TABLES}  # noqa: S608 - names of tables
    return {table: connection.execute(sql).fetchone()[0] for table, sql in sizes.items()}
