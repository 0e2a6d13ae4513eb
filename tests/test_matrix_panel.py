"""The comparison matrix as a browser asks for it, without a browser; and as it stands in a saved notebook."""

import asyncio
import json
import re
import threading
from html.parser import HTMLParser

import pytest

from comparisons import CASES, TERSE, answers, lab_of, run_in
from hostile import PAYLOADS, hostile_lab
from promptlab import Lab, judgements
from promptlab.errors import ComparisonError, NotFoundError, RatingError
from promptlab.panels import matrix
from promptlab.panels.matrix import Matrix

LAYOUT = {"rows": "country", "columns": ["template", "temperature"]}


@pytest.fixture
def lab(capitals):
    """A lab with the run `capitals`."""
    return capitals


class Listening(Matrix):
    """A panel that keeps what it would tell the browsers."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.told = []

    def send(self, content):
        """Keep it, as JSON would carry it."""
        self.told.append(json.loads(json.dumps(content, default=str)))


@pytest.fixture
def panel(lab):
    """A panel whose rater is ann."""
    return Listening(lab.store, [1], matrix.Spec().changed(LAYOUT), rater="ann")


def ask(panel, op, **args):
    """Ask as a browser does, and return the answer as it gets it."""
    message = panel.handle({"op": op, "re": "1", "args": args})
    assert "error" not in message, message
    return json.loads(json.dumps(message["answer"], allow_nan=False))


def refusal(panel, op, **args):
    """Ask as a browser does, and return why it got no answer."""
    return panel.handle({"op": op, "re": "1", "args": args})["error"]


def labels(panel):
    """Return the rows as shown."""
    return [row["labels"][0] for row in ask(panel, "page", start=0, n=100)["rows"]]


def output_of(panel, row=0, column=0):
    """Return the output that a cell shows."""
    return ask(panel, "page", start=row, n=1)["rows"][0]["cells"][column]["output_id"]


# What is drawn


def test_the_state_has_all_that_is_drawn_around_the_cells(panel):
    """Axes, heads, counts, views: everything but the page."""
    state = ask(panel, "hello")
    assert {name: state[name] for name in ("version", "rows", "rows_in_all", "folded", "references", "counts")} == {
        "version": 1,
        "rows": 4,
        "rows_in_all": 4,
        "folded": ["repeat"],
        "references": ["country", "capital", "continent"],
        "counts": {"ok": 36, "failed": 12, "stopped": 0, "running": 0, "todo": 0},
    }
    assert state["caption"] == "capitals: 4 rows x 4 columns; in each cell: all values of repeat"
    assert state["axes"][1] == {"name": "temperature", "kind": "parameter", "count": 2}
    terse, chatty = [{"at": at, "label": name} for at, name in enumerate(("terse", "chatty"))]
    cold, hot = [{"at": at, "label": at} for at in (0, 1)]
    assert [head["values"] for head in state["columns"]] == [[terse, cold], [terse, hot], [chatty, cold], [chatty, hot]]
    assert {name: state[name] for name in ("rater", "live", "at", "views", "scorer", "terms", "read_only")} == {
        "rater": "ann",
        "live": False,
        "at": None,
        "views": [],
        "scorer": None,
        "terms": [],
        "read_only": None,
    }
    assert "page" not in state


def test_the_first_page_travels_with_the_widget(panel):
    """What is drawn without a kernel is the state and the first rows, small enough to travel."""
    first = panel.first()
    assert first["page"]["rows"] == panel.page(0, 32)["rows"]
    assert {**first, "page": None} == {**panel.hello(), "page": None}
    assert panel.widget.get_state()["view"] == "matrix"


def test_a_large_first_page_is_cut_short(tmp_path):
    """However long the answers are, no more than some 90 kB travel with the widget."""
    with lab_of(tmp_path / "x.db", lambda _: "long " * 20_000) as lab:
        run_in(lab, cases=[{"country": f"{number} " + "x" * 2_000} for number in range(40)], repeats=1)
        panel = lab.load(1).compare(**LAYOUT)
        first = panel.first()
        assert len(json.dumps(first)) < matrix.FIRST_BYTES + 1_000
        assert 1 <= len(first["page"]["rows"]) <= matrix.FIRST_ROWS
        assert len(panel.snapshot().encode()) < 200_000


def test_a_page_has_the_columns_asked_for(panel):
    """Only columns in sight need be read; texts are clipped as asked."""
    page = ask(panel, "page", start=1, n=2, columns=[3], chars=4)
    assert (page["version"], page["start"]) == (1, 1)
    assert [[cell["text"] for cell in row["cells"]] for row in page["rows"]] == [["The "], ["The "]]
    assert ask(panel, "page", start=100, n=32)["rows"] == []


def test_facets_details_and_variants_are_answered(panel):
    """They come with the version of the order that their places are in."""
    assert ask(panel, "facets")["categories"][0]["values"] == [
        {"value": "ok", "count": 36},
        {"value": "failed", "count": 12},
    ]
    assert ask(panel, "detail", row=1, column=1, variant=1)["cell"]["text"] == "Kyoto, or"
    assert [(cell["text"], cell["same"]) for cell in ask(panel, "variants", row=1, column=1)["cells"]] == [
        ("Tokyo", 2),
        ("Kyoto, or", 1),
    ]
    assert {ask(panel, name, row=0, column=0)["version"] for name in ("detail", "variants")} == {1}


# Other layouts


def test_a_change_of_the_spec_is_told_to_every_browser(panel):
    """The answer is the new state; other browsers hear it as well."""
    state = ask(panel, "spec", change={"search": "tokyo", "filters": {"show": "different"}, "sort": "label"})
    assert (state["version"], state["rows"], state["terms"]) == (2, 1, ["tokyo"])
    assert labels(panel) == ["Japan"]
    assert [(told["push"], told["version"], told["spec"]["search"]) for told in panel.told] == [("state", 2, "tokyo")]
    assert ask(panel, "page", start=0, n=1)["rows"][0]["cells"][0]["marks"] == [[0, 5]]


def test_an_order_can_be_made_anew(lab, panel):
    """After something came or was said, `refresh` filters and orders from what the file holds now."""
    ask(panel, "spec", change={"filters": {"show": "pinned"}})
    judgements.pin(lab.store, 1, rater="bob")
    assert labels(panel) == []
    assert ask(panel, "refresh")["version"] == 3
    assert labels(panel) == ["France"]


def test_views_are_saved_and_loaded(lab, panel):
    """A layout under a name serves every panel, also from Python; another panel's is left alone."""
    ask(panel, "spec", change={"baseline": {"template": "terse"}, "sort": {"by": "label", "descending": True}})
    judgements.save_view(lab.store, "of another", {"panel": "history", "spec": {}})
    assert [each["name"] for each in ask(panel, "save_view", name="mine")["views"]] == ["mine"]
    assert judgements.view(lab.store, "mine").spec["spec"]["baseline"] == {"template": "terse"}
    ask(panel, "spec", change={"baseline": None, "sort": "plan"})
    assert ask(panel, "load_view", name="mine")["spec"]["baseline"] == {"template": {"at": 0, "label": "terse"}}
    assert labels(panel) == ["Peru", "Kenya", "Japan", "France"]
    again = lab.load("capitals").compare(view="mine", density="L")
    assert (again.layout.baseline, again.layout.density) == ({"template": "terse"}, "L")
    assert refusal(panel, "load_view", name="mien") == f"no view 'mien' in {lab.path}; did you mean 'mine'?"
    assert refusal(panel, "load_view", name="of another") == "the view 'of another' is of another panel"


