"""Checks: a good file has no problems, and every kind of damage is told in one sentence with its row."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from files import sha256
from processes import run_python
from promptlab import Lab, StoreError, _loop, checks
from promptlab.store import Store
from promptlab.testing import ScriptedBackend, error_reply
from studies import plan_of


def script(body):
    """Answer, but for two questions that are refused."""
    question = body["messages"][-1]["content"]
    return error_reply(400, "no") if question in {"q1", "q2"} else question.upper()


@pytest.fixture
def path(tmp_path):
    """A file at rest with a run of twelve trials, four of them failed, and one that reuses the first four of them."""
    path = tmp_path / "lab.db"
    with Lab(path, backend=ScriptedBackend(script)) as lab:
        lab.run(plan_of(lab, 6, temperature=[0, 0.5]), name="one", progress=False)
        lab.run(plan_of(lab, 2, temperature=[0, 0.5]), name="two", progress=False)
        lab.store.index()
    return path


def checked(path, **options):
    """Return the report on a file."""
    with closing(Store(path)) as store:
        return checks.check(store, **options)


def damaged(path, *statements):
    """Change a file behind promptlab's back."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_good_file_has_no_problems(path):
    """Everything is looked at and counted, nothing is found, and nothing is written."""
    before = sha256(path)
    report = checked(path)
    assert (report.ok, report.problems, report.notes) == (True, [], [])
    assert {what: number for what, number in report.checked.items() if what != "pages"} == {
        "references": 0,
        "samples": 12,
        "trials": 16,
        "outputs": 8,
        "attempts": 12,
        "open attempts": 0,
        "keys of requests": 12,
        "keys of samples": 12,
        "keys of templates": 1,
        "keys of cases": 6,
        "replies": 12,
        "answers": 8,
        "plans": 2,
        "counts of runs": 2,
        "search indexes": 2,
    }
    assert sha256(path) == before


@pytest.mark.parametrize(
    ("statement", "problems"),
    [
        pytest.param(
            "update requests set body = replace(body, ':16', ':17') where id = 7",
            [
                "request 7: its key is not that of its bytes",
                "sample 7: its key is not that of its request and backend",
            ],
            id="request",
        ),
        pytest.param(
            "update requests set body = 'no json' where id = 7",
            [
                "request 7: its key is not that of its bytes",
                "keys of samples, row 7: it cannot be read: Expecting value: line 1 column 1 (char 0)",
            ],
            id="no-json",
        ),
        pytest.param(
            "update samples set backend = 'elsewhere' where id = 2",
            ["sample 2: its key is not that of its request and backend"],
            id="sample",
        ),
        pytest.param(
            "update templates set messages = '[]'", ["template 1: its key is not that of its messages"], id="template"
        ),
        pytest.param(
            'update cases set inputs = \'{"q":"q9"}\' where id = 3',
            [
                "case 3: its key is not that of its values",
                "run 1: its plan's key is not that of its plan",
            ],
            id="case",
        ),
        pytest.param(
            "update runs set plan = replace(plan, '0.5', '0.6') where id = 2",
            ["run 2: its plan's key is not that of its plan"],
            id="plan",
        ),
        pytest.param(
            "update attempts set prompt_tokens = 99, model = 'n' where id = 1",
            [
                "attempt 1: prompt_tokens, model not as in its reply",
                "run 1: its counts of prompt_tokens are not those of its rows",
            ],
            id="usage",
        ),
        pytest.param(
            "update attempts set state = 'error' where id = 1",
            ["attempt 1: its state is error, and its reply says ok"],
            id="state",
        ),
        pytest.param(
            "update outputs set finish_reason = 'length' where id = 2",
            ["output 2: finish_reason not as in its reply"],
            id="finish-reason",
        ),
        pytest.param(
            "update outputs set choice = 3 where id = 2",
            ["output 2: its attempt's reply has no choice 3"],
            id="choice",
        ),
        pytest.param(
            "update samples set output_id = 2 where id = 1", ["sample 1: its output is of another sample"], id="output"
        ),
        pytest.param(
            "update trials set output_id = 2 where id = 1", ["trial 1: its output is of another sample"], id="trial"
        ),
        pytest.param(
            "update samples set state = 'todo' where id = 12",
            [
                "sample 12: its state does not fit whether it has an output",
                "run 1: its counts of ok are not those of its rows",
            ],
            id="a-state-without-output",
        ),
        pytest.param(
            "update attempts set state = 'sent', response = null"
            " where id = (select max(id) from attempts where state = 'error')",
            ["attempt {}: it was sent by a process that is gone; run its plan again, and it is asked anew"],
            id="an-open-attempt",
        ),
        pytest.param(
            "delete from attempt_samples where attempt_id = 1",
            ["output 1: its attempt did not ask for its sample", "attempt 1: it belongs to no sample"],
            id="an-orphaned-attempt",
        ),
        pytest.param(
            "delete from outputs where id = 1",
            [
                "samples 1: it refers to a row of outputs that is not there",
                "attempt 1: it was answered, and its output is not there",
                "outputs_fts: it does not fit the outputs; make it anew with: sqlite3 {path}"
                " \"insert into outputs_fts (outputs_fts) values ('rebuild')\"",
            ],
            id="a-lost-output",
        ),
        pytest.param(
            "delete from trials where sample_id = 3",
            [
                "sample 3: no trial uses it",
                "run 1: its counts of trials, failed are not those of its rows",
            ],
            id="an-orphaned-sample",
        ),
        pytest.param(
            "update trials set case_id = 99 where id = 1",
            ["trials 1: it refers to a row of cases that is not there"],
            id="reference",
        ),
        pytest.param(
            "update runs set plan = '{', counts = '[]' where id = 1",
            ["counts of runs, row 1: it cannot be read: 'list' object has no attribute 'get'"],
            id="another-form",
        ),
        pytest.param(
            "update runs set counts = json_set(counts, '$.ok', 7) where id = 1",
            ["run 1: its counts of ok are not those of its rows"],
            id="counts",
        ),
    ],
)
def test_damage_is_told_by_row(path, statement, problems):
    """Each kind of damage has its sentence, and there is no other."""
    damaged(path, statement)
    with closing(sqlite3.connect(path)) as connection:
        opened = [row[0] for row in connection.execute("select id from attempts where state = 'sent'")]
    assert checked(path).problems == [problem.format(*opened, path=path) for problem in problems]


