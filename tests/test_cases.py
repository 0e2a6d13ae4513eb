"""Cases: read exactly as they are, from wherever they come."""

import csv
import datetime as dt
import math
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlab import CaseError, Cases
from strategies import any_text

CAPITALS = [
    {"question": "Capital of France?", "capital": "Paris"},
    {"question": "Capital of Italy?", "capital": "Rome"},
    {"question": "Capital of Spain?", "capital": "Madrid"},
]


@pytest.fixture
def path(tmp_path):
    """Where a file of cases will stand."""
    return tmp_path / "cases"


def raised(call, *args, **options):
    """Return the problems of the CaseError that a call raises."""
    with pytest.raises(CaseError) as caught:
        call(*args, **options)
    return caught.value.problems


# From memory


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(CAPITALS, id="list"),
        pytest.param(iter(CAPITALS), id="iterator"),
        pytest.param(Cases(CAPITALS), id="cases"),
        pytest.param(pd.DataFrame(CAPITALS), id="DataFrame"),
        pytest.param(pd.DataFrame(CAPITALS, index=[7, 7, 9]), id="DataFrame with an index"),
    ],
)
def test_cases_come_from_rows_of_any_kind(rows):
    """The order and the columns are those given."""
    cases = Cases(rows)
    assert list(cases) == CAPITALS
    assert cases.columns == ("question", "capital")


def test_values_of_a_frame_become_jsons_own():
    """What pandas calls missing is None, and numpy's numbers are Python's."""
    frame = pd.DataFrame(
        {
            "n": np.array([1, 2]),
            "x": [0.5, math.nan],
            "text": ["007", None],
            "when": [pd.Timestamp("2026-01-02"), pd.NaT],
            "flag": pd.array([True, None], dtype="boolean"),
        }
    )
    assert list(map(repr, Cases(frame))) == [
        "{'n': 1, 'x': 0.5, 'text': '007', 'when': '2026-01-02T00:00:00', 'flag': True}",
        "{'n': 2, 'x': None, 'text': None, 'when': None, 'flag': None}",
    ]


def test_a_column_that_a_row_lacks_is_none_there():
    """Every case has every column, in the order first met."""
    assert list(Cases([{"a": 1}, {"b": (2, dt.date(2026, 1, 2))}, {3: "c"}])) == [
        {"a": 1, "b": None, "3": None},
        {"a": None, "b": [2, "2026-01-02"], "3": None},
        {"a": None, "b": None, "3": "c"},
    ]


def test_every_value_that_is_no_json_is_listed():
    """The error names row and column of each."""
    assert raised(Cases, [{"a": 1j}, 5, {"a": math.inf}, {"a": Decimal(1)}]) == (
        "case 0, 'a': 1j (complex) is not JSON; use text, numbers, true/false, None, lists or dicts",
        "case 1 is 5; each case is a mapping of column names to values",
        "case 2, 'a': inf is not JSON; use a finite number or None",
        "case 3, 'a': Decimal('1') (Decimal) is not JSON; use text, numbers, true/false, None, lists or dicts",
    )


def test_a_value_nested_without_end_is_refused():
    """A list that holds itself is no JSON."""
    endless = []
    endless.append(endless)
    (problem,) = raised(Cases, [{"a": endless}])
    assert problem.startswith("case 0, 'a': maximum recursion depth exceeded")


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        pytest.param({"a": 1}, "dict", id="one mapping"),
        pytest.param("a.csv", "str", id="path"),
        pytest.param(5, "int", id="number"),
        pytest.param(None, "NoneType", id="none"),
    ],
)
def test_cases_are_a_list(rows, kind):
    """One mapping is not a list of one."""
    assert raised(Cases, rows) == (
        f"cases are a list of mappings, not one {kind}; write [{{...}}], or Cases.from_csv(path) for a file",
    )


def test_a_frame_with_two_columns_of_one_name_is_refused():
    """One of them would be lost."""
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert raised(Cases, frame) == ("the DataFrame has two columns 'a'; rename one",)


# From files


def test_csv_is_text_exactly_as_it_stands(path):
    """No number, date or missing value is made of a cell, and nothing is stripped."""
    path.write_bytes(b'\xef\xbb\xbfid,text,empty\r\n007,"a, ""b""\r\nc",\r\n1e3, NA ,null\r\n')
    cases = Cases.from_csv(path)
    assert list(cases) == [
        {"id": "007", "text": 'a, "b"\r\nc', "empty": ""},
        {"id": "1e3", "text": " NA ", "empty": "null"},
    ]


