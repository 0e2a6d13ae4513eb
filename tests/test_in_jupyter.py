"""promptlab in a real JupyterLab: the same script as outside, a stop that is clean, and outputs that cannot run."""

import pytest

from processes import wait_until
from promptlab import Lab

SCRIPT = """
import os
os.environ.update(OPENAI_BASE_URL={url!r}, OPENAI_API_KEY="sk-jupyter-000000")
from promptlab import Cases, Lab, ParameterGrid, PromptTemplate

lab = Lab({file!r})
ask = PromptTemplate("ask", system="Answer with one word.", user="{{{{ question }}}}")
cases = Cases([{{"question": f"What is {{number}}?"}} for number in range({cases})])
plan = lab.plan(ask, ParameterGrid(model={model!r}, temperature=[0, 1], max_tokens=9), cases=cases)
"""


def script(fault_server, *, file, model="m", cases=5):
    """Return the first cell of a sweep against a server, named only by the environment."""
    return SCRIPT.format(url=fault_server.base_url, file=file, model=model, cases=cases)


def outputs(page):
    """Return the text of every output on the page."""
    return page.locator(".jp-OutputArea-output").all_inner_texts()


def test_a_script_of_the_environment_runs_in_a_cell(jupyter, fault_server):
    """Lab() finds endpoint and key in the environment; plan, run and frame are drawn, and nothing is sent twice."""
    jupyter.write(
        "sweep.ipynb", script(fault_server, file="sweep.db"), "plan", "run = lab.run(plan); run", "run.frame()"
    )
    page = jupyter.open("sweep.ipynb")
    shown = "\n".join(outputs(page))
    assert "Plan · 10 trials: 1 template x 2 settings x 5 cases" in shown
    assert "10 trials, 10 ok" in shown
    assert "10 rows" in shown
    assert jupyter.run_code(page, "print(lab.run(plan).id == run.id)") == "True\n"
    assert fault_server.stats()["requests"] == 10


def test_the_same_script_runs_outside(fault_server, tmp_path, monkeypatch):
    """The very same text runs as a program."""
    monkeypatch.setenv("OPENAI_API_KEY", "")
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    namespace = {}
    exec(script(fault_server, file=str(tmp_path / "sweep.db")), namespace)  # noqa: S102 - the test's own text
    with namespace["lab"] as lab:
        assert len(lab.run(namespace["plan"], progress=False).frame()) == 10


def test_await_works_in_a_cell(jupyter, fault_server):
    """A cell of a notebook, in which an event loop runs already, can await a run."""
    cell = "run = await lab.start(plan)\nprint(run.status, len(run.outputs))"
    jupyter.write("await.ipynb", script(fault_server, file="await.db"), cell)
    assert outputs(jupyter.open("await.ipynb"))[-1] == "done 10\n"


def test_the_stop_button_ends_a_run_cleanly_and_the_cell_resumes_it(jupyter, fault_server):
    """An interrupt sends nothing new and loses nothing; the same cell then asks only for the rest."""
    fault_server.set(latency_ms=300)
    jupyter.write("stop.ipynb", script(fault_server, file="stop.db", cases=30))
    page = jupyter.open("stop.ipynb")
    page.evaluate("""() => { window.__stopped = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
        .requestExecute({code: "lab.run(plan, concurrency=2, progress=False)"}).done.then(m => m.content.ename) }""")
    wait_until(lambda: fault_server.stats()["requests"] > 2, "the run")
    jupyter.command(page, "kernelmenu:interrupt")
    assert page.evaluate("() => window.__stopped") == "KeyboardInterrupt"
    assert jupyter.run_code(page, "print(lab.last_run.status, lab.last_run.reason)") == "stopped stopped by its user\n"
    sent = fault_server.stats()
    assert 0 < sent["requests"] < 60
    assert sent["delivered"] == sent["requests"]
    fault_server.set(latency_ms=0)
    assert jupyter.run_code(page, "print(len(lab.run(plan, progress=False).frame()))") == "60\n"
    assert fault_server.stats()["requests"] == 60


@pytest.mark.parametrize("fault", ["html", "markdown", "ansi", "rtl"])
def test_hostile_outputs_are_text(jupyter, fault_server, fault):
    """What a model wrote is drawn as text in every view: no script runs, no address outside is asked."""
    views = [
        "lab.run(plan)",
        "lab.last_run.frame()",
        "lab.request(1)",
        "lab.ask(ask, {'question': '<script>window.__pwned = 1</script>'}, model='m', temperature=0)",
        "lab.plan(ask, ParameterGrid(model='<img src=x onerror=window.__pwned=1>', max_tokens=9), cases=cases)",
        "PromptTemplate('<img src=x onerror=window.__pwned=1>', user='<script>window.__pwned = 1</script>')",
        "lab.sql('select text from outputs')",
    ]
    fault_server.set(default=fault)
    jupyter.write("hostile.ipynb", script(fault_server, file=f"hostile-{fault}.db", cases=2), *views)
    page = jupyter.open("hostile.ipynb")
    page.wait_for_timeout(300)
    assert page.evaluate("() => window.__pwned === undefined")
    assert jupyter.blocked == []
    assert page.locator(".jp-Notebook .jp-Cell").count() == len(views) + 1
    assert not [text for text in outputs(page) if "Traceback" in text]


def test_no_text_is_taken_for_mathematics(jupyter, fault_server):
    """A price, a prompt and an answer with dollar signs are shown as they stand, in every card."""
    fault_server.set(echo="last")
    said = r"It costs $5 and $\alpha$ or \\(x\\) more, $$y$$."
    cells = [f"run = lab.ask(ask, {{'question': {said!r}}}, model='m', temperature=0).run", "lab.request(1)"]
    jupyter.write("math.ipynb", script(fault_server, file="math.db"), *cells, "lab.search('costs')", "run")
    page = jupyter.open("math.ipynb")
    page.wait_for_timeout(500)
    assert page.locator("mjx-container, .MathJax").count() == 0
    assert sum("It costs $5 and $" in text for text in outputs(page)) == 2


def test_a_key_is_nowhere_in_a_saved_notebook(jupyter, fault_server):
    """After a run with errors, neither the notebook's outputs nor the file hold the key."""
    fault_server.set(default="401")
    cells = ["lab", "lab.run(plan)", "lab.last_run.errors", "lab.ask(ask, {'question': '1'}, model='m')"]
    jupyter.write("key.ipynb", script(fault_server, file="key.db"), *cells)
    page = jupyter.open("key.ipynb")
    assert "sk-jupyter-000000" not in "\n".join(outputs(page))
    with Lab(jupyter.root / "key.db", offline=True, base_url=fault_server.base_url) as lab:
        assert len(lab.runs()) == 2
    assert all(b"sk-jupyter-000000" not in path.read_bytes() for path in jupyter.root.glob("key.db*"))