# What people say


def test_ratings_notes_and_pins_are_in_the_file_when_they_are_answered(lab, panel):
    """Each is committed, told to every browser, and shown by the next page and every other panel."""
    output = output_of(panel)
    rated = {"output_id": output, "rating": 1.0, "scale": "thumbs", "raters": 1}
    assert ask(panel, "rate", output_id=output, value=1) == rated
    assert ask(panel, "note", output_id=output, text="right") == {"output_id": output, "note": "right"}
    assert ask(panel, "pin", output_id=output, pinned=True) == {"output_id": output, "pinned": True}
    assert panel.told[0] == {"push": "judged", **rated}
    with lab_of(lab.path) as other:
        cell = other.load(1).compare(**LAYOUT, rater="bob").page(0, 1)["rows"][0]["cells"][0]
    assert {name: cell[name] for name in ("rating", "scale", "raters", "note", "pinned")} == {
        "rating": None,
        "scale": None,
        "raters": 1,
        "note": "right",
        "pinned": True,
    }
    rows = lab.sql("select rater, value, scale, source from ratings").to_dict("records")
    assert rows == [{"rater": "ann", "value": 1.0, "scale": "thumbs", "source": "matrix"}]
    assert ask(panel, "rate", output_id=output, value=None)["rating"] is None
    assert ask(panel, "hello")["columns"][0]["rated"] == 0


