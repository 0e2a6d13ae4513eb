"""Content: what a model says and a template holds is kept, flagged, exported and bounded, and nothing of it obeyed."""

import csv
import io
import json

import pandas as pd
import pytest

from faultserver import Fault
from faultserver.catalogue import CONTENTS, content_of
from processes import run_python
from promptlab import Lab, ParameterGrid, PlanError, PromptTemplate, TemplateError
from promptlab.exports import export
from studies import ASK, BRISK

KEY = "sk-test-1234567890"

#: Faults whose answers a reader has to be warned of, and the flags that do so.
FLAGGED = {
    "length": "length",
    "content_filter": "content_filter, blank",
    "refusal": "refusal",
    "null_content": "null",
    "blank": "blank",
    "spaces": "blank",
    "tool_calls": "tool_calls",
    "unknown_finish": "unknown_finish",
    "null_finish": "no_finish",
    "other_model": "other_model",
    "no_usage": "no_usage",
    "zero_usage": "no_usage",
    "lone_surrogate": "surrogates",
    "ok": "",
}


@pytest.fixture
def lab(tmp_path, fault_server):
    """A lab that asks the fault server; a model's name chooses the fault."""
    with Lab(tmp_path / "lab.db", base_url=fault_server.base_url, api_key=KEY, policy=BRISK) as lab:
        yield lab


def met(lab, faults, cases=({"q": "Hi"},)):
    """Return the frame of a run that meets each of some faults once a case."""
    grid = ParameterGrid(model=[f"fault:{fault}" for fault in faults])
    return lab.run(ASK, grid, cases=list(cases), progress=False).frame()


def exported(frame, form):
    """Write a frame as a file's bytes, and read it again."""
    content = io.BytesIO(export(frame, form))
    if form == "parquet":
        return pd.read_parquet(content)
    return pd.read_csv(content, keep_default_na=False) if form == "csv" else pd.read_json(content, lines=True)


def test_every_content_is_kept(lab):
    """NUL, emoji, right-to-left, ANSI escapes, HTML, SQL, a megabyte: every text comes out of the file as it was."""
    outputs = met(lab, CONTENTS)["output"]
    said = [content_of(Fault(name)) for name in CONTENTS]
    # UTF-8 has no place for half a surrogate pair
    assert list(outputs) == [text.replace("\ud83d", "\ufffd") for text in said]


def test_flags_visible(lab):
    """An answer to be careful with says so in the table, for one answer, and in every form of export."""
    frame = met(lab, FLAGGED)
    expected = list(FLAGGED.values())
    assert (list(frame["flags"]), set(frame["status"])) == (expected, {"ok"})
    for form in ("csv", "jsonl", "parquet"):
        assert list(exported(frame, form)["flags"]) == expected
    asked = [lab.ask(ASK, {"q": "Hi"}, model=f"fault:{fault}") for fault in FLAGGED]  # the same answers
    assert [repr(answer).rpartition("\n")[2] for answer in asked if answer.flags] == [
        f"[{flags}]" for flags in expected if flags
    ]


def test_untrusted_db_exports_no_formula(lab):
    """Nothing that begins like a formula is left in a CSV, be it an output, a case, a name or a setting."""
    starts = ["=", "+", "-", "@", "\t", "\r", "\n", "\0"]
    cases = [{"q": f"{start}1+1", "=SUM(A1)": f"{start}2"} for start in starts]
    template = PromptTemplate("=1+1", user="{{ q }}")
    grid = ParameterGrid(model=["fault:csv", "fault:ok"], stop=["=9", "@9"])
    frame = lab.run(template, grid, cases=cases, progress=False).frame()
    rows = list(csv.reader(io.StringIO(export(frame, "csv").decode(), newline="")))
    cells = [cell for row in rows for cell in row if not cell.replace(".", "", 1).lstrip("-").isdigit()]
    assert [cell for cell in cells if cell.startswith(tuple(starts))] == []
    assert (len(rows), sum(cell.startswith("'=HYPERLINK") for cell in cells)) == (33, 16)


