"""The schema, as numbered migrations. A change of schema is a new one, which says why.

Every table is STRICT with an integer key. JSON columns hold JSON text. Times are UTC, ISO-8601 with milliseconds;
durations are in milliseconds or seconds as the name says; money is USD. NULL is unknown, never 0.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database, Migrations

#: "plab", so that `file experiments.db` and we know our own.
APPLICATION_ID = 0x706C6162

#: The number of migrations below; the file's `user_version`.
SCHEMA_VERSION = 2

_RUNS = """
create table runs (
  id integer primary key, uid text not null unique, name text not null, status text not null, reason text,
  plan_key text not null, plan text not null, backend text not null, base_url text,
  created_at text not null, started_at text, finished_at text,
  promptlab_version text not null, openai_version text, python_version text not null, sqlite_version text not null,
  host text, notebook text, git_commit text, tags text not null default '[]', note text not null default '',
  archived integer not null default 0
) strict;
create index runs_plan on runs (plan_key, name);

create table templates (
  id integer primary key, key text not null, name text not null, version integer not null, messages text not null,
  created_at text not null, parent_key text, note text not null default '',
  unique (name, key), unique (name, version)
) strict;

create table cases (id integer primary key, key text not null unique, inputs text not null) strict;
"""

_SAMPLES = """
create table requests (
  id integer primary key, key text not null unique, endpoint text not null, model text not null,
  body text not null, text text not null
) strict;

create table samples (
  id integer primary key, key text not null, repeat integer not null, generation integer not null,
  request_id integer not null references requests (id), backend text not null,
  state text not null default 'todo' check (state in ('todo', 'leased', 'done', 'failed', 'stopped')),
  failure text, reason text, owner text, lease_until real,
  output_id integer references outputs (id),
  unique (key, repeat, generation)
) strict;
create index samples_request on samples (request_id);
create index samples_leased on samples (owner) where state = 'leased';

create table trials (
  id integer primary key, run_id integer not null references runs (id), position integer not null,
  template_id integer not null references templates (id), case_id integer not null references cases (id),
  case_index integer not null, params text not null, repeat integer not null,
  sample_id integer not null references samples (id), reused integer not null default 0,
  unique (run_id, position)
) strict;
create index trials_sample on trials (sample_id, run_id);
"""

# What is large stands last in a row, so that SQLite reads the other columns without it.
_ATTEMPTS = """
create table attempts (
  id integer primary key, run_id integer not null references runs (id),
  request_id integer not null references requests (id), number integer not null,
  state text not null check (state in ('sent', 'ok', 'error', 'unknown')),
  client_request_id text not null unique, sent_at text not null, latency_ms real,
  http_status integer, error_type text, error_code text, error_param text, error_message text, retry_after_s real,
  openai_request_id text, redacted integer not null default 0, model text, system_fingerprint text, service_tier text,
  prompt_tokens integer, cached_tokens integer, completion_tokens integer, reasoning_tokens integer,
  total_tokens integer, cost_usd real,
  usage text, headers text, sent_body text, response blob
) strict;
create index attempts_run on attempts (run_id);
create index attempts_request on attempts (request_id);
create index attempts_refused on attempts (error_param) where http_status = 400 and error_param is not null;
create index attempts_open on attempts (id) where state = 'sent';

create table attempt_samples (
  attempt_id integer not null references attempts (id), sample_id integer not null references samples (id),
  choice integer not null, primary key (attempt_id, sample_id)
) strict, without rowid;
create index attempt_samples_sample on attempt_samples (sample_id);

create table outputs (
  id integer primary key, attempt_id integer not null references attempts (id),
  sample_id integer not null references samples (id), choice integer not null,
  text text, finish_reason text, refusal text, tool_calls text, logprobs text, flags text not null default '[]',
  prompt_tokens integer, completion_tokens integer, cost_usd real, created_at text not null
) strict;
create index outputs_sample on outputs (sample_id);
create index outputs_attempt on outputs (attempt_id);
"""

_JUDGEMENTS = """
create table scores (
  id integer primary key, output_id integer not null references outputs (id),
  case_id integer not null references cases (id), scorer text not null, config_key text not null,
  value real, label text, detail text, created_at text not null,
  unique (output_id, case_id, config_key)
) strict;

create table ratings (
  id integer primary key, output_id integer not null references outputs (id), rater text not null,
  value real, scale text not null, source text not null, created_at text not null
) strict;
create index ratings_output on ratings (output_id);
create table notes (
  id integer primary key, output_id integer not null references outputs (id), rater text not null,
  text text not null, created_at text not null
) strict;
create index notes_output on notes (output_id);
create table pins (
  id integer primary key, output_id integer not null references outputs (id), rater text not null,
  pinned integer not null, created_at text not null
) strict;
create index pins_output on pins (output_id);
create table pairings (
  id integer primary key, session text not null, item_key text not null,
  left_id integer not null references outputs (id), right_id integer not null references outputs (id),
  seed integer not null, position integer not null, created_at text not null,
  unique (session, position)
) strict;
create table votes (
  id integer primary key, pairing_id integer not null references pairings (id), rater text not null,
  choice text not null check (choice in ('left', 'right', 'tie', 'bad', 'skip')),
  strength integer, reasons text, ms integer, undone_by integer references votes (id), created_at text not null
) strict;
create index votes_pairing on votes (pairing_id);
create table views (
  id integer primary key, name text not null, spec text not null, created_at text not null
) strict;
"""

_SEARCH = """
create virtual table outputs_fts using fts5 (text, content = 'outputs', content_rowid = 'id');
create virtual table requests_fts using fts5 (text, content = 'requests', content_rowid = 'id');
"""

_FIRST_VIEW = """
create view trials_view as
select
  runs.name as run, trials.position, templates.name as template, templates.version, trials.params, trials.case_index,
  cases.inputs as "case", trials.repeat, samples.state, outputs.text as output, outputs.finish_reason,
  trials.reused, requests.model, outputs.prompt_tokens, outputs.completion_tokens, outputs.cost_usd,
  attempts.latency_ms, runs.id as run_id, trials.id as trial_id, samples.id as sample_id, outputs.id as output_id,
  attempts.id as attempt_id, requests.id as request_id
