"""The history browser and the version panel without a browser: every operation, bad arguments, snapshot and text."""

import json
import re

import pytest

from hostile import hostile_lab
from promptlab import Lab, NotFoundError, ParameterGrid, PromptTemplate, SearchError
from promptlab.testing import ScriptedBackend, error_reply
from studies import ASK, echo, plan_of

ALLOWED = {"div", "b", "span", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "small", "ins", "del", "code"}
ALL = {"text": "", "tag": None, "model": None, "template": None, "show": "active"}


@pytest.fixture
def lab(tmp_path):
    """A lab with three runs: two versions of a template, two models."""
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend(echo)) as lab:
        lab.run(plan_of(lab, 3, temperature=[0, 1]), name="first", note="less apologetic", progress=False)
        curt = ASK.replace(system="Be curt.")
        grid = ParameterGrid(model="m", temperature=0, max_tokens=16)
        lab.run([ASK, curt], grid, cases=[{"q": "q0"}, {"q": "q2"}], name="second", progress=False)
        other = PromptTemplate("other", user="{{ q }}")
        lab.run(other, ParameterGrid(model=["m", "n"], top_p=[0.5, 1]), cases=[{"q": "Zebra"}], progress=False)
        yield lab


def ask(panel, op, **args):
    """Ask as a browser does, and return the answer or the error."""
    reply = panel.handle({"op": op, "re": "1", "args": args})
    json.dumps(reply, allow_nan=False)
    return reply.get("answer", reply.get("error"))


def shown(rows):
    """Return what kind of rows they are, and which."""
    return [row["name"] if row["kind"] == "run" else row["position"] for row in rows]


def test_the_first_page_suffices_to_draw(lab):
    """Filters, choices, totals and the newest runs travel with the panel."""
    first = lab.history().first()
    assert {name: first[name] for name in ("wanted", "runs", "every", "trials", "cost_usd", "unpriced", "notes")} == {
        "wanted": ALL,
        "runs": 3,
        "every": 3,
        "trials": 14,
        "cost_usd": 0.0,
        "unpriced": 0,
        "notes": [],
    }
    assert first["choices"] == {
        "tag": [],
        "model": ["m", "n"],
        "template": ["ask", "ask@1", "ask@2", "other", "other@1"],
    }
    assert (first["count"], shown(first["rows"])) == (3, ["other", "second", "first"])
    row = first["rows"][2]
    assert (row["templates"], row["grid"], row["trials"], row["failed"], row["note"], row["matches"]) == (
        ("ask@1",),
        "temperature x 2",
        6,
        2,
        "less apologetic",
        None,
    )
    assert row["latency_ms"] >= 0


def test_an_open_run_shows_its_requests_below_it(lab):
    """The list is one: runs, and after the open one its requests; any piece of it can be asked for."""
    history = lab.history()
    whole = ask(history, "rows", wanted=ALL, opened=2, start=0, n=50)
    assert (whole["count"], shown(whole["rows"])) == (7, ["other", "second", 0, 1, 2, 3, "first"])
    for start in range(7):
        for n in (1, 2, 5):
            piece = ask(history, "rows", wanted=ALL, opened=2, start=start, n=n)
            assert piece == {"count": 7, "rows": whole["rows"][start : start + n]}
    request = whole["rows"][3]
    assert (request["run"], request["case"], request["template"], request["output"], request["status"]) == (
        2,
        "q2",
        "ask@1",
        "answer to q2",
        "ok",
    )


