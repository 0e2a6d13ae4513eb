"""The plots: what is drawn of known numbers, what is said of it, and texts that stay texts."""

import html
import io
import math
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from hostile import PAYLOADS
from promptlab import Lab, PromptTemplate
from promptlab.analysis import contrasts, shares, summaries
from promptlab.errors import AnalysisError
from promptlab.plots import Plots, _fronts, _style
from promptlab.testing import ScriptedBackend, error_reply
from scored import frame_of
from test_readme import run_script, script

DOCS = Path(__file__).parent.parent / "docs"
AXES = ["template", "temperature"]
NASTY = [
    r"$\frac{a}{b}$",
    "<b>bold</b> & $x^2",
    "A" * 59 + "1",
    "A" * 59 + "2",
    "漢字テンプレート",
    "family \U0001f468\u200d\U0001f469",
    "line\nbreak\u202e",
    " ",
    *PAYLOADS.values(),
]


def trials(templates=("terse", "guided", "chatty"), temperatures=(0.0, 0.7), *, cases=12, repeats=2, seed=1):
    """Return trials of which guided is the best and the dearest, and one in eleven failed."""
    chance = random.Random(seed)
    place = {name: number for number, name in enumerate(templates)}

    def right(template, temperature, case, **_):
        if case == 5 and temperature:
            return None
        return float(chance.random() < (0.4, 0.9, 0.6)[place[template] % 3] - 0.2 * temperature)

    frame = frame_of(
        {"template": list(templates), "temperature": list(temperatures)},
        right,
        cases=cases,
        repeats=repeats,
        cost_usd=lambda template, **_: 0.0001 * (1 + place[template]),
        latency_ms=lambda template, case, **_: 100.0 * (1 + place[template]) + case,
        prompt_tokens=lambda **_: 20,
        cached_tokens=lambda **_: 5,
        completion_tokens=lambda template, **_: 10 * (1 + place[template]),
        total_tokens=lambda template, **_: 20 + 10 * (1 + place[template]),
        reasoning_tokens=lambda **_: 2,
    )
    answered = frame["status"] == "ok"
    similarity, verdict = frame["case"] / 20, frame["case"].map(lambda case: ("good", "bad", "odd")[case % 3])
    return frame.assign(similarity=similarity.where(answered), verdict=verdict.where(answered))


ATTEMPTS = pd.DataFrame(
    {
        "sent_at": ["2026-11-25T07:00:03.000Z", "2026-11-25T07:00:00.000Z", "2026-11-25T07:00:01.500Z"],
        "state": ["ok", "ok", "error"],
        "cost_usd": [0.25, 0.5, math.nan],
    }
)
CALLS = {
    "heatmap": lambda plots, **how: plots.heatmap("right", x="temperature", y="template", **how),
    "line": lambda plots, **how: plots.line("right", x="temperature", **how),
    "pareto": lambda plots, **how: plots.pareto("right", **how),
    "distribution": lambda plots, **how: plots.distribution("similarity", **how),
    "latency": lambda plots, **how: plots.latency(**how),
    "forest": lambda plots, **how: plots.forest("template", "right", **how),
    "effects": lambda plots, **how: plots.effects("right", **how),
    "tokens": lambda plots, **how: plots.tokens(**how),
    "cost": lambda plots, **how: plots.cost(**how),
}
every_plot = pytest.mark.parametrize("kind", CALLS)


@pytest.fixture(scope="module")
def frame():
    """144 trials of 3 templates at 2 temperatures; 6 of them failed."""
    return trials()


@pytest.fixture
def plots(frame):
    """Their plots."""
    return Plots(frame, AXES, "three ways", attempts=lambda: ATTEMPTS)


def texts(plot):
    """Return every text that is drawn."""
    return [text.get_text() for text in plot.figure.findobj(Text) if text.get_text() and text.get_visible()]


# What all have in common


@every_plot
def test_a_plot_draws_itself_twice_as_fine_as_it_is_shown(plots, kind):
    """The picture is a PNG of 1,440 pixels, shown 720 wide, with the alt text in the HTML that notebooks take."""
    plot = CALLS[kind](plots)
    bundle, metadata = plot._repr_mimebundle_()
    assert Image.open(io.BytesIO(plot._repr_png_())).width == 1440
    assert bundle["text/html"].startswith('<img class="promptlab-plot" width="720"')
    assert f'alt="{html.escape(plot.alt)}"' in bundle["text/html"]
    assert metadata["image/png"]["alt"] == plot.alt
    assert bundle["text/plain"] == repr(plot)
    assert repr(plot) == f"<Plot {kind}: {plot.title}>"