def test_two_threads_rate_at_once(lab, panel):
    """Messages come on several threads; every rating is kept, and the last one of each output counts."""
    outputs = [output_of(panel, row, column) for row in range(3) for column in range(4)]
    threads = [
        threading.Thread(
            target=lambda scale=scale: [ask(panel, "rate", output_id=key, value=1, scale=scale) for key in outputs]
        )
        for scale in ("thumbs", "stars")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lab.sql("select count(*) as n from ratings")["n"][0] == 24
    assert set(judgements.current(lab.store, outputs)) == set(outputs)
    assert len(panel.told) == 24


def test_a_file_that_cannot_be_written_says_so(capitals_file):
    """The panel works, and says why nothing can be saved."""
    with Lab(capitals_file, offline=True) as lab:
        panel = Matrix(matrix.Store(lab.path, write=False), [1])
        assert panel.hello()["read_only"] == f"{lab.path} was opened to be read only"
        assert refusal(panel, "rate", output_id=1, value=1) == f"{lab.path} was opened to be read only"
        panel._store.close()


@pytest.mark.parametrize(
    ("op", "args", "reason"),
    [
        pytest.param(
            "page", {"start": -1, "n": 3}, "page: start: Input should be greater than or equal to 0", id="start"
        ),
        pytest.param("page", {"start": 0, "n": 201}, "page: n: Input should be less than or equal to 200", id="n"),
        pytest.param("page", {"start": 0, "n": 1, "columns": [4]}, "there is no column 4: there are 4", id="column"),
        pytest.param("page", {"start": 0, "n": 1, "sql": "x"}, "page: sql: Unexpected keyword argument", id="argument"),
        pytest.param("detail", {"row": 9, "column": 0}, "there is no row 9: 4 rows are left", id="row"),
        pytest.param(
            "rate", {"output_id": 999, "value": 1}, "output 999 is in no cell of this comparison", id="output"
        ),
        pytest.param(
            "rate", {"output_id": 1, "value": 2}, "2 is not on the scale 'thumbs': -1, 0, 1, or None", id="value"
        ),
        pytest.param("rate", {"output_id": 1, "value": 1, "scale": "x"}, None, id="scale"),
        pytest.param("note", {"output_id": 1, "text": "x" * 10_001}, None, id="note"),
        pytest.param(
            "spec",
            {"change": {"rows": "contry"}},
            "rows: no axis 'contry'; did you mean 'country'? there are 'run', 'template', 'version', "
            "'temperature', 'model', 'max_tokens', 'country', 'capital', 'continent', 'case', 'repeat'",
            id="axis",
        ),
        pytest.param("spec", {"change": {"sqlite": 1}}, None, id="field"),
        pytest.param("spec", {"change": "x"}, None, id="no mapping"),
        pytest.param("save_view", {"name": ""}, None, id="no name"),
        pytest.param("select", {"cells": [[0, 9]]}, "there is no column 9: there are 4", id="selection"),
        pytest.param("find", {"key": 3}, None, id="key"),
        pytest.param("update", {"whole": True}, "this panel has no operation 'update'", id="no operation"),
        pytest.param("frame", {}, "this panel has no operation 'frame'", id="not for browsers"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(lab, panel, op, args, reason):
    """Whatever a browser sends, it gets one sentence back; nothing is written or laid out anew."""
    before = (panel._table.version, panel.layout)
    assert reason in {None, refusal(panel, op, **args)}
    assert (panel._table.version, panel.layout) == before
    assert all(lab.sql(f"select * from {table}").empty for table in ("ratings", "notes", "views"))  # noqa: S608 - our own


# For Python


def test_the_selection_is_a_frame(panel):
    """What was selected in the browser last can be read in Python; it stays where it is when the order changes."""
    assert ask(panel, "select", cells=[[1, 1], [3, None]]) == {"cells": 2, "trials": 15}
    ask(panel, "spec", change={"sort": {"by": "label", "descending": True}})
    selection = panel.selection
    assert selection.groupby("country").size().to_dict() == {"Japan": 3, "Kenya": 12}
    assert selection.query("country == 'Japan'")[["template", "temperature"]].drop_duplicates().to_numpy().tolist() == [
        ["terse", 1]
    ]
    assert ask(panel, "select", cells=[])["trials"] == 0
    assert panel.selection.empty


def test_the_frame_has_what_is_left_with_what_was_said(lab, panel):
    """It is the run's own frame of the rows that are left, with ratings, notes and pins beside it."""
    output = output_of(panel, 2, 0)
    ask(panel, "rate", output_id=output, value=-1)
    ask(panel, "note", output_id=output, text="why?")
    ask(panel, "spec", change={"filters": {"values": {"country": ["Peru"]}}})
    frame = panel.frame()
    own = lab.load(1).frame().query("country == 'Peru'").reset_index(drop=True)
    assert frame[own.columns].to_dict("list") == own.to_dict("list")
    said = frame.dropna(subset="rating")[["output_id", "rating", "note", "pinned"]].to_dict("records")
    assert said == [{"output_id": output, "rating": -1.0, "note": "why?", "pinned": False}]


def test_the_select_reads_the_same_trials(lab, panel):
    """`panel.sql` is one SELECT that `lab.sql` takes."""
    ask(panel, "spec", change={"search": "lima", "filters": {"show": "unrated"}})
    assert sorted(lab.sql(panel.sql)["trial_id"]) == sorted(panel.frame()["trial_id"])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="plain"),
        pytest.param(
            {"filters": {"show": "different"}, "sort": "changed", "baseline": {"reference": "capital"}}, id="much"
        ),
        pytest.param({"rows": ["continent", "country"], "columns": "temperature", "hidden": [[0]]}, id="two axes"),
    ],
)
def test_a_link_opens_the_same_cell(lab, panel, change):
    """The permalink is Python; run again, it gives the same layout, open at the same cell."""
    ask(panel, "spec", change=change)
    code = ask(panel, "link", row=1, column=0)["code"]
    assert code.startswith("lab.load('capitals').compare(")
    again = eval(code, {"lab": lab})  # noqa: S307 - code of our own
    assert (again.layout, again.first()["at"]) == (panel.layout, [1, 0])
    assert again.page(1, 1)["rows"][0]["labels"] == panel.page(1, 1)["rows"][0]["labels"]


def test_a_link_to_several_runs_names_them_by_id(lab):
    """So does one to a run that is not the newest of its name."""
    with lab_of(lab.path, lambda _: "hm", identity="another") as other:
        run_in(other, repeats=1)
    panel = lab.compare([1, "capitals"], columns="run")
    assert ask(panel, "link", row=0, column=1)["code"] == (
        "lab.compare([1, 2], rows='country', columns='run', at=('France', 'capitals (2)'))"
    )
    assert ask(lab.load(1).compare(), "link", row=0, column=0)["code"].startswith("lab.load(1).compare(")


def test_a_link_to_what_is_not_there_is_refused(lab):
    """A row or column that is none of the table's is told."""
    with pytest.raises(ComparisonError, match=r"there is no row 'Chile'"):
        lab.load(1).compare(**LAYOUT, at=("Chile", ("terse", 0)))
    with pytest.raises(ComparisonError, match=r"there is no column \('terse', 7\)"):
        lab.load(1).compare(**LAYOUT, at=("Peru", ("terse", 7)))
    with pytest.raises(ComparisonError, match=r"\(row, column\) is needed"):
        lab.load(1).compare(at="Peru")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(
            {"hidden": ["terse"]},
            "hidden: ('terse',): a column has 2 values, one for each of 'template', 'temperature'",
            id="part of a column",
        ),
        pytest.param(
            {"hidden": [("ters", 0)]}, "hidden: 'template' is never 'ters'; did you mean 'terse'?", id="hidden"
        ),
        pytest.param(
            {"filters": {"values": {"temperature": [0, 7]}}},
            "filters['values']: 'temperature' is never 7; it takes [0, 1]",
            id="value",
        ),
    ],
)
def test_what_is_typed_has_to_be_there(lab, panel, options, says):
    """A column to hide or a value to keep that there is not is told; a saved view may have some of other runs."""
    with pytest.raises(ComparisonError) as caught:
        lab.load(1).compare(**LAYOUT, **options)
    assert str(caught.value) == says
    of_others = {"panel": "matrix", "spec": matrix.Spec().changed({**LAYOUT, **options}).json()}
    judgements.save_view(lab.store, "of others", of_others)
    layout = lab.load(1).compare(view="of others").layout
    assert (layout.hidden, layout.filters.values) in [((), {}), ((), {"temperature": [0]})]