def test_a_search_finds_runs_by_what_was_said(lab):
    """A word in an output finds its run with a snippet, one in a note without; an open run lists its matches."""
    history = lab.history()
    found = ask(history, "find", wanted={**ALL, "text": "zebra"})
    [row] = found["rows"]
    assert (row["name"], row["matches"]["outputs"], row["matches"]["prompts"]) == ("other", 4, 4)
    assert row["matches"]["hits"][0]["parts"] == [["answer to ", False], ["Zebra", True], ["", False]]
    assert shown(ask(history, "find", wanted={**ALL, "text": "apologetic"})["rows"]) == ["first"]
    inside = ask(history, "find", wanted={**ALL, "text": '"answer to q2"'}, opened=1)
    assert shown(inside["rows"]) == ["second", "first", 2, 5]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param({"model": "n"}, ["other"], id="model"),
        pytest.param({"template": "ask@2"}, ["second"], id="version"),
        pytest.param({"tag": "x"}, [], id="tag"),
        pytest.param({"show": "archived"}, [], id="archived"),
    ],
)
def test_filters_narrow_the_list(lab, wanted, found):
    """The menus of the panel and the arguments of lab.history are the same filters."""
    assert shown(ask(lab.history(), "find", wanted={**ALL, **wanted})["rows"]) == found
    assert shown(lab.history(**wanted).first()["rows"]) == found


def test_a_run_that_came_later_is_there_when_the_file_is_read_again(lab):
    """`hello` and `find` read the file; pages go on with the list as it was."""
    history = lab.history()
    history.first()  # which travels with the widget
    lab.run(plan_of(lab, 1), name="later", progress=False)
    assert shown(ask(history, "rows", wanted=ALL, opened=None, start=0, n=9)["rows"])[0] == "other"
    assert shown(ask(history, "hello")["rows"])[0] == "later"


def test_one_exchange_is_shown_raw(lab):
    """Exact request, exact reply, attempts, and the ways to send it again."""
    found = ask(lab.history(), "request", trial_id=1)
    logged = lab.request(1)
    assert (json.loads(found["body"]), json.loads(found["response"])) == (
        json.loads(logged.body),
        json.loads(logged.response),
    )
    assert (found["attempts"][0][:3], found["curl"], found["code"]) == (
        [1, "ok", 200],
        logged.as_curl(),
        "lab.request(1, attempt=1)",
    )
    assert found["shown"] == ""


def test_a_repeat_opens_its_own_exchange(tmp_path):
    """Repeats share a request; each shows the reply it got, a failed one its error, and all attempts are listed."""
    replies = iter(["answer 0", "answer 1", error_reply(400, "no")])
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend(lambda _: next(replies))) as lab:
        run = lab.run(plan_of(lab, 1, repeats=3), concurrency=1, progress=False)
        history = lab.history()
        found = [ask(history, "request", trial_id=int(trial)) for trial in run.frame()["trial_id"]]
    said = [json.loads(each["response"]) for each in found]
    texts = [
        each["choices"][0]["message"]["content"] if "choices" in each else each["error"]["message"] for each in said
    ]
    assert texts == ["answer 0", "answer 1", "no"]
    assert [[row[0] for row in each["attempts"]] for each in found] == [[1, 2, 3]] * 3
    assert (found[0]["code"], found[0]["shown"]) == (
        "lab.request(1, attempt=1)",
        "response of attempt 1; there are 2 others, e.g. lab.request(1, attempt=3)",
    )


def stored(lab, run_id):
    """Return tags, note and the archive mark as they are in the file."""
    return lab.sql("select tags, note, archived from runs where id = ?", [run_id]).iloc[0].tolist()


def test_tags_notes_and_the_archive_are_written(lab):
    """Each is in the file when the operation has answered, and the answer shows the runs as they are now."""
    history = lab.history()
    tagged = ask(history, "tag", ids=[1, 2], add=["a", "b"])
    assert [row["tags"] for row in tagged["runs"]] == [["a", "b"], ["a", "b"]]
    assert tagged["choices"]["tag"] == ["a", "b"]
    ask(history, "tag", ids=[1], add=[], remove=["a"])
    ask(history, "note", run_id=1, text="better")
    assert ask(history, "archive", ids=[1], to="archived")["runs"][0]["archived"] is True
    assert (stored(lab, 1), stored(lab, 2)) == (['["b"]', "better", 1], ['["a","b"]', "", 0])
    assert shown(ask(history, "find", wanted=ALL)["rows"]) == ["other", "second"]
    ask(history, "archive", ids=[1], to="active")
    assert shown(ask(history, "find", wanted=ALL)["rows"]) == ["other", "second", "first"]