def test_an_index_that_lies_is_told_with_the_remedy(path):
    """A text that changed behind the index is found, and the statement in the message repairs it."""
    damaged(path, "update outputs set text = 'another' where id = 2")
    wrong, remedy = "output 2: text not as in its reply", "insert into outputs_fts (outputs_fts) values ('rebuild')"
    lies = f'outputs_fts: it does not fit the outputs; make it anew with: sqlite3 {path} "{remedy}"'
    assert checked(path).problems == [wrong, lies]
    damaged(path, remedy)
    assert checked(path).problems == [wrong]


def test_damage_to_the_file_is_told(path):
    """Where SQLite itself finds the file damaged, its words are passed on."""
    hidden = "replace(sql, 'note text not null', 'note text not null check (note > note)')"
    with closing(Store(path)) as store:
        damaged(path, "pragma writable_schema = 1", f"update sqlite_master set sql = {hidden} where name = 'runs'")  # noqa: S608
        assert checks.check(store).problems == ["the file is damaged: CHECK constraint failed in runs"] * 2


def test_of_many_problems_the_first_are_told(path):
    """Twenty of a kind are listed, the others counted."""
    with closing(Store(path)) as store:
        add = "insert into cases (key, inputs) values (?, '{}')"
        store.write(lambda c: c.executemany(add, [(f"wrong {number}",) for number in range(22)])).result()
        problems = checks.check(store).problems
    cases = [f"case {number}: its key is not that of its values" for number in range(7, 7 + checks.SHOWN)]
    assert problems == [*cases, "... and 2 more problems with keys of cases"]


def test_an_attempt_in_flight_is_no_problem(tmp_path):
    """While a run goes on, what it has sent has no end yet."""
    begun, end = asyncio.Event(), asyncio.Event()

    async def wait(_):
        begun.set()
        await end.wait()
        return "done"

    with Lab(tmp_path / "lab.db", backend=ScriptedBackend(wait)) as lab:
        run = lab.start(plan_of(lab, 2))
        _loop.run(begun.wait())
        report = lab.check()
        _loop.running_loop().call_soon_threadsafe(end.set)
        run.wait(progress=False)
    assert (report.problems, report.checked["open attempts"] > 0) == ([], True)


READ_ONLY = """
import sys
from promptlab import checks
from promptlab.store import Store
store = Store(sys.argv[1])
print(checks.check(store).notes)
store.close()
"""


def test_a_read_only_file_is_checked_but_for_its_index(path):
    """What cannot be done there is told."""
    path.chmod(0o444)
    path.parent.chmod(0o555)
    before = sha256(path)
    said = run_python(READ_ONLY, path, as_anybody=True)
    assert said == "['the search index was not compared with the texts, since the file is read only']\n"
    assert sha256(path) == before


class BusyStore(Store):
    """A store whose index somebody else is always writing to."""

    def index_problem(self, _):
        """Fail."""
        msg = f"{self.path} could not be read: database is locked"
        raise StoreError(msg)


def test_an_index_that_is_being_written_is_left_alone(path):
    """What could not be compared is told; everything else was checked."""
    with closing(BusyStore(path)) as store:
        report = checks.check(store)
    told = f"the search index was not compared with the texts: {path} could not be read: database is locked"
    assert (report.ok, report.notes, report.checked["answers"]) == (True, [told], 8)


def test_a_report_can_be_read(path):
    """The card and the text say what was looked at and what was found; what a row holds is escaped."""
    damaged(path, "update templates set messages = '[]'")
    report = checked(path)
    assert repr(report).splitlines()[1:] == ["template 1: its key is not that of its messages"]
    assert f"{path}: 1 problem; " in repr(report)
    html = report._repr_html_()
    assert "<li>template 1: its key is not that of its messages</li>" in html
    assert [f"{number}</td>" in html for number in report.checked.values()] == [True] * len(report.checked)