def test_a_rater_has_a_name(lab):
    """An empty one is refused before anything is shown."""
    with pytest.raises(RatingError, match=r"^rater='': a name of 1 to 200 characters is needed$"):
        lab.load(1).compare(rater="")


def test_columns_of_judgements_can_be_filtered_by(lab):
    """Trials without an answer are not pinned and not rated, in columns of their own kind."""
    frame = lab.load(1).compare().frame()
    assert (frame["status"].unique().tolist(), frame["pinned"].dtype, frame["rating"].dtype) == (
        ["ok", "failed"],
        bool,
        "float64",
    )
    assert len(frame[frame.pinned]) == 0


def test_compare_takes_runs_names_and_ids(lab):
    """`lab.compare` takes any of them; what is none is told with what there is."""
    run = lab.load(1)
    assert repr(lab.compare([run, "capitals", 1])) == repr(run.compare()) == repr(lab.compare("capitals"))
    with pytest.raises(NotFoundError, match="no run 'capitol'"):
        lab.compare([run, "capitol"])


def test_a_row_is_found_by_its_key(panel):
    """In the present order, or not at all."""
    key = ask(panel, "page", start=2, n=1)["rows"][0]["key"]
    ask(panel, "spec", change={"sort": {"by": "plan", "descending": True}})
    assert ask(panel, "find", key=key) == {"row": 1}
    ask(panel, "spec", change={"filters": {"show": "failed"}})
    assert ask(panel, "find", key=key) == {"row": None}
    assert ask(panel, "find", key="r99") == {"row": None}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"filters": {"values": {"temperature": []}}}, id="no trial is left"),
        pytest.param({"search": "nowhere", "sort": "rank"}, id="no row is left"),
        pytest.param({"filters": {"values": {"country": ["Kenya"]}}, "sort": "changed"}, id="no answer is left"),
        pytest.param({"hidden": [["terse", 0], ["terse", 1], ["chatty", 0], ["chatty", 1]]}, id="no column is left"),
    ],
)
def test_a_table_with_nothing_in_it_is_drawn(panel, change):
    """Whatever is left, or not, every way to look at it works."""
    ask(panel, "spec", change=change)
    assert panel.first()["page"]["rows"] == panel.page(0, 32)["rows"]
    assert ask(panel, "facets")["version"] == 2
    assert "rows; run this cell for the live panel" in panel.snapshot() or "1 row;" in panel.snapshot()
    assert len(panel.frame()) == sum(head["trials"] for head in ask(panel, "hello")["columns"])
    assert panel.update(whole=True)["cells"] == []


