"""The report of a run: what it says, and that no text in it runs, loads or hides anything."""

import re
import shutil
from html.parser import HTMLParser

import pytest
from axe_playwright_python.sync_playwright import Axe

import hostile
from promptlab import Lab, ParameterGrid, PromptTemplate, exact_match, reports
from promptlab.errors import ExportError
from promptlab.testing import ScriptedBackend, error_reply, sample_lab
from studies import BRISK, cases, plan_of

#: Every element that a report may have: none that runs, loads, embeds, links or asks.
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "footer", "div", "h1", "h2", "h3"),
    *("p", "ul", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "pre"),
    *("code", "span", "b", "small", "br", "ins", "del", "img"),
}
VOID = {"meta", "br", "img"}
AXE_RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}}
#: What is wrong with a page when a text got through.
FAULTS = """() => [
    ...(window.__hostile ? ['ran: ' + window.__hostile] : []),
    ...[...document.querySelectorAll('script, iframe, object, embed, link, base, form, a, svg')]
        .map(element => 'a ' + element.tagName),
    ...[...document.querySelectorAll('h1')].slice(1).map(element => 'a heading: ' + element.textContent),
    ...[...document.images].filter(image => !image.src.startsWith('data:image/png;base64,')).map(image => image.src),
    ...(document.querySelector('main').checkVisibility() ? [] : ['hidden']) ]"""


class Page(HTMLParser):
    """What a parser sees: elements, attributes, texts by element, and whether every element is closed in turn."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.open, self.texts = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Open an element."""
        self.elements.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        """Close the one opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Keep a text with its element."""
        self.texts.append((self.open[-1] if self.open else None, data))

    def inside(self, tag):
        """Return the texts that stand directly in elements of a kind."""
        return [" ".join(text.split()) for place, text in self.texts if place == tag and text.strip()]

    @property
    def text(self):
        """All that is to be read."""
        return " ".join(" ".join(text for place, text in self.texts if place != "style").split())


def faults(page):
    """Return what a page has that may run, load or lead elsewhere."""
    found = [f"<{tag}>" for tag in page.elements if tag not in ELEMENTS]
    for tag, name, value in page.attributes:
        is_own = (tag, name) == ("img", "src") and re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/=]+", value)
        if name.startswith("on") or (name in {"src", "href", "srcset", "action", "data", "srcdoc"} and not is_own):
            found.append(f"{tag} {name}={value[:80]}")
        if name == "style" and re.search(r"url|@import|expression", value):
            found.append(f"{tag} {name}={value}")
    styles = " ".join(text for place, text in page.texts if place == "style")
    return found + re.findall(r"url\(|@import", styles)


def report(run, path, **options):
    """Return the report of a run as it is parsed."""
    return Page(run.report(path / "report.html", **options).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def scored_file(tmp_path_factory):
    """A file with the run `capitals`, scored."""
    path = tmp_path_factory.mktemp("scored") / "sample.db"
    with sample_lab(path) as lab:
        lab.load("capitals").score(exact_match("capital"))
    return path


@pytest.fixture
def scored(scored_file, tmp_path):
    """The run `capitals`, scored, in a file of its own."""
    with Lab(shutil.copy(scored_file, tmp_path), offline=True) as lab:
        yield lab.load("capitals")


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory):
    """The report of a run in which every text is a payload."""
    folder = tmp_path_factory.mktemp("hostile")
    with hostile.hostile_lab(folder / "hostile.db") as lab:
        run = lab.load(1)
        run.tag("<img src=x onerror=alert(1)>")
        run.score(exact_match("reference"))
        return run.report(folder / "report.html")


def test_a_report_says_what_was_asked_and_what_came_out(scored, tmp_path):
    """Its parts stand in the order in which they are read, whole."""
    page = report(scored, tmp_path)
    assert page.open == []
    assert page.inside("h1") == ["capitals"]
    assert page.inside("h2") == [
        "What came out",
        "Differences, and what matters",
        "Plots",
        "What was asked",
        "Outputs",
        "Errors",
        "Methods",
        "Made with",
    ]
    assert dict(zip(page.inside("dt"), page.inside("dd"), strict=True)) | {"median latency": "", "95 % within": ""} == {
        "trials": "16",
        "ok": "12",
        "failed": "4",
        "stopped": "0",
        "requests sent": "16",
        "cost": "free",
        "tokens sent": "312",
        "tokens received": "48",
        "median latency": "",
        "95 % within": "",
    }
    for text in (
        "2 templates × 2 settings × 4 cases × 1 repeat, asked of sample",
        "Answer with one word.",
        "Capital of {{ country }}?",
        "terse, version 1",
        "4 HTTP 400 invalid_request_error (content_policy_violation): this question is refused",
        "run = Lab('sample.db', offline=True).load(1)",
    ):
        assert text in page.text


def test_its_tables_are_those_of_the_run(scored, tmp_path):
    """Summary, contrasts with their verdicts, and effects say what the run's own methods say."""
    page = report(scored, tmp_path)
    contrasts = [scored.contrast(axis, "exact_match") for axis in scored.axes]
    tables = [scored.summary(), *contrasts, scored.effects("exact_match")]
    cells, heads = page.inside("td"), page.inside("h3")
    for table in tables:
        assert table.rich.title in heads
        assert all(cell in cells for row in table.rich.rows for cell in row if cell)  # an empty one is no text
    for table in contrasts:
        for line in table.verdict.splitlines():
            assert line in page.text