from trials
join runs on runs.id = trials.run_id
join templates on templates.id = trials.template_id
join cases on cases.id = trials.case_id
join samples on samples.id = trials.sample_id
join requests on requests.id = samples.request_id
left join outputs on outputs.id = samples.output_id
left join attempts on attempts.id = outputs.attempt_id;
"""

# Why: an attempt of unknown end keeps what it may have cost, so that a resumed run's cap still counts it, and a run
# with a cap what all its attempts cost or may cost, whichever kernel sends them; a merged run shows its own answers
# where both files had one; limits look back a minute and a day; `lab.runs()` reads the counts of an ended run instead
# of a million trials.
_BUDGETS_AND_MERGES = """
alter table attempts add column reserved_usd real;
alter table trials add column output_id integer references outputs (id);
alter table runs add column counts text;
alter table runs add column committed_usd real;
create index attempts_sent on attempts (sent_at);
drop view trials_view;
"""

_VIEW = """
create view trials_view as
select
  runs.name as run, trials.position, templates.name as template, templates.version, trials.params, trials.case_index,
  cases.inputs as "case", trials.repeat, samples.state, outputs.text as output, outputs.finish_reason,
  trials.reused, requests.model, outputs.prompt_tokens, outputs.completion_tokens, outputs.cost_usd,
  attempts.latency_ms, runs.id as run_id, trials.id as trial_id, samples.id as sample_id, outputs.id as output_id,
  attempts.id as attempt_id, requests.id as request_id
from trials
join runs on runs.id = trials.run_id
join templates on templates.id = trials.template_id
join cases on cases.id = trials.case_id
join samples on samples.id = trials.sample_id
join requests on requests.id = samples.request_id
left join outputs on outputs.id = coalesce(trials.output_id, samples.output_id)
left join attempts on attempts.id = outputs.attempt_id;
"""


_INDEXES = ("outputs_fts", "requests_fts")
#: The names that have to be tables in a file of ours: its own, those that FTS5 makes, and that of sqlite-utils.
TABLES = frozenset(
    [
        *re.findall(r"create (?:virtual )?table (\w+)", _RUNS + _SAMPLES + _ATTEMPTS + _JUDGEMENTS + _SEARCH),
        *(f"{index}_{part}" for index in _INDEXES for part in ("config", "content", "data", "docsize", "idx")),
        "_sqlite_migrations",
    ]
)


def migrate(connection: sqlite3.Connection, *, before: Callable[[int], None] | None = None) -> None:
    """Bring a file to the newest schema inside one transaction of ours; several processes may try at once.

    `before` is called with the file's schema once it is sure that a file of ours will be changed: time for a backup.
    sqlite-utils' own transactions begin deferred, so that two processes that migrate one fresh file both fail in most
    trials (measured: 38 of 40); under `BEGIN IMMEDIATE` the second waits and finds the work done.
    """
    connection.execute("begin immediate")
    try:
        application, version = marks(connection)
        if version < SCHEMA_VERSION:
            if before is not None and application == APPLICATION_ID:
                before(version)
            _apply(connection)
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def marks(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return a file's application id and the version of its schema."""
    application, version = (
        connection.execute(f"pragma {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    return application, version


def _apply(connection: sqlite3.Connection) -> None:
    from sqlite_utils import Database  # noqa: PLC0415 - costs 0.1 s, so only where it is used

    _migrations().apply(Database(connection, execute_plugins=False))
    connection.execute(f"pragma application_id = {APPLICATION_ID}")
    connection.execute(f"pragma user_version = {SCHEMA_VERSION}")


def _migrations() -> Migrations:
    from sqlite_utils import Migrations  # noqa: PLC0415 - see _apply

    migrations = Migrations("promptlab")

    @migrations(name="m001_first_schema")
    def _first_schema(database: Database) -> None:
        _execute(database, _RUNS, _SAMPLES, _ATTEMPTS, _JUDGEMENTS, _SEARCH, _FIRST_VIEW)

    @migrations(name="m002_budgets_and_merges")
    def _budgets_and_merges(database: Database) -> None:
        _execute(database, _BUDGETS_AND_MERGES, _VIEW)

    return migrations


def _execute(database: Database, *scripts: str) -> None:
    """Run scripts statement by statement: `executescript` would commit what stands before them."""
    for script in scripts:
        for statement in filter(str.strip, script.split(";")):
            database.conn.execute(statement)
