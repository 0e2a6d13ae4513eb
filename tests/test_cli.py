"""The command line, as a person types it."""

import json
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from promptlab import Lab, LocalModel, __version__, cli, demo
from promptlab.testing import ScriptedBackend, error_reply
from studies import BRISK, plan_of


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Run `promptlab ARGS` in a folder of its own and return (exit code, what it printed)."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        result = CliRunner().invoke(cli.main, list(args))
        return result.exit_code, result.output

    return run


@pytest.fixture
def recorded(tmp_path):
    """An experiments.db with one run of three trials, the last of which was refused."""

    def answer(body):
        question = body["messages"][-1]["content"]
        return error_reply(400, "no such thing") if question == "q2" else f"[red]{question}[/] \x1b[31m=1+1"

    path = tmp_path / "experiments.db"
    with Lab(path, backend=ScriptedBackend(answer), policy=BRISK) as lab:
        lab.run(plan_of(lab, 3), name="study", progress=False)
    return path


def test_version_is_told(command):
    """`--version` prints the package's version."""
    assert command("--version") == (0, f"promptlab, version {__version__}\n")


def test_runs_lists_what_a_file_holds(command, recorded):
    """`runs` has a line a run: name, status, counts."""
    code, output = command("runs")
    line = next(line for line in output.splitlines() if "study" in line)
    cells = line.split()
    assert code == 0
    assert cells[:3] == ["1", "study", "done"]
    assert cells[5:] == ["3", "2", "1", "3", "$0.00"]


def test_runs_of_an_empty_file_says_so(command, tmp_path):
    """A file without runs is no error."""
    Lab(tmp_path / "experiments.db", backend=ScriptedBackend()).close()
    assert command("runs") == (0, "experiments.db holds no runs yet\n")


@pytest.mark.parametrize("args", [("runs",), ("show", "1"), ("export", "1"), ("report", "1")], ids=lambda args: args[0])
def test_a_file_that_is_not_there_is_not_made(command, tmp_path, args):
    """Looking never creates a file, and the message names the option."""
    assert command(*args) == (1, "Error: experiments.db does not exist; name a file with --file\n")
    assert list(tmp_path.iterdir()) == []


def test_show_prints_trials_as_plain_text(command, recorded):
    """`show` takes a name or an id; markup and escape codes in outputs come out as they are, visible."""
    code, output = command("show", "study")
    assert code == 0
    assert "3 trials, 2 ok, 1 failed" in output
    assert "[red]q0[/] ⟨1B⟩[31m=1+1" in output
    assert command("show", "1") == (code, output)


def test_show_says_how_many_rows_it_left_out(command, recorded):
    """Not every trial is printed, and it says so."""
    _, output = command("show", "study", "--rows", "1")
    assert "1 of 3 trials" in output


def test_show_of_an_unknown_run_names_the_nearest(command, recorded):
    """One sentence instead of a traceback."""
    code, output = command("show", "studi")
    assert code == 1
    assert output.startswith("Error: no run 'studi' in experiments.db; did you mean 'study'?")


def test_export_writes_one_row_a_trial(command, recorded):
    """JSON lines go to standard output, exactly as the frame has them."""
    code, output = command("export", "study", "--format", "jsonl")
    rows = [json.loads(line) for line in output.splitlines()]
    assert code == 0
    assert [row["output"] for row in rows] == ["[red]q0[/] \x1b[31m=1+1", "[red]q1[/] \x1b[31m=1+1", None]
    assert [row["status"] for row in rows] == ["ok", "ok", "failed"]


def test_export_to_a_file_refuses_to_overwrite(command, recorded, tmp_path):
    """The second export of the same name is refused."""
    assert command("export", "study", "-o", "run.csv") == (0, "run.csv: 3 trials\n")
    assert len((tmp_path / "run.csv").read_text().splitlines()) == 4
    assert command("export", "study", "-o", "run.csv") == (
        1,
        "Error: run.csv exists; remove it or name another file\n",
    )


@pytest.mark.parametrize(
    ("args", "first"),
    [
        pytest.param(("-o", "run.jsonl"), '{"position":0,', id="suffix"),
        pytest.param(("-o", "run.txt", "--format", "csv"), '"position","template",', id="format"),
        pytest.param(("-o", "run.md"), "| position | template |", id="Markdown"),
    ],
)
def test_export_goes_by_the_suffix(command, recorded, tmp_path, args, first):
    """The file's name says the format, unless it is given."""
    assert command("export", "study", *args) == (0, f"{args[1]}: 3 trials\n")
    assert (tmp_path / args[1]).read_text().startswith(first)


def test_export_to_an_unknown_suffix_says_which_there_are(command, recorded, tmp_path):
    """One sentence, and no file."""
    code, output = command("export", "study", "-o", "run.xlsx")
    assert code == 1
    assert output == "Error: run.xlsx has no suffix of a format; there are .csv, .jsonl, .parquet, .md\n"
    assert not (tmp_path / "run.xlsx").exists()


def test_report_writes_one_page(command, recorded, tmp_path):
    """`report` says what it wrote, and overwrites nothing."""
    code, output = command("report", "study")
    assert code == 0
    assert output.startswith("report.html: ")
    assert "<h1>study</h1>" in (tmp_path / "report.html").read_text()
    assert command("report", "1") == (1, "Error: report.html exists; remove it or name another file\n")


def test_doctor_reports_and_succeeds(command):
    """`doctor` has a line a topic and no complaint about this installation."""
    code, output = command("doctor")
    assert code == 0
    assert __version__ in output
    assert "full-text search there" in output


@pytest.mark.local_model
@pytest.mark.slow
def test_demo_asks_the_real_model_once(command, tmp_path):
    """The demo sweeps the real model and ends in its table; a second time it sends nothing and says so."""
    code, first = command("demo", "--reviews", "4")
    assert code == 0, first
    assert "40 requests sent" in first
    assert "/ 4" in first
    assert "Best: " in first
    code, second = command("demo", "--reviews", "4")
    assert code == 0
    assert "Nothing was sent: every answer was already in demo.db" in second
    assert second.count("/ 4") == first.count("/ 4") == 10
    with closing(sqlite3.connect(tmp_path / "demo.db")) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert connection.execute("select count(*) from attempts").fetchone() == (40,)


def test_demo_in_jupyter_opens_without_the_model(command, tmp_path):
    """The line that the demo prints for Jupyter reads the file offline."""
    with Lab(tmp_path / "demo.db", backend=ScriptedBackend("positive", identity=LocalModel().identity)) as lab:
        lab.run(demo.templates(), demo.grid(), cases=demo.reviews().head(2), name=demo.NAME, progress=False)
    with Lab(tmp_path / "demo.db", offline=True) as lab:
        assert lab.load(demo.NAME).frame()["output"].tolist() == ["positive"] * 20