def test_csv_may_have_another_separator_and_encoding(path):
    """Spreadsheets of some countries write semicolons, and older ones Latin-1."""
    path.write_bytes("a;b\né;1,5\n".encode("latin-1"))
    assert list(Cases.from_csv(str(path), separator=";", encoding="latin-1")) == [{"a": "é", "b": "1,5"}]


def test_csv_skips_blank_lines_but_no_empty_cells(path):
    """A blank line is layout; a quoted empty cell is a case."""
    path.write_text('\na\n\n""\nx\n\n')
    assert list(Cases.from_csv(path)) == [{"a": ""}, {"a": "x"}]


def test_csv_holds_long_documents(path):
    """A cell may be longer than the csv module's limit, which stays as it was."""
    limit = csv.field_size_limit()
    path.write_text("a\n" + "x" * 200_000)
    assert len(Cases.from_csv(path)[0]["a"]) == 200_000
    assert csv.field_size_limit() == limit


@given(st.lists(st.tuples(st.text(), st.text()), max_size=4))
def test_csv_gives_back_what_a_writer_wrote(tmp_path_factory, rows):
    """Quotes, line ends, blanks and any letters survive."""
    path = tmp_path_factory.getbasetemp() / "any.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    assert list(Cases.from_csv(path)) == [{"a": a, "b": b} for a, b in rows]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "{path} is empty; it begins with a line of column names", id="empty"),
        pytest.param(b"\n\n", "{path} is empty; it begins with a line of column names", id="blank"),
        pytest.param(b"a,a\n1,2\n", "{path} has two columns 'a'; rename one", id="column twice"),
        pytest.param(
            b"a,b\n1,2\n1,2,3\n",
            "{path}, line 3: 3 cells where the header has 2; put quotes around text that holds commas or line breaks",
            id="cells too many",
        ),
        pytest.param(
            b'a,b\n"1\n2",2\n1\n',
            "{path}, line 4: 1 cell where the header has 2; put quotes around text that holds commas or line breaks",
            id="cells too few",
        ),
        pytest.param(b'a,b\n"1,2\n', "{path} cannot be read: unexpected end of data", id="quote not closed"),
        pytest.param(
            b"a\n\xff\n", "{path} cannot be read: 'utf-8' codec can't decode byte 0xff in position 2: ", id="no UTF-8"
        ),
        pytest.param(None, "{path} cannot be read: [Errno 2] No such file or directory: ", id="no file"),
    ],
)
def test_csv_that_loses_something_is_refused(path, content, message):
    """The error names the file, the line and what to mend."""
    if content is not None:
        path.write_bytes(content)
    (problem,) = raised(Cases.from_csv, path)
    assert problem.startswith(message.format(path=path))


def test_jsonl_keeps_types(path):
    """Each line is an object; blank lines, a byte-order mark and carriage returns are layout."""
    path.write_bytes('\ufeff{"a": 1, "b": "007"}\r\n\r\n{"a": [null, {"c": 0.5}], "d": "\u2028"}\n'.encode())
    assert list(Cases.from_jsonl(path)) == [
        {"a": 1, "b": "007", "d": None},
        {"a": [None, {"c": 0.5}], "b": None, "d": "\u2028"},
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(
            '{"a": 1',
            ", line 3: not JSON (Expecting ',' delimiter: line 1 column 8 (char 7)); each line holds one object",
            id="broken",
        ),
        pytest.param("[1]", ', line 3: [1] is not an object; write {"column": value, ...}', id="list"),
        pytest.param('"text"', ", line 3: 'text' is not an object; write", id="text"),
        pytest.param('{"a": ' + "1" * 5000 + "}", ", line 3: not JSON (Exceeds the limit", id="endless number"),
        pytest.param("[" * 99_999, ", line 3: not JSON (maximum recursion depth exceeded", id="deep"),
        pytest.param("\xff", " cannot be read: 'utf-8' codec can't decode byte 0xff", id="no UTF-8"),
    ],
)
def test_jsonl_names_the_line_that_cannot_be_read(path, line, message):
    """The line number counts blank lines, as an editor does."""
    path.write_bytes(b'{"a": 1}\n\n' + line.encode("latin-1"))
    (problem,) = raised(Cases.from_jsonl, path)
    assert problem.startswith(f"{path}{message}")


def test_jsonl_refuses_numbers_that_are_none(path):
    """Python's reader lets NaN and Infinity pass: one is a missing value, the other an error."""
    path.write_text('{"a": NaN}\n')
    assert list(Cases.from_jsonl(path)) == [{"a": None}]
    path.write_text('{"a": -Infinity}\n')
    assert raised(Cases.from_jsonl, path) == ("case 0, 'a': -inf is not JSON; use a finite number or None",)