@pytest.mark.parametrize(
    ("op", "args", "says"),
    [
        ("tag", {"ids": [1], "add": ["a,b"]}, "'a,b' is no tag; a tag is a text of at most 60 characters on one line"),
        ("tag", {"ids": [], "add": ["a"]}, "tag: ids: List should have at least 1 item"),
        ("note", {"run_id": 99, "text": "x"}, "no run 99 to change; lab.runs(show='all') lists them"),
        ("note", {"run_id": 1, "text": "x" * 10_001}, "note: text: String should have at most 10000 characters"),
        ("archive", {"ids": [1], "to": "gone"}, "archive: to: Input should be 'archived' or 'active'"),
        ("rows", {"wanted": ALL, "opened": None, "start": 0, "n": 201}, "rows: n: Input should be less than or equal"),
        ("find", {"wanted": {**ALL, "show": "every"}}, "find: wanted.show: Input should be 'active'"),
        ("request", {"trial_id": 99}, "no trial 99 in "),
        ("code", {"what": "drop", "ids": [1]}, "code: what: Input should be 'load', 'compare', 'diff' or 'rerun'"),
        ("code", {"what": "load", "ids": [99]}, "no run 99 in "),
    ],
)
def test_what_cannot_be_done_is_said(lab, op, args, says):
    """A bad argument of a browser gets one sentence, and changes nothing."""
    assert ask(lab.history(), op, **args).startswith(says)
    assert stored(lab, 1) == ["[]", "less apologetic", 0]


def code(lab, what, *ids):
    """Return the code that the panel shows."""
    return ask(lab.history(), "code", what=what, ids=list(ids))["code"]


def test_code_that_is_copied_does_what_it_says(lab):
    """Loading, planning again and comparing prompts work as written; planning again sends nothing."""
    assert code(lab, "load", 3, 1) == "lab.load(3)  # other\nlab.load(1)  # first"
    assert code(lab, "compare", 2, 1) == "lab.compare([2, 1])  # second; first"
    namespace = {"lab": lab}
    assert repr(eval(code(lab, "compare", 2, 1), namespace)).startswith("<Matrix")  # noqa: S307 - the code that is tested
    exec(code(lab, "rerun", 1), namespace)  # noqa: S102 - the code that is tested
    assert (len(namespace["plan"]), namespace["plan"].generation, namespace["plan"].estimate.to_send) == (6, 1, 6)
    assert "lab.run(plan, name='first again')" in code(lab, "rerun", 1)
    assert len(lab.runs()) == 3


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        pytest.param([2], "lab.diff('ask@1', 'ask@2')", id="two-versions-in-one-run"),
        pytest.param([3, 1], "lab.diff('ask@1', 'other@1')", id="two-runs"),
        pytest.param([1], "lab.diff('ask@1', 'ask@2')", id="a-first-version-and-the-newest"),
        pytest.param([3], "lab.versions('other')  # it has one version so far", id="an-only-version"),
    ],
)
def test_code_that_compares_prompts(lab, ids, expected):
    """The two versions are those that the runs asked, else the one before it and it, of a first one the newest."""
    assert code(lab, "diff", *ids) == expected
    assert repr(eval(expected, {"lab": lab})).startswith("<V")  # noqa: S307 - the code that is tested