def test_a_forgotten_run_is_empty(lab):
    """A run whose row stays for the money of what others use has nothing to compare, and says so."""
    with lab_of(lab.path) as same:
        run_in(same, name="reuses")
    lab.forget(1, dry_run=False)
    panel = lab.load(1).compare()
    assert repr(panel) == "<Matrix 'capitals': 0 rows x 0 columns, no trials>"
    assert panel.first()["rows"] == 0


def test_the_text_is_fixed(panel):
    """The text of the output is the same whenever the notebook is run."""
    assert repr(panel) == "<Matrix 'capitals': 4 rows x 4 columns, 36 ok, 12 failed>"


# While a run goes on


def test_a_run_fills_the_panel(tmp_path):
    """What comes while a run goes on is told as changed cells, the end as the whole state; the order stays."""
    gate, release = threading.Event(), threading.Event()
    answer = answers()

    async def slow(body):
        if "Peru" in str(body):
            gate.set()
            while not release.is_set():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.001)
        return answer(body)

    with lab_of(tmp_path / "x.db", slow) as lab:
        plan = lab.plan([TERSE], {"model": "m", "temperature": 0}, cases=CASES)
        run = lab.start(plan, name="live", concurrency=1)
        assert gate.wait(20)
        panel = Listening(lab.store, [run.id], matrix.Spec().changed({"rows": "country"}))
        assert (panel.hello()["live"], panel.hello()["counts"]["running"]) == (True, 1)
        panel.told.clear()
        follower = panel._follower
        release.set()
        follower.join(20)
        assert not follower.is_alive()
    cells = {
        cell["trial_id"]: (row, cell["status"], cell["text"]) for told in panel.told for row, _, cell in told["cells"]
    }
    assert sorted(cells.values()) == [(2, "ok", "Lima"), (3, "failed", None)]
    last = panel.told[-1]
    assert (last["push"], last["live"], last["stale"]) == ("cells", False, False)
    assert last["counts"] == {"ok": 3, "failed": 1, "stopped": 0, "running": 0, "todo": 0}
    assert [told["number"] for told in panel.told] == list(range(1, len(panel.told) + 1))


