"""Past runs: what a list shows of them, how they are found again, and what a person writes on them."""

import pytest

from promptlab import Lab, NotFoundError, ParameterGrid, PromptTemplate, ReadOnlyError, SearchError, StoreError, lookups
from promptlab import histories as past
from promptlab.store import Store
from promptlab.testing import ScriptedBackend
from studies import ASK, echo, plan_of

OTHER = PromptTemplate("other", system="Be brief.", user="{{ q }}")


@pytest.fixture
def lab(tmp_path):
    """A lab on a new file, whose backend echoes and has prices."""
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend(echo)) as lab:
        yield lab


@pytest.fixture
def three(lab):
    """The lab with three runs: two versions of a template, two models, a note; the second reuses an answer."""
    lab.run(plan_of(lab, 3, temperature=[0, 1]), name="first", note="less apologetic", progress=False)
    curt = ASK.replace(system="Be curt.")
    lab.run(
        [ASK, curt],
        ParameterGrid(model="m", temperature=0, max_tokens=16),
        cases=[{"q": "q0"}],
        name="second",
        progress=False,
    )
    lab.run(
        OTHER, ParameterGrid(model=["m", "n"], top_p=[0.5, 1]), cases=[{"q": "Zebra"}], name="third", progress=False
    )
    return lab


def names(runs):
    """Return the names of runs."""
    return [run.name for run in runs]


def test_a_run_is_shown_with_what_it_came_to(three):
    """One run, whole: versions, models, grid in words, counts, cost."""
    run = past.past_runs(three.store)[1]
    assert run == past.PastRun(
        id=2,
        name="second",
        status="done",
        created_at=run.created_at,
        templates=("ask@1", "ask@2"),
        models=("m",),
        grid="",
        trials=2,
        ok=2,
        failed=0,
        reused=1,
        attempts=1,
        prompt_tokens=run.prompt_tokens,
        completion_tokens=3,
        cost_usd=0.0,
        tags=(),
        note="",
        archived=False,
    )
    assert [(found.name, found.grid, found.models) for found in past.past_runs(three.store)] == [
        ("third", "top_p x 2", ("m", "n")),
        ("second", "", ("m",)),
        ("first", "temperature x 2", ("m",)),
    ]


def test_the_frame_has_the_columns_declared(three):
    """lab.runs() has the oldest run first, and every column that needs no looking for."""
    frame = three.runs().drop(columns="created_at")
    assert frame.iloc[0].to_dict() == {
        "id": 1,
        "name": "first",
        "status": "done",
        "templates": "ask@1",
        "models": "m",
        "grid": "temperature x 2",
        "trials": 6,
        "ok": 4,
        "failed": 2,
        "reused": 0,
        "attempts": 6,
        "prompt_tokens": 32,
        "completion_tokens": 12,
        "cost_usd": 0.0,
        "tags": "",
        "note": "less apologetic",
        "archived": False,
    }
    assert list(past.frame(past.detailed(three.store, past.past_runs(three.store)))) == list(past.COLUMNS)


def test_no_run_makes_a_frame_without_rows(lab):
    """A file without runs has the columns all the same."""
    assert (len(lab.runs()), "tags" in lab.runs()) == (0, True)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        pytest.param({}, ["third", "second", "first"], id="all"),
        pytest.param({"text": "FIR"}, ["first"], id="name"),
        pytest.param({"text": "apologetic less"}, ["first"], id="words-of-a-note"),
        pytest.param({"text": "ask@2"}, ["second"], id="version-as-text"),
        pytest.param({"text": "gone"}, ["third"], id="tag-as-text"),
        pytest.param({"text": "first second"}, [], id="no-run-has-both"),
        pytest.param({"tag": "gone wrong"}, ["third"], id="tag"),
        pytest.param({"tag": "gone"}, [], id="part-of-a-tag"),
        pytest.param({"model": "n"}, ["third"], id="model"),
        pytest.param({"template": "ask"}, ["second", "first"], id="template"),
        pytest.param({"template": "ask@2"}, ["second"], id="version"),
        pytest.param({"show": "archived"}, [], id="none-archived"),
    ],
)
def test_runs_are_found_by_what_is_shown_of_them(three, asked, found):
    """Filters narrow the list, all of them at once."""
    three.load("third").tag("gone wrong")
    assert names(past.past_runs(three.store, **asked)) == found


def test_a_filter_that_is_none_is_told(three):
    """Every filter that cannot be understood is named at once."""
    with pytest.raises(SearchError) as error:
        past.past_runs(three.store, text=None, tag=7, show="some")
    assert error.value.problems == (
        "text=None: a text is needed",
        "tag=7: a text is needed",
        "show='some': one of 'active', 'archived', 'all' is needed",
    )