@every_plot
def test_a_plot_goes_into_the_axes_given(plots, kind):
    """Axes that come in are drawn into and come out; the figure is the user's own, its size left alone."""
    figure = Figure(figsize=(9, 5))
    left, right = figure.subplots(1, 2)
    plot = CALLS[kind](plots, ax=right)
    assert (plot.ax, plot.figure, left.has_data()) == (right, figure, False)
    assert right.get_title(loc="left").replace("\n", " ") == plot.title
    assert tuple(figure.get_size_inches()) == (9, 5)
    assert plot.note.split()[0] in "".join(texts(plot))


@every_plot
def test_a_plot_changes_no_setting(plots, kind):
    """No global setting of matplotlib is another one afterwards."""
    before = dict(mpl.rcParams)
    CALLS[kind](plots)._repr_png_()
    assert dict(mpl.rcParams) == before


@every_plot
def test_a_users_style_does_not_reach_our_own_figures(plots, kind):
    """A figure of ours is white and dark on it under any style."""
    with mpl.rc_context({"axes.facecolor": "black", "savefig.facecolor": "black", "text.color": "white"}):
        plot = CALLS[kind](plots)
        corner = Image.open(io.BytesIO(plot._repr_png_())).convert("RGB").getpixel((0, 0))
    assert (corner, plot.figure.get_suptitle()) == ((255, 255, 255), plot.title)
    assert _style.ink(plot.ax) == _style.INK


@every_plot
def test_a_plot_of_no_trials_is_one_clear_error(kind, frame):
    """Of a frame without a row, and of no attempts, nothing can be drawn."""
    empty = Plots(frame.iloc[:0], AXES, "nothing yet")
    with pytest.raises(AnalysisError, match=r"nothing to draw|no attempts to draw"):
        CALLS[kind](empty)


@pytest.mark.parametrize("kind", [kind for kind in CALLS if kind != "cost"])
def test_a_plot_of_failed_trials_alone_is_one_clear_error(kind):
    """Where every trial failed there is no number to draw; money is drawn of attempts, whatever became of them."""
    failed = trials()
    failed[["status", "right"]] = ["failed", np.nan]
    with pytest.raises(AnalysisError):
        CALLS[kind](Plots(failed, AXES, "all failed"))