def test_its_pictures_say_what_they_show(scored, tmp_path):
    """Each plot is in the file, with one sentence for who cannot see it."""
    page = report(scored, tmp_path)
    alts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert 4 <= len(alts) <= reports.PICTURES
    assert all(len(alt) > 40 for alt in alts)
    assert faults(page) == []


def test_a_run_without_scores_says_so(tmp_path):
    """What was measured is summed up and compared; nobody is told which is better."""
    with sample_lab(tmp_path / "sample.db") as lab:
        page = report(lab.load("capitals"), tmp_path)
    assert "Nothing was scored, so this says what the answers took" in page.text
    assert "Summary · completion_tokens, latency_ms" in page.inside("h3")


def test_a_run_that_has_not_ended_says_so(tmp_path):
    """Its status, the reason and what is to come stand at its head."""
    refused = ScriptedBackend(lambda _: error_reply(401, "no such key"))
    with Lab(tmp_path / "lab.db", backend=refused, policy=BRISK) as lab:
        run = lab.run(plan_of(lab, 40), name="cut", progress=False)
        page = report(run, tmp_path)
    facts = dict(zip(page.inside("dt"), page.inside("dd"), strict=True))
    assert run.status == "stopped"
    assert f"The run is stopped: {run.reason}." in page.text
    assert facts["ok"] == "0"
    assert facts["median latency"] == "unknown"
    assert int(facts["failed"]) + int(facts["stopped"]) == 40
    assert faults(page) == []


def test_reused_answers_are_told(tmp_path):
    """What another run paid for is no cost of this one."""
    with sample_lab(tmp_path / "sample.db") as lab:
        first = lab.load("capitals")
        again = lab.run(first.templates, first.grid, cases=first.cases, name="again", progress=False)
        page = report(again, tmp_path)
    assert "12 trials took an answer that was bought before, at no cost to this run." in page.text


def test_a_file_that_is_there_stays(scored, tmp_path):
    """Unless it is asked for, nothing is overwritten."""
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(ExportError, match=r"report\.html exists; remove it or name another file"):
        scored.report(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == "mine"
    assert report(scored, tmp_path, overwrite=True).inside("h1") == ["capitals"]


def test_neither_machine_nor_folder_is_told(scored, tmp_path):
    """A report is for others: no host name, no path."""
    page = report(scored, tmp_path)
    (host,) = scored._store.read("select host from runs where id = 1")[0]
    assert host
    assert host not in page.text.split()
    assert str(tmp_path) not in page.text


def test_a_large_run_is_cut_and_says_where(tmp_path):
    """Templates, settings, cases and texts beyond the limits are counted, not shown; the page stays small."""
    names = [f"t{number}" for number in range(reports.TEMPLATES + 2)]
    asked = [PromptTemplate(name, system=name, user="{{ q }}" + "x" * 30_000) for name in names]
    grid = ParameterGrid(model="m", max_tokens=9, seed=list(range(5)))
    with Lab(tmp_path / "lab.db", backend=ScriptedBackend(lambda _: "y" * 5_000)) as lab:
        run = lab.run(asked, grid, cases=cases(9), name="large", progress=False)
        path = run.report(tmp_path / "report.html")
    page = Page(path.read_text(encoding="utf-8"))
    assert f"The first {reports.TEMPLATES} of 22 templates." in page.text
    assert "5 of 9 cases." in page.text
    assert "x… (30,007 characters)" in page.text
    assert "Left out: template has 22 values: they are not compared." in page.text
    assert page.inside("h3").count("t19, version 1") == 1
    assert "t20, version 1" not in page.inside("h3")
    assert path.stat().st_size < 2_000_000


# Hostile texts


def test_no_text_is_markup(hostile_report):
    """To a parser there are only our own elements, nothing that runs, loads or links, and every text as it was."""
    page = Page(hostile_report.read_text(encoding="utf-8"))
    assert faults(page) == []
    assert page.open == []
    assert page.inside("h1") == [hostile.PAYLOADS["image"]]
    shown = {" ".join(text.split()) for text in page.inside("pre")}
    assert " ".join(hostile.PAYLOADS["script"].split()) in shown


def test_hidden_characters_are_shown(hostile_report):
    """What would reverse, hide or control text stands as its code."""
    text = hostile_report.read_text(encoding="utf-8")
    assert "admin⟨202E⟩npg.exe" not in text
    assert "⟨202E⟩" in text
    assert re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069]", text) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_runs_and_loads_nothing(browser, hostile_report, scheme):
    """Opened from disk, a report asks for nothing but itself, logs nothing, and all its texts are texts."""
    context = browser.new_context(color_scheme=scheme)
    asked, said = [], []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url.split(",")[0]))
    page.on("console", lambda message: said.append(message.text))
    page.goto(hostile_report.as_uri())
    assert page.evaluate(FAULTS) == []
    assert {url for url in asked if not url.startswith("data:image/png;base64")} == {hostile_report.as_uri()}
    assert said == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_is_accessible_and_fits(browser, scored, tmp_path, scheme):
    """axe-core finds nothing to complain about, in both themes, and a narrow window needs no sideways scrolling."""
    path = scored.report(tmp_path / "report.html")
    context = browser.new_context(color_scheme=scheme, viewport={"width": 420, "height": 800}, bypass_csp=True)
    page = context.new_page()
    page.goto(path.as_uri())
    found = Axe().run(page, options=AXE_RULES).response["violations"]
    assert [(each["id"], node["html"], node["failureSummary"]) for each in found for node in each["nodes"]] == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    context.close()