def test_names_cannot_get_out_of_the_code(lab):
    """A run's or template's name stays text, whatever it holds."""
    name = "x'); import os  # \nprint('out')"
    evil = PromptTemplate("o'); print('out') #", user="{{ q }}")
    run = lab.run(evil, {"model": "m"}, cases=[{"q": "q0"}], name=name, progress=False)
    namespace = {"lab": lab, "print": lambda *_: pytest.fail("the name ran")}
    for what in ("load", "diff", "rerun"):
        exec(code(lab, what, run.id), namespace)  # noqa: S102 - the code that is tested


def test_history_as_a_frame(lab):
    """The listed runs with everything that is shown of them, and which are marked."""
    history = lab.history(template="ask")
    frame = history.frame()
    assert (frame["name"].tolist(), frame["latency_ms"].notna().tolist()) == (["second", "first"], [True, True])
    assert history.selection == []
    history.widget.state = {"selected": [2, "x", 1]}
    assert history.selection == [2, 1]
    history.widget.state = {"selected": "abc"}
    assert history.selection == []


def test_history_as_text_is_the_same_each_time(lab):
    """The plain text has no times, so that it can be compared."""
    assert repr(lab.history()) == (
        "<History 3 runs>\n"
        "id  run     templates     model  grid             trials       tags  note\n"
        "3   other   other@1       m, n   top_p x 2        4\n"
        "2   second  ask@1, ask@2  m                       4\n"
        "1   first   ask@1         m      temperature x 2  6, 2 failed        less apologetic"
    )
    assert repr(lab.history("zebra", model="n")).startswith("<History 1 run of 3: text 'zebra', model 'n'>\n")
    assert repr(lab.history(tag="none")) == "<History 0 runs of 3: tag 'none'>"


def test_the_snapshot_is_the_newest_runs(lab):
    """A reader without a kernel sees a table, and how to get the live panel; an empty file has none."""
    html = lab.history().snapshot()
    assert html.count("<tr>") == 4
    assert "run this cell for the live panel" in html
    assert "6, 2 failed" in html
    assert "<table" not in lab.history(tag="none").snapshot()


def test_the_snapshot_of_many_runs_is_small(lab):
    """Fifty of them are shown, and it says of how many."""
    names = lab.sql("select name from pragma_table_info('runs') where name not in ('id', 'uid', 'plan_key')")["name"]
    columns = ", ".join(names)
    copy = f"insert into runs (uid, plan_key, {columns}) select ?1, ?1, {columns} from runs where id = 1"  # noqa: S608
    lab.store.write(lambda c: c.executemany(copy, [(str(n),) for n in range(100)])).result()
    html = lab.history().snapshot()
    assert (html.count("<tr>"), "the newest 50 of 103; " in html, len(html) < 200_000) == (51, True, True)


def test_a_bad_filter_is_refused_at_once(lab):
    """lab.history says what is wrong before anything is shown."""
    with pytest.raises(SearchError, match="show='old': one of 'active', 'archived', 'all' is needed"):
        lab.history(show="old")


# Versions


@pytest.fixture
def diff(lab):
    """The panel of two versions."""
    return lab.diff("ask@1", "ask")


def test_the_difference_travels_with_the_panel(lab, diff):
    """All of it: versions to walk through, lines, variables, parameters, the effect."""
    first = json.loads(json.dumps(diff.first()))
    assert [(each["label"], each["answers"]) for each in first["versions"]] == [("ask@1", 4), ("ask@2", 2)]
    found = first["diff"]
    assert found["messages"][0] == {"role": "system", "change": "added", "lines": [[None, [["a", "Be curt.", False]]]]}
    assert found["messages"][1]["lines"] == [[[["s", "{{ q }}", True]], [["s", "{{ q }}", True]]]]
    assert (found["words"], found["variables"]["kept"], found["code"]) == ([2, 0], ["q"], "lab.diff('ask@1', 'ask@2')")
    assert [(each["name"], each["changed"]) for each in found["parameters"]] == [
        ("max_tokens", False),
        ("model", False),
        ("temperature", True),
    ]
    assert {name: found["effect"][name] for name in ("shared", "changed", "same", "unknown", "by")} == {
        "shared": 2,
        "changed": 0,
        "same": 2,
        "unknown": 0,
        "by": [],
    }