def test_a_jsonl_file_that_is_not_there_is_named(path):
    """The error is promptlab's own."""
    (problem,) = raised(Cases.from_jsonl, path)
    assert problem.startswith(f"{path} cannot be read: [Errno 2]")


def test_parquet_keeps_types(path):
    """Lists come back as lists, and missing values as None."""
    pd.DataFrame({"a": ["007", None], "b": [[1, 2], [3]], "c": [0.5, math.nan]}).to_parquet(path)
    assert list(Cases.from_parquet(path)) == [{"a": "007", "b": [1, 2], "c": 0.5}, {"a": None, "b": [3], "c": None}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"no parquet", "Parquet", id="no parquet"),
        pytest.param(None, "No such file or directory", id="no file"),
    ],
)
def test_parquet_that_cannot_be_read_is_named(path, content, message):
    """The error names the file and the reason."""
    if content is not None:
        path.write_bytes(content)
    (problem,) = raised(Cases.from_parquet, path)
    assert problem.startswith(f"{path} cannot be read: ")
    assert message in problem


WITHOUT_PYARROW = """
import sys
sys.modules["pyarrow"] = None
from promptlab import CaseError, Cases
try:
    Cases.from_parquet(sys.argv[1])
except CaseError as error:
    print(error)
"""


def test_parquet_without_its_extra_says_what_to_install(path):
    """Parquet needs a package that is no requirement."""
    path.touch()
    done = subprocess.run([sys.executable, "-c", WITHOUT_PYARROW, path], capture_output=True, text=True, check=True)
    assert done.stdout == f'{path}: reading Parquet needs pyarrow; pip install "promptlab-notebook[parquet]"\n'


# Some of them


def test_the_first_cases():
    """`head` keeps the order and takes what is there."""
    assert list(Cases(CAPITALS).head(2)) == CAPITALS[:2]
    assert list(Cases(CAPITALS).head(9)) == CAPITALS
    assert len(Cases(CAPITALS * 2).head()) == 5


@given(st.integers(0, 20), st.integers())
def test_a_sample_keeps_the_order_and_repeats_itself(n, seed):
    """The same seed takes the same cases, each once."""
    cases = Cases([{"n": number} for number in range(20)])
    found = [case["n"] for case in cases.sample(n, seed=seed)]
    assert found == sorted({*found})
    assert len(found) == n
    assert cases.sample(n, seed=seed) == cases.sample(n, seed=seed)


@pytest.mark.parametrize("n", [-1, 4])
def test_a_sample_is_no_larger_than_the_cases(n):
    """There is nothing to take beyond them."""
    assert raised(Cases(CAPITALS).sample, n, seed=0) == (f"cannot sample {n} of 3 cases",)


def test_duplicates_are_pairs_of_places():
    """Cases are equal when every column is, as it would be printed: 1 and 1.0 are two prompts."""
    cases = Cases([{"a": 1}, {"a": 2}, {"a": 1.0}, {"a": True}, {"a": 1}])
    assert cases.duplicates() == [(0, 4)]


def test_a_frame_of_the_cases():
    """Values come back in columns, one row a case."""
    pd.testing.assert_frame_equal(Cases(CAPITALS).frame(), pd.DataFrame(CAPITALS))


def test_no_cases_at_all():
    """An empty list is no error here: the plan refuses it."""
    cases = Cases([])
    assert (len(cases), cases.columns, cases.frame().shape) == (0, (), (0, 0))


def test_equal_cases_are_equal():
    """Rows and their order count, columns' order does not."""
    assert Cases([{"a": 1, "b": 2}]) == Cases([{"b": 2, "a": 1}])
    assert Cases(CAPITALS) != Cases(CAPITALS[::-1])
    assert Cases(CAPITALS) != CAPITALS


# What a reader sees


def test_cases_show_their_size_and_columns():
    """The repr is one line."""
    assert repr(Cases(CAPITALS)) == "<Cases 3 cases: question, capital>"
    assert repr(Cases([])) == "<Cases 0 cases: no columns>"


@given(any_text)
def test_any_text_is_a_case(text):
    """Nothing in a value is changed on the way in."""
    assert Cases([{"a": text}])[0] == {"a": text}


def test_the_card_shows_the_first_cases_as_text():
    """Long values are cut, markup is shown, and the card says when there are more."""
    cases = Cases([{"a": "<b>" + "x" * 99}] * 6)
    card = cases._repr_html_()
    assert card.count("&lt;b&gt;" + "x" * 76 + "…") == 5
    assert "<b>Cases · 6 cases</b>" in card
    assert ">the first 5<" in card
    assert "the first" not in cases.head(5)._repr_html_()