def test_latency_and_counts_are_looked_for(three):
    """The median is that of the newest answered attempts; a run without attempts has none."""
    three.store.write(lambda c: c.execute("update attempts set latency_ms = 10 * id where run_id = 1")).result()
    three.run(plan_of(three, 1, temperature=0), name="reused", progress=False)
    runs = past.detailed(three.store, past.past_runs(three.store))
    latencies = three.sql("select latency_ms from attempts where run_id = 1 and state = 'ok'")["latency_ms"]
    assert (runs[3].latency_ms, runs[0].latency_ms) == (latencies.median(), None)


def test_a_run_that_goes_on_is_counted_when_it_is_looked_at(three):
    """Counts that are not in the run's row stay unknown in the list, and are counted in details and frames."""
    three.store.write(lambda c: c.execute("update runs set counts = null where id = 2")).result()
    listed = past.past_runs(three.store)[1]
    [found] = past.detailed(three.store, [listed])
    assert (listed.trials, found.trials, found.ok, found.reused) == (None, 2, 2, 1)
    assert three.runs()["trials"].tolist() == [6, 2, 4]


SCORE = """
insert into scores (output_id, case_id, scorer, config_key, value, created_at)
select output_id, (select case_id from trials where trials.sample_id = samples.id), ?, ?, ?, '' from samples
where output_id = ?
"""


def score(lab, values, scorer="exact", config="c1"):
    """Write scores: output id -> value, each for the case of its trial."""
    rows = [(scorer, config, value, output_id) for output_id, value in values.items()]
    lab.store.write(lambda connection: connection.executemany(SCORE, rows)).result()


def test_the_best_setting_of_the_newest_scorer_is_shown(three):
    """The score is the highest mean over the settings; runs without scores have none."""
    outputs = three.load("first").frame().dropna(subset="output_id").set_index("output_id")["temperature"]
    score(three, dict.fromkeys(map(int, outputs.index), 0.5), scorer="old", config="c0")
    score(three, {int(key): float(value == 1) for key, value in outputs.items()})
    runs = {run.name: run for run in past.detailed(three.store, past.past_runs(three.store))}
    assert [(runs[name].score, runs[name].scorer, runs[name].best) for name in ("first", "third")] == [
        (1.0, "exact", "ask@1, temperature 1"),
        (None, None, None),
    ]


# Full text


def test_a_text_is_found_in_every_run_that_has_it(three):
    """An output that two runs share is found in both, with its snippet; a prompt as well."""
    found = lookups.search_runs(three.store, '"answer to q0"')
    assert {key: matches.outputs for key, matches in found.runs.items()} == {
        run_id: tuple(three.load(run_id).frame().query("q == 'q0'").sort_values("output_id")["output_id"][::-1])
        for run_id in (2, 1)
    }
    assert found.runs[2].hits[0].snippet == "answer to q0"
    prompts = lookups.search_runs(three.store, "zebra").runs[3]
    assert (len(prompts.outputs), len(prompts.requests)) == (4, 4)
    assert {hit.matched for hit in prompts.hits} == {"output"}


def test_nothing_found_is_no_run(three):
    """A word that stands nowhere finds no run; an empty text says so."""
    assert lookups.search_runs(three.store, "absent") == lookups.FoundRuns({}, ())
    assert lookups.search_runs(three.store, " ").notes == (
        "nothing to look for; give a word, or lab.sql() lists everything there is",
    )


# The requests of a run


def test_requests_come_in_pages_in_plan_order(three):
    """Some trials of a run: template, setting, case, status, text, and the request to open."""
    page = lookups.requests(three.store, 1, start=1, n=2)
    frame = three.load(1).frame()
    assert [(row.position, row.template, row.setting, row.case, row.status, row.output, row.error) for row in page] == [
        (1, "ask@1", "temperature 0", "q1", "failed", None, frame["error"][1]),
        (2, "ask@1", "temperature 0", "q2", "ok", "answer to q2", None),
    ]
    assert [row.request_id for row in page] == frame["request_id"][1:3].tolist()
    assert (lookups.number_of_requests(three.store, 1), lookups.requests(three.store, 1, start=6)) == (6, [])