def test_pairs_come_in_pages(diff):
    """The answers behind the effect, of one kind, with what was asked."""
    page = ask(diff, "pairs", before=1, after=2, which="same", start=1, n=5)
    [row] = page["rows"]
    assert (page["count"], row["case"], row["before"], row["after"], row["verdict"]) == (
        2,
        "q2",
        "answer to q2",
        "answer to q2",
        "same",
    )
    assert ask(diff, "pairs", before=1, after=2, which="worse", start=0, n=5) == {"count": 0, "rows": []}
    assert ask(diff, "pairs", before=1, after=2, which="all", start=0, n=5)["count"] == 2


def test_other_versions_can_be_asked_for(diff):
    """Swapped, or another pair; what is no version is refused."""
    swapped = ask(diff, "diff", before=2, after=1)
    assert (swapped["messages"][0]["change"], swapped["summary"]) == (
        "removed",
        "1 removed of 2 messages, +0 −2 words, about −6 tokens",
    )
    assert ask(diff, "diff", before=1, after=99).startswith("no version of id 99 in ")
    assert ask(diff, "diff", before=0, after=1).startswith("diff: before: Input should be greater than or equal to 1")
    assert ask(diff, "pairs", before=1, after=2, which="best", start=0, n=1).startswith("pairs: which: Input should")


def test_a_long_prompt_is_asked_for_when_the_panel_draws(lab):
    """What does not fit into the first page is left to the browser's question; its snapshot stays small."""
    long = "\n".join(f"rule {n}: " + "word " * 40 for n in range(400))
    for text in (long, long.replace("word", "term")):
        lab.ask(PromptTemplate("long", system=text, user="q0"), model="m")
    panel = lab.diff("long@1", "long@2")
    assert (panel.first()["diff"], len(json.dumps(panel.first())) < 100_000) == (None, True)
    assert len(ask(panel, "diff", **{side: panel.first()[side] for side in ("before", "after")})["messages"]) == 2
    assert len(panel.html()) < 200_000


def test_versions_as_frames_and_text(lab, diff):
    """The panel's text is that of the difference, its frames those of the lines and the pairs."""
    assert repr(diff) == repr(diff.result)
    assert (len(diff.frame()), len(diff.effect_frame())) == (2, 2)
    assert "run this cell for the live panel" in diff.snapshot()
    assert [each.label for each in lab.versions("ask")] == ["ask@1", "ask@2"]
    assert len(lab.versions()) == 3
    with pytest.raises(NotFoundError, match="did you mean 'ask'"):
        lab.diff("aks@1", "ask@2")


def test_hostile_text_is_escaped_in_snapshots(tmp_path):
    """Names, notes, prompts and answers that are HTML stay text in both panels."""
    with hostile_lab(tmp_path / "hostile.db") as lab:
        for panel in (lab.history(), lab.history("hello"), lab.diff("evil@1", "evil@2"), lab.versions()):
            html = panel.snapshot() if hasattr(panel, "snapshot") else panel._repr_html_()
            tags = set(re.findall(r"</?([^\s>]+)", html))
            assert tags <= ALLOWED


def test_a_run_without_counts_is_counted_in_the_totals(lab):
    """A run that goes on, or one of an old file, counts with its trials in the line above the list."""
    lab.store.write(lambda connection: connection.execute("update runs set counts = null")).result()
    first = lab.history().first()
    assert (first["trials"], first["cost_usd"], first["unpriced"]) == (14, 0.0, 0)


def test_a_run_forgotten_meanwhile_is_told(lab):
    """A list that still shows it says that it is gone, when it is opened."""
    history = lab.history()
    lab.forget("other", dry_run=False)
    assert "run 3 is not in" in ask(history, "rows", wanted=ALL, opened=3, start=0, n=50)