def test_pyplot_is_not_loaded():
    """Drawing every plot loads no pyplot, which would keep figures alive and open windows."""
    code = (
        "import sys, test_plots as t\nplots = t.Plots(t.trials(), t.AXES, 'x', attempts=lambda: t.ATTEMPTS)\n"
        "for call in t.CALLS.values(): call(plots)._repr_png_()\nprint('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_plots_name_themselves(plots):
    """Whoever looks at `run.plot` learns what there is."""
    assert repr(plots) == (
        "<Plots of 'three ways': .heatmap, .line, .pareto, .distribution, .latency, .forest, .effects, .tokens, .cost>"
    )


# Texts


@pytest.mark.parametrize("kind", [kind for kind in CALLS if kind != "cost"])
def test_texts_of_data_are_drawn_as_they_are(kind):
    """No name is parsed as mathematics, warns of a glyph, or hides a character."""
    frame = trials(templates=NASTY, cases=6, repeats=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot = CALLS[kind](Plots(frame, AXES, r"$\frac{1}{0}$"))
        plot._repr_png_()
    drawn = plot.figure.findobj(Text)
    assert not any(text.get_parse_math() or text.get_usetex() for text in drawn)
    assert not any(set(text.get_text()) & {"\u202e", "\u200d", "\x1b", "\x00"} for text in drawn)
    assert "\n" not in plot.alt


def test_names_are_clipped_and_stay_apart(frame):
    """Long names that differ in one character are two different labels of a few characters."""
    shown = _style.labels(["A" * 59 + "1", "A" * 59 + "2", "A" * 30 + "B" * 30, "A" * 20 + "x" + "B" * 39], 20)
    assert shown == ["AAAAAAAAAA…AAAAAAAA1", "AAAAAAAAAA…AAAAAAAA2", "AAAAAAAAAA…BBBBBBBBB", "AAAAAAAAAA…BBBBBBBBB (2)"]


def test_what_no_font_has_is_a_box():
    """A character without a glyph is shown as a box, which draws without a warning."""
    assert _style.drawable("a\U0010fffd é") == "a□ é"


def test_alt_text_cannot_leave_its_attribute():
    """A name with quotes and tags stays inside the alt attribute."""
    frame = trials(templates=['"><script>alert(1)</script>', "plain"])
    bundle, _ = Plots(frame, AXES, "x").line("right", x="temperature")._repr_mimebundle_()
    assert "<script" not in bundle["text/html"]


# Numbers


def test_means_are_those_of_the_summary(frame, plots):
    """What is drawn is what `run.summary()` says, by the same columns."""
    plot = plots.line("right", x="temperature")
    table = summaries.summary(frame, AXES, by=["temperature", "template"], metric="right")
    names = ["temperature", "template", "mean", "low", "high", "n", "cases", "failed", "missing"]
    assert sorted(plot.data[names].itertuples(index=False)) == sorted(
        pd.DataFrame(table)[names].itertuples(index=False)
    )


def test_a_line_draws_every_mean_with_its_interval(plots):
    """One line a template, through its means, with a bar from low to high."""
    plot = plots.line("right", x="temperature")
    containers = plot.ax.containers
    drawn = sorted(round(float(y), 6) for each in containers for y in each.lines[0].get_ydata())
    ends = sorted(
        tuple(np.round(sorted(segment[:, 1]), 6)) for each in containers for segment in each.lines[2][0].get_segments()
    )
    assert drawn == sorted(plot.data["mean"].round(6))
    assert ends == sorted(zip(plot.data["low"].round(6), plot.data["high"].round(6), strict=True))
    assert [text.get_text() for text in plot.ax.get_legend().get_texts()] != []


def test_numbers_stand_to_scale_and_names_side_by_side(plots):
    """A numeric column is a scale with its values as ticks; of a column of names each has a place."""
    scale = plots.line("right", x="temperature").ax
    places = plots.line("right", x="template", by="temperature").ax
    assert list(scale.get_xticks()) == [0.0, 0.7]
    assert [text.get_text() for text in places.get_xticklabels()] == ["terse", "guided", "chatty"]
    assert {each.lines[0].get_linestyle() for each in places.containers} == {"None"}


def test_more_lines_than_colours_are_grey_and_counted():
    """Of 24 templates the seven best are coloured, the others grey, and the note says so; all are in the data."""
    names = [f"variant {number:02d}" for number in range(24)]
    plot = Plots(trials(templates=names, cases=4), AXES, "many").line("right", x="temperature")
    assert (len(plot.data), len(plot.ax.containers)) == (48, 24)
    assert plot.ax.get_legend().get_texts()[-1].get_text() == "17 others"
    assert plot.note.endswith("Coloured: the 7 with the best mean of 24; all are in .data.")


def test_colour_is_never_alone(plots):
    """Each line has a marker and a dash of its own besides its colour."""
    lines = [each.lines[0] for each in plots.line("right", x="temperature").ax.containers]
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 3


def test_a_heat_map_writes_its_cells_and_hatches_what_is_missing(frame):
    """Each cell holds its mean and interval; one without a trial is hatched, and counted in the note."""
    some = frame[(frame["template"] != "chatty") | (frame["temperature"] == 0)]
    plot = Plots(some, AXES, "x").heatmap("right", x="temperature", y="template")
    first = plot.data.iloc[0]
    assert (f"{first['mean'] * 100:.0f} %" in texts(plot), len(plot.data)) == (True, 5)
    assert f"{first['low'] * 100:.0f} – {first['high'] * 100:.0f}" in texts(plot)
    assert plot.ax.patch.get_hatch() == "////"
    assert plot.note.endswith("Hatched: 1 without a value.")


def test_the_two_axes_are_taken_where_none_is_named(plots):
    """A map of a run with two axes needs no x and y."""
    plot = plots.heatmap("right")
    assert (plot.ax.get_xlabel(), plot.ax.get_ylabel()) == ("temperature", "template")


def test_a_map_is_bright_where_it_is_good(plots):
    """Less is better of latency: its map runs the other way; and so it does where the user says so."""
    maps = [plots.heatmap(*how, **more).ax.collections[0].get_cmap().name for how, more in (
        (("right",), {}), (("latency_ms",), {}), (("right",), {"lower_is_better": True}))]  # fmt: skip
    assert maps == ["cividis", "cividis_r", "cividis_r"]


@pytest.mark.parametrize(
    ("scores", "costs", "is_less", "front"),
    [
        pytest.param([0.5, 0.9, 0.8], [1, 2, 3], False, [True, True, False], id="beaten-in-both"),
        pytest.param([0.5, 0.5, 0.9], [1, 2, 2], False, [True, False, True], id="as-good-but-dearer"),
        pytest.param([0.5, 0.5], [1, 1], False, [True, True], id="equal"),
        pytest.param([9, 5, 7], [1, 2, 3], True, [True, True, False], id="less-is-better"),
    ],
)
def test_the_frontier_is_what_nothing_beats(scores, costs, is_less, front):
    """A point is on the frontier unless another is at least as good in both and better in one."""
    assert _fronts._frontier(scores, costs, is_less=is_less) == front


def test_pareto_names_the_frontier(plots):
    """The settings on the frontier are numbered in the plot and named beside it with score and cost."""
    plot = plots.pareto("right")
    front = plot.data[plot.data["frontier"]]
    named = [text.get_text() for text in plot.ax.get_legend().get_texts()]
    assert [f"{place}  {row.setting}" for place, row in enumerate(front.itertuples(), 1)] == [
        name.split("\n")[0] for name in named[: len(front)]
    ]
    assert {str(place) for place in range(1, len(front) + 1)} <= set(texts(plot))
    assert (front["cost"].iloc[0], named[0].split("\n")[1].strip().split(" for ")[1]) == (
        pytest.approx(0.0001),
        "$0.10",
    )


def test_numbers_of_the_frontier_do_not_cover_one_another():
    """Points close together have their numbers apart."""
    figure = Figure(figsize=(5, 4))
    ax = figure.add_subplot()
    points = [(1.0, 1.0), (1.001, 1.001), (1.002, 1.002), (2.0, 2.0)]
    ax.plot(*zip(*points, strict=True), "o")
    _fronts._number(ax, points)
    boxes = [text.get_window_extent() for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == ["1", "2", "3", "4"]
    assert not any(one.overlaps(other) for at, one in enumerate(boxes) for other in boxes[at + 1 :])


def test_a_free_model_has_no_price_to_weigh(frame):
    """Where every answer was free the error offers the latency."""
    with pytest.raises(AnalysisError, match=r"cost_usd is 0 for every answer.*take cost='latency_ms'"):
        Plots(frame.assign(cost_usd=0.0), AXES, "x").pareto("right")


def test_a_distribution_has_its_quantiles(frame, plots):
    """The box and the whiskers are the quantiles of the answers that there are."""
    data = plots.distribution("similarity").data.set_index("template")
    known = frame[(frame["template"] == "terse")]["similarity"].dropna()
    assert list(data.loc["terse", ["p5", "p25", "p50", "p75", "p95"]]) == pytest.approx(
        list(known.quantile([0.05, 0.25, 0.5, 0.75, 0.95]))
    )


def test_labels_are_shares(frame, plots):
    """Of a metric of labels each label's share is drawn, and the shares of a row sum to 1."""
    data = plots.distribution("verdict").data
    assert list(data.groupby("template")["mean"].sum()) == pytest.approx([1, 1, 1])
    assert set(data["label"]) == {"good", "bad", "odd"}


def test_yes_and_no_is_the_share_of_yes(plots):
    """Of a metric of 0 and 1 one share is drawn, its interval a rate's."""
    plot = plots.distribution("right", by=None)
    assert (len(plot.data), plot.data["label"].to_list()) == (1, [1.0])
    assert plot.alt.startswith("Dot plot of the share of right = 1: all trials, ")


def test_latency_is_of_answers_alone(frame):
    """A failed trial's latency, that of its last attempt, is no answer's."""
    slow = frame.copy()
    slow.loc[slow["status"] == "failed", "latency_ms"] = 1e9
    assert Plots(slow, AXES, "x").latency().data["p95"].max() < 1000


def test_tokens_add_up(plots):
    """The four parts are those of the whole."""
    data = plots.tokens().data.set_index("template")
    parts = ["prompt, cached", "prompt", "reasoning", "answer"]
    assert data[parts].loc["terse"].to_list() == [5, 15, 2, 8]
    assert (data[parts].sum(axis=1) - data["mean"]).abs().max() < 1e-9


def test_the_forest_is_the_contrast_table(frame, plots):
    """A table, or its axis and metric, give the same plot; each row is named with what it is against."""
    table = contrasts.contrast(frame, AXES, "template", metric="right")
    from_table, from_axis = plots.forest(table), plots.forest("template", "right")
    pd.testing.assert_frame_equal(from_table.data, from_axis.data)
    assert [text.get_text() for text in from_table.ax.get_yticklabels()] == [
        f"{one} against {other}" for one, other in zip(table["level"], table["against"], strict=True)
    ]


def test_a_forest_by_settings_has_heads(plots):
    """Within settings the rows stand under the setting's name."""
    plot = plots.forest("template", "right", by="settings")
    labels = [text.get_text() for text in plot.ax.get_yticklabels()]
    assert [labels[0], labels[4], len(labels)] == ["temperature=0", "temperature=0.7", 8]


def test_a_difference_told_from_chance_is_filled(frame, plots):
    """A mark is filled where the adjusted p-value is below 0.05, and hollow elsewhere."""
    plot = plots.forest("template", "right")
    filled = [each.lines[0].get_markerfacecolor() != "white" for each in plot.ax.containers]
    assert filled == [p < 0.05 for p in plot.data["p_adjusted"]]
    assert {True, False} == set(filled)


def test_a_forest_of_several_metrics_asks_which(frame, plots):
    """Metrics of different units have no common axis."""
    table = contrasts.contrast(frame, AXES, "template", metric=["right", "latency_ms"])
    with pytest.raises(AnalysisError, match=r"the table has right, latency_ms: say which with metric="):
        plots.forest(table)
    assert set(plots.forest(table, "latency_ms").data["metric"]) == {"latency_ms"}


def test_effects_are_the_effects_table(frame, plots):
    """Each term's bar is as long as its share."""
    plot, table = plots.effects("right"), shares.effects(frame, AXES, metric="right")
    assert [bar.get_width() for bar in plot.ax.patches] == pytest.approx(table["share"].to_list())
    assert plot.data["term"].to_list() == table["term"].to_list()


def test_cost_adds_up_in_the_order_of_sending(plots):
    """Money is added up by the time of sending; what is unknown is not in it, and counted."""
    plot = plots.cost()
    assert plot.data[["seconds", "total_usd"]].to_numpy().tolist() == [[0, 0.5], [1.5, 0.5], [3, 0.75]]
    assert plot.alt == (
        "Step plot of the money spent by three ways: $0.75 after 3 s and 3 attempts, 1 without an answer; the cost of "
        "1 is unknown and not in it."
    )


def test_cost_without_a_price_is_an_error(frame):
    """Where no attempt's cost is known there is nothing to add up."""
    plots = Plots(frame, AXES, "x", attempts=lambda: ATTEMPTS.assign(cost_usd=math.nan))
    with pytest.raises(AnalysisError, match="knows the price of none of 3 attempts; give the lab the model's price"):
        plots.cost()


def test_a_run_has_its_plots_and_its_attempts(tmp_path):
    """`run.plot` draws the run's own frame, and its cost from the attempts; the failed ones are among them."""
    backend = ScriptedBackend(
        lambda body: error_reply(400) if "2" in body["messages"][0]["content"] else "yes", is_free=False
    )
    with Lab(tmp_path / "lab.db", backend=backend) as lab:
        prompt = PromptTemplate("short", user="{{ q }}")
        run = lab.run(
            prompt, {"model": "gpt-4o-mini", "temperature": [0, 1]}, cases=[{"q": "1"}, {"q": "2"}], progress=False
        )
        attempts, plot = run.attempts(), run.plot.cost()
        assert run.plot.tokens(by="temperature").data["failed"].to_list() == [1, 1]
    assert attempts["state"].value_counts().to_dict() == {"ok": 2, "error": 2}
    assert plot.data["total_usd"].iloc[-1] == pytest.approx(attempts["cost_usd"].sum())
    assert f"{len(attempts)} attempts, 2 without an answer" in plot.note


# What is said


def test_failed_trials_are_counted_below_and_in_the_alt_text(plots):
    """What is left out of the means is said, in the note and in the sentence."""
    plot = plots.line("right", x="temperature")
    assert "of 144 trials 6 failed and are left out" in plot.note
    assert plot.alt.endswith("of 144 trials 6 failed and are left out.")


def test_what_has_no_score_is_counted(frame):
    """A trial with an answer and without a score is missing, not failed."""
    some = frame.copy()
    some.loc[some.index[:3], "right"] = np.nan
    plot = Plots(some, AXES, "x").line("right", x="temperature")
    assert "of 144 trials 6 failed and 3 have no value and are left out" in plot.note


def test_the_alt_text_names_best_and_worst(frame):
    """One sentence says what is best and worst, with numbers."""
    certain = frame_of({"template": ["a", "b"], "t": [0, 1]}, lambda template, **_: float(template == "a"), cases=10)
    assert Plots(certain, ["template", "t"], "x").line("right", x="t").alt == (
        "Line plot of right over t, one line for each of 2 values of template: best is a at t 0, 100 % (95 % interval "
        "72.2 to 100), worst is b at t 0, 0 % (95 % interval 0 to 27.8); none of 40 trials failed."
    )


def test_one_case_has_no_interval(frame):
    """Where one case is all, the interval of a mean is unknown, and nothing breaks."""
    plot = Plots(frame[frame["case"] == 3], AXES, "x").line("similarity", x="temperature")
    plot._repr_png_()
    assert "(interval unknown: one case)" in plot.alt


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda p: p.line("rihgt", x="temperature"), "did you mean 'right'?", id="metric"),
        pytest.param(lambda p: p.line("right", x="temprature"), "x='temprature' is no column of the frame", id="x"),
        pytest.param(lambda p: p.line("verdict", x="temperature"), "metric 'verdict' is not a number", id="text"),
        pytest.param(lambda p: p.latency(by="trial_id"), "by='trial_id' has 144 different values", id="levels"),
        pytest.param(lambda p: p.line("right", by=None), "x= has to be one of template, temperature", id="guess"),
        pytest.param(lambda p: p.forest(pd.DataFrame({"a": [1]})), "has no column metric, axis", id="table"),
        pytest.param(lambda p: p.heatmap("right", x="template"), None, id="the-other-is-taken"),
    ],
)
def test_a_bad_argument_is_one_clear_error(plots, call, message):
    """The error names what was wrong and what there is."""
    if message is None:
        assert call(plots).ax.get_ylabel() == "temperature"
        return
    with pytest.raises(AnalysisError) as caught:
        call(plots)
    assert message in str(caught.value)