def test_requests_can_be_those_that_match(three):
    """With matches only the trials that hold the text are listed and counted."""
    matches = lookups.search_runs(three.store, '"answer to q2"').runs[1]
    rows = lookups.requests(three.store, 1, matches=matches)
    assert [(row.position, row.output) for row in rows] == [(2, "answer to q2"), (5, "answer to q2")]
    assert lookups.number_of_requests(three.store, 1, matches=matches) == 2


# What is written


def stored(lab, run_id=1):
    """Return tags, note and the archive mark of a run as they are in the file."""
    return lab.sql("select tags, note, archived from runs where id = ?", [run_id]).iloc[0].tolist()


def test_tags_are_kept_in_the_order_given(three):
    """A tag is added once; taking one away that is not there changes nothing."""
    run = three.load(1).tag("b", "a").tag("a", " c ").untag("b", "zzz")
    assert (run.tags, stored(three)) == (("a", "c"), ['["a","c"]', "less apologetic", 0])
    assert three.runs()["tags"].tolist() == ["a, c", "", ""]


@pytest.mark.parametrize("bad", ["", "  ", "a,b", "a\nb", "x" * 61, None, 7])
def test_what_is_no_tag_is_refused(three, bad):
    """A tag is one short line; nothing is written when one of several is none."""
    with pytest.raises(StoreError, match="is no tag; a tag is a text of at most 60 characters on one line"):
        three.load(1).tag("good", bad)
    assert three.load(1).tags == ()


def test_a_note_is_replaced(three):
    """Assigning a note writes it; what is no text is refused."""
    run = three.load(1)
    run.note = "better \ud800"
    assert (run.note, stored(three)[1]) == ("better \ufffd", "better \ufffd")
    with pytest.raises(StoreError, match="a note is a text of at most 10,000 characters, not 7"):
        run.note = 7


def test_an_archived_run_is_left_out_and_comes_back(three):
    """Archiving deletes nothing: the run is listed when asked for, loads as before, and can be brought back."""
    run = three.load("second").archive()
    assert (three.runs()["name"].tolist(), run.is_archived) == (["first", "third"], True)
    assert three.runs(show="archived")["name"].tolist() == ["second"]
    assert three.runs(show="all")["archived"].tolist() == [False, True, False]
    assert len(three.load("second").frame()) == 2
    assert three.load("second").unarchive().is_archived is False
    assert three.runs()["name"].tolist() == ["first", "second", "third"]


def test_a_run_says_what_was_written_on_it(three):
    """Tags, note and the archive stand in the run's card, and only where there are any."""
    plain = repr(three.load(2))
    assert repr(three.load(2).tag("x").archive()) == f"{plain[:-1]}; x; run.unarchive() brings it back>"
    assert "less apologetic" in repr(three.load(1))


def test_changes_to_a_run_that_is_not_there_are_refused(three):
    """Of several runs none is changed when one is unknown."""
    with pytest.raises(NotFoundError, match="no run 99 to change"):
        past.archive(three.store, [1, 99])
    assert stored(three)[2] == 0


def test_a_read_only_file_takes_no_tag(three, tmp_path):
    """A file that cannot be written says so, and reads as before."""
    copy = three.backup(tmp_path / "copy.db")
    store = Store(copy, write=False)
    with pytest.raises(ReadOnlyError):
        past.tag(store, [1], ["x"])
    assert names(past.past_runs(store)) == ["third", "second", "first"]
    store.close()


def test_a_forgotten_run_is_in_no_list(three):
    """The row that stays for the money of others is not shown, archived or not."""
    three.forget("first", dry_run=False)
    assert names(past.past_runs(three.store, show="all")) == ["third", "second"]


def test_tags_of_a_file_that_others_wrote_do_no_harm(three):
    """A tags column that holds no list of texts reads as what of it is text."""
    for text, tags in (('["a", 7, null]', ("a",)), ('"abc"', ()), ("nonsense", ()), ('{"a": 1}', ())):
        three.store.write(lambda c, text=text: c.execute("update runs set tags = ? where id = 1", (text,))).result()
        assert (three.load(1).tags, three.runs()["tags"][0]) == (tags, ", ".join(tags))


def test_a_tag_is_taken_by_what_gave_it(three):
    """Blanks around a tag do not count, neither when it is given nor when it is taken."""
    assert three.load(1).tag(" a ").untag(" a ").tags == ()


def test_a_search_that_is_followed_no_further_says_so(three):
    """Of what is found in very many runs only the first places are counted, and a note says so."""
    found = lookups.search_runs(three.store, '"answer to q0"', most=2)
    assert sum(len(matches.outputs) for matches in found.runs.values()) == 2
    assert found.notes == ("what is found stands in so many runs that only the first 2 places are counted",)