# Templates

SECRET = "the secret of this folder"


@pytest.mark.parametrize(
    "payload",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ x.__class__ }}",
        "{{ x['__class__'] }}",
        "{{ x | attr('__class__') }}",
        "{{ x | attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
        "{{ '{0.__class__}'.format(x) }}",
        "{{ '{x.__class__}'.format_map({'x': x}) }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ joiner.__init__.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ range.__globals__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ lipsum.__globals__['os'] }}",
        "{{ config }}",
        "{{ [].append(1) }}",
        "{{ x.update({'a': 1}) }}",
        "{% for k in ().__class__.__base__.__subclasses__() %}{{ k }}{% endfor %}",
        "{% import 'os' as os %}",
        "{% extends '/etc/passwd' %}",
        "{% include 'secret.txt' %}",
        "{% include './secret.txt' %}",
        "{% include '../secret.txt' %}",
        "{% include 'link.txt' %}",
        "{% include 'file:///etc/passwd' %}",
        "{% include x.path %}",
        "{% from 'secret.txt' import a %}",
    ],
)
def test_templates(lab, fault_server, tmp_path, monkeypatch, payload):
    """Python's attributes, other files and changes to values are out of reach; nothing is sent, nothing is told."""
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("secret.txt").write_text(SECRET)
    tmp_path.joinpath("link.txt").symlink_to("/etc/passwd")
    with pytest.raises((TemplateError, PlanError)) as caught:
        lab.run(PromptTemplate("evil", user=payload), {"model": "m"}, cases=[{"x": {"path": "secret.txt"}}])
    assert (fault_server.ledger(), SECRET in str(caught.value), "root:" in str(caught.value)) == ([], False, False)


@pytest.mark.parametrize("payload", ["{{ 7*7 }}", "{% include 'secret.txt' %}", "{# gone #}", "{{ q }}"])
def test_templates_do_not_render_what_a_case_says(lab, fault_server, payload):
    """A case that looks like a template goes out as it is written."""
    fault_server.set(echo="last")
    assert list(met(lab, ["ok"], cases=[{"q": payload}])["output"]) == [payload]


def test_templates_miss_nothing_silently(lab, fault_server):
    """A variable that no case has is an error that names the nearest column, before anything is sent."""
    with pytest.raises(PlanError, match=r"needs {{ questoin }}, .* did you mean the column 'question'"):
        lab.run(PromptTemplate("typo", user="{{ questoin }}"), {"model": "m"}, cases=[{"question": "Hi"}])
    assert fault_server.ledger() == []


# Size

HUGE = """
import json, resource, sys
sys.path.insert(0, ".")
import pandas, pyarrow
from studies import plan_of
from promptlab import Lab

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

with Lab(sys.argv[1], base_url=sys.argv[2], api_key="sk-test-1234567890") as lab:
    lab.run(plan_of(lab, 1), progress=False).frame()
    before_mb = peak_mb()
    run = lab.run(plan_of(lab, 100, model="fault:huge"), progress=False)
    run_mb = peak_mb() - before_mb
    shown = [run._repr_html_(), lab._repr_html_(), lab.request(2)._repr_html_()]
    chars = int(run.frame()["output"].str.len().sum())
    print(json.dumps([chars, max(map(len, shown)), run_mb, peak_mb() - before_mb]))
"""


@pytest.mark.slow
def test_huge(tmp_path, fault_server):
    """A hundred answers of a megabyte are taken with less than 300 MB more, and no card shows much of them."""
    chars, card_chars, run_mb, frame_mb = json.loads(run_python(HUGE, tmp_path / "lab.db", fault_server.base_url))
    assert (chars, fault_server.stats()["requests"]) == (100_000_000, 101)
    assert card_chars < 256 * 1024
    assert run_mb < 300
    assert frame_mb < 600  # the frame holds all of them, and pandas copies while it makes its own strings of them