# Files


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_a_saved_plot_carries_title_and_alt(plots, tmp_path, ending):
    """The file's metadata hold both; the same plot drawn again is the same bytes."""
    plot = plots.line("right", x="temperature")
    path = plot.save(tmp_path / f"plot{ending}")
    content = path.read_bytes()
    if ending == ".png":
        info = Image.open(path).text
        assert (info["Title"], info["Description"]) == (plot.title, plot.alt)
    elif ending == ".svg":
        assert plot.alt in content.decode()
        assert f"<title>{plot.title}</title>" in content.decode() or plot.title in content.decode()
    else:
        assert b"/Title" in content
        assert b"/Subject" in content
    again = plots.line("right", x="temperature").save(tmp_path / f"again{ending}")
    assert again.read_bytes() == content


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("plot.gif", "its ending has to be .png, .svg or .pdf", id="ending"),
        pytest.param("no/such/folder/plot.png", "No such file or directory", id="folder"),
    ],
)
def test_a_plot_that_cannot_be_saved_says_why(plots, tmp_path, name, message):
    """Another ending, or a folder that is not there, is one clear error."""
    with pytest.raises(AnalysisError, match=message):
        plots.tokens().save(tmp_path / name)


# The page


def test_the_examples_of_the_page_run(tmp_path):
    """Every Python block of docs/plots.md runs, in order, as a user would paste it."""
    done = run_script(script((DOCS / "plots.md").read_text(encoding="utf-8")), tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} >= {"heatmap.svg", "both.png"}


def test_the_gallery_is_there_and_small():
    """Every picture of the page is in the repository, and none is larger than 60 kB."""
    named = re.findall(r"!\[[^\]]+\]\((images/[^)]+)\)", (DOCS / "plots.md").read_text(encoding="utf-8"))
    assert len(named) == len(CALLS)
    assert [name for name in named if (DOCS / name).stat().st_size > 60_000] == []
