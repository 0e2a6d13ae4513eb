"""A trial frame as a file."""

import io
import json

import pandas as pd
import pytest

from promptlab import PromptlabError
from promptlab.exports import export, write

FRAME = pd.DataFrame(
    {"output": ["=1+1", "plain", None, "-5"], "cost_usd": [-1.0, 2.0, None, 0.5], "reused": [True] * 4}
)


def test_csv_disarms_formulas_and_leaves_numbers_alone():
    """A text that a spreadsheet would run gets a quote before it; a negative number stays a number."""
    lines = export(FRAME, "csv").decode().splitlines()
    assert lines == [
        '"output","cost_usd","reused"',
        '"\'=1+1",-1.0,True',
        '"plain",2.0,True',
        '"","",True',
        '"\'-5",0.5,True',
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0"])
def test_csv_disarms_every_start_of_a_formula(start):
    """Each character that begins a formula in a spreadsheet is disarmed."""
    content = export(pd.DataFrame({"output": [f"{start}cmd"]}), "csv")
    assert pd.read_csv(io.BytesIO(content))["output"][0] == f"'{start}cmd"


def test_csv_disarms_names_of_columns():
    """A column of the cases may be named by anyone, so heads are disarmed as well."""
    assert export(pd.DataFrame({"=1+1": ["x"]}), "csv").decode().splitlines()[0] == '"\'=1+1"'


def test_jsonl_keeps_every_text_as_it_is():
    """JSON lines hold formulas, missing values and any alphabet unchanged."""
    frame = pd.DataFrame({"output": ["=1+1", None, "שלום\n2"]})
    rows = [json.loads(line) for line in export(frame, "jsonl").decode().splitlines()]
    assert rows == [{"output": "=1+1"}, {"output": None}, {"output": "שלום\n2"}]


def test_parquet_keeps_values_and_types():
    """Parquet gives the frame back."""
    frame = pd.DataFrame({"output": ["=1+1", None], "prompt_tokens": pd.array([1, None], dtype="Int64")})
    found = pd.read_parquet(io.BytesIO(export(frame, "parquet")))
    assert found["output"][0] == "=1+1"
    assert found["prompt_tokens"].dropna().tolist() == [1]


@pytest.mark.parametrize("values", [[["=1", 2]], [2**70], [1, "a"]], ids=["list", "huge", "mixed"])
def test_parquet_says_what_it_cannot_hold(values):
    """One clear error, which names the form that can."""
    frame = pd.DataFrame({"q": pd.Series(values, dtype=object)})
    with pytest.raises(PromptlabError, match=r"does not fit into Parquet, .*; export it as jsonl"):
        export(frame, "parquet")


def test_write_refuses_to_overwrite(tmp_path):
    """A file that is there stays as it is."""
    target = tmp_path / "run.csv"
    target.write_text("mine")
    with pytest.raises(PromptlabError, match=r"run\.csv exists; remove it or name another file"):
        write(FRAME, target, "csv")
    assert target.read_text() == "mine"


def test_write_returns_the_path(tmp_path):
    """The file holds what export gives."""
    target = write(FRAME, tmp_path / "run.jsonl", "jsonl")
    assert target.read_bytes() == export(FRAME, "jsonl")