def test_another_process_fills_the_panel_too(lab):
    """What another writer commits to the file is seen; where nobody wrote, nothing is looked at or told."""
    undo = "update samples set state = 'leased', output_id = null where id = 1"
    redo = "update samples set state = 'done', output_id = 1 where id = 1"
    lab.store.write(lambda connection: connection.execute(undo)).result()
    panel = Listening(lab.store, [1], matrix.Spec().changed({**LAYOUT, "sort": "length"}))
    panel.update(whole=False)
    assert panel.update(whole=False) is None
    with Lab(lab.path, offline=True) as other:
        other.store.write(lambda connection: connection.execute(redo)).result()
    told = panel.update(whole=False)
    assert [(row, column, cell["trial_id"]) for row, column, cell in told["cells"]] == [
        (labels(panel).index("France"), 0, 1)
    ]
    assert (told["whole"], told["stale"], told["counts"]["ok"]) == (True, True, 36)


def test_trials_that_were_added_are_laid_out(lab):
    """Where a plan is still being written, the new state is told."""
    cut = "delete from trials where run_id = 1 and position >= 24"
    kept = lab.sql("select * from trials where position >= 24").to_numpy(dtype=object).tolist()
    lab.store.write(lambda connection: connection.execute(cut)).result()
    panel = Listening(lab.store, [1], matrix.Spec().changed(LAYOUT))
    assert len(panel.hello()["columns"]) == 2
    marks = ", ".join("?" * len(kept[0]))
    add = f"insert into trials values ({marks})"  # noqa: S608 - question marks
    plain = [[None if value != value else value for value in row] for row in kept]  # noqa: PLR0124 - NaN
    lab.store.write(lambda connection: connection.executemany(add, plain)).result()
    told = panel.update(whole=False)
    assert (told["push"], len(told["columns"]), told["version"]) == ("state", 4, 2)


# Without a kernel


class Tags(HTMLParser):
    """Collects tags, attributes and the text of a piece of HTML."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        """Note a tag."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data):
        """Note text."""
        self.text += data


def test_the_snapshot_shows_the_first_rows_and_the_differences(lab):
    """A reader without a kernel sees texts with what is more and less than in the baseline, counts and reasons."""
    panel = lab.load(1).compare(**LAYOUT, baseline={"template": "terse"})
    html = panel.snapshot()
    assert "<ins>The capital of France is </ins>Paris<ins>.</ins>" in html
    assert "2 of 3 alike" in html
    assert html.count("<small>failed</small>") == 4
    assert "this question is refused" in html
    assert "country / template, temperature" in html
    assert "terse, 0 (baseline): 9 ok, 3 failed" in html
    assert "4 of 4 rows; run this cell for the live panel" in html
    assert html == lab.load(1).compare(**LAYOUT, baseline={"template": "terse"}).snapshot()


def test_no_text_gets_out_of_the_snapshot(tmp_path):
    """Whatever names, cases and answers hold, the snapshot is a table of text: no script, style, id, link or image."""
    with hostile_lab(tmp_path / "hostile.db") as lab:
        for run in lab.runs()["id"]:
            panel = lab.load(run).compare()
            found = Tags(panel.html())
            assert found.tags <= {
                "div",
                "b",
                "br",
                "span",
                "small",
                "table",
                "thead",
                "tbody",
                "tr",
                "th",
                "td",
                "ins",
                "del",
            }
            assert found.attributes <= {"class", "style"}
            assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00\x1b]", found.text)
            assert PAYLOADS["script"] in found.text
            assert len(panel.html().encode()) < 200_000


def test_hostile_texts_are_carried_as_they_are(tmp_path):
    """What a browser is sent is JSON with the raw text, whatever it holds."""
    with hostile_lab(tmp_path / "hostile.db") as lab:
        for run in lab.runs()["id"]:
            panel = lab.load(run).compare()
            texts = {
                cell["text"] for row in ask(panel, "page", start=0, n=100)["rows"] for cell in row["cells"] if cell
            }
            assert texts
            for row in range(min(3, ask(panel, "hello")["rows"])):
                assert ask(panel, "detail", row=row, column=0)["cell"]["text"] in texts | {None}
            code = ask(panel, "link", row=0, column=0)["code"]
            assert eval(code, {"lab": lab}).first()["at"] == [0, 0]  # noqa: S307 - code of our own
            assert sorted(lab.sql(panel.sql)["trial_id"]) == sorted(panel.frame()["trial_id"])
