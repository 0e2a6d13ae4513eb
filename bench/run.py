"""Measure what promptlab promises about speed and memory: one table on the screen, and in results.md.

    make bench                     all of it, five to seven minutes
    python bench/run.py cpu plan   some of it; results.md stays as it is

Each figure is taken in a process of its own (`tasks.py`), the median of several turns with the smallest and the largest
beside it. Where there is something to compare with, both are measured in one run, in turns, and the ratio counts:
machines differ, ratios much less. The server is the tests' own, in another process and, where there are two, on
another core. It answers some 11,000 requests a second: where it was busy most of the time, a throughput is a lower
bound, and says so with a ">"; the CPU time of the client does not depend on it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from machine import facts
from rich.console import Console
from rich.table import Table

from processes import Server, run_script, run_task

RESULTS = Path(__file__).with_name("results.md")
TURNS = 3

#: Requests in flight -> how many are sent in one turn: enough for a second or two.
LEVELS = {1: 300, 16: 2_000, 64: 2_000, 256: 2_000}
CLIENTS = ("promptlab", "plain", "floor")

LATENCY_MS, WIRE_REQUESTS, WIRE_IN_FLIGHT = 100, 1_000, 64
TRIALS = 100_000
REQUESTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure of several turns."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values)

    def over(self, other: Spread) -> Spread:
        """Return the ratios, turn by turn."""
        return Spread(tuple(ours / theirs for ours, theirs in zip(self.values, other.values, strict=True)))

    def shown(self, form: str, unit: str) -> str:
        """Return median, smallest and largest as text."""
        low, middle, high = (format(value, form) for value in (min(self.values), self.middle, max(self.values)))
        return f"{middle} {unit}".strip() + (f" ({low}–{high})" if low != high else "")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `is_good` is None where there is no bar."""

    what: str
    ours: str
    plain: str = ""
    over_plain: str = ""
    floor: str = ""
    over_floor: str = ""
    bar: str = ""
    is_good: bool | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """The line as texts."""
        verdict = {None: "", True: "ok", False: "missed"}[self.is_good]
        return (*(getattr(self, name) for name in self.__slots__[:-1]), verdict)


HEAD = ("what", "promptlab", "AsyncOpenAI", "ratio", "aiohttp", "ratio", "bar", "")


def main(names: list[str]) -> None:
    """Run the benchmarks named, or all, and show the table."""
    if unknown := set(names) - set(BENCHMARKS):
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    before = facts()
    rows: list[Row] = []
    for name, benchmark in BENCHMARKS.items():
        if not names or name in names:
            for row in benchmark():
                rows.append(row)
                print(" | ".join(filter(None, row.cells)), file=sys.stderr, flush=True)
    _show(rows)
    if not names:
        RESULTS.write_text(_markdown(rows, before), encoding="utf-8")


def bench_import() -> Iterator[Row]:
    """Time `import promptlab` against the standard library's part of it."""
    turns = [run_task("imports") for _ in range(TURNS)]
    beyond = Spread(tuple(turn["promptlab_s"] - turn["stdlib_s"] for turn in turns))
    what = "import promptlab, beyond the standard library"
    yield Row(what, beyond.shown(".3f", "s"), bar="0.25 s", is_good=beyond.middle <= 0.25)


def bench_cpu() -> Iterator[Row]:
    """Compare CPU time and throughput with clients that log nothing, at several numbers in flight."""
    for in_flight, requests in LEVELS.items():
        turns: dict[str, list[dict[str, float]]] = {client: [] for client in CLIENTS}
        with Server() as server:
            for client in CLIENTS * TURNS:
                turns[client].append(server.measured(client, in_flight, requests))
        yield _compared(f"CPU a request, {in_flight} in flight", turns, "cpu_ms", ".2f", "ms", has_bar=in_flight == 64)
        yield _compared(f"requests a second, {in_flight} in flight", turns, "a_second", ",.0f", "/s")


def _compared(
    what: str, turns: dict[str, list[dict[str, float]]], figure: str, form: str, unit: str, *, has_bar: bool = False
) -> Row:
    ours, plain, floor = (Spread(tuple(turn[figure] for turn in turns[client])) for client in CLIENTS)
    shown = (spread.shown(form, unit) for spread in (ours, plain, floor))
    busy = (median(turn["server_busy"] for turn in turns[client]) > 0.8 for client in CLIENTS)
    bounds = ("> " if is_busy and figure == "a_second" else "" for is_busy in busy)
    texts = [bound + text for bound, text in zip(bounds, shown, strict=True)]
    ratio = ours.over(plain)
    return Row(
        what,
        texts[0],
        texts[1],
        ratio.shown(".2f", "x"),
        texts[2],
        ours.over(floor).shown(".2f", "x"),
        bar="0.8 ms, 0.5 x" if has_bar else "",
        is_good=(ours.middle <= 0.8 and ratio.middle <= 0.5) if has_bar else None,
    )


def bench_wire() -> Iterator[Row]:
    """Compare sweeps with latency with the ideal, promptlab's from a plan to the end of the run."""
    ideal_s = WIRE_REQUESTS / WIRE_IN_FLIGHT * LATENCY_MS / 1000
    turns: dict[str, list[float]] = {client: [] for client in CLIENTS}
    with Server("--latency-ms", str(LATENCY_MS)) as server:
        for client in CLIENTS * TURNS:
            task = "wire" if client == "promptlab" else client
            turns[client].append(ideal_s / run_task(task, server.url, WIRE_IN_FLIGHT, WIRE_REQUESTS)["wall_s"])
    ours, plain, floor = (Spread(tuple(turns[client])) for client in CLIENTS)
    yield Row(
        f"{WIRE_REQUESTS:,} requests of {LATENCY_MS} ms, {WIRE_IN_FLIGHT} in flight: of the ideal {ideal_s:.2f} s",
        ours.shown(".2f", ""),
        plain.shown(".2f", ""),
        ours.over(plain).shown(".2f", "x"),
        floor.shown(".2f", ""),
        ours.over(floor).shown(".2f", "x"),
        bar="0.9",
        is_good=ours.middle >= 0.9,
    )


def bench_plan() -> Iterator[Row]:
    """Build, run and read a plan of 100,000 trials; one turn, since it takes most of a minute."""
    found = run_task("plan", TRIALS)
    yield _bounded(f"plan of {TRIALS:,} trials, built", found["plan_s"], ".2f", "s", 5)
    yield Row("... run against a backend that answers at once", f"{found['run_s'] / TRIALS * 1e3:.2f} ms a trial")
    yield _bounded("... its last tenth against its second, in time", found["growth"], ".2f", "x", 1.25)
    yield _bounded("... peak memory of the process", found["peak_mb"], ".0f", "MB", 400)
    yield _bounded("... run.frame()", found["frame_s"], ".2f", "s", 2)
    yield _bounded("... planned again, all of it answered", found["replan_s"], ".2f", "s", 5)


def bench_large() -> Iterator[Row]:
    """List the runs of a file of a million logged requests, and search it."""
    found = run_task("large", REQUESTS)
    yield _bounded(f"lab.runs(), {REQUESTS:,} logged requests", found["runs_ms"], ".0f", "ms", 200)
    if not found["searches"]:
        yield Row("lab.search, the same file", "skipped: this promptlab has no Lab.search")
    for told, (middle_ms, bar_ms) in found["searches"].items():
        yield _bounded(f"lab.search, {told}", middle_ms, ".1f", "ms", bar_ms)


def bench_matrix() -> Iterator[Row]:
    """Open the comparison matrix over a hundred thousand outputs."""
    found = run_task("matrix", TRIALS)
    yield _bounded(f"comparison matrix of {TRIALS:,} outputs, laid out", found["built_ms"], ".0f", "ms", 300)
    yield Row("... first page and heads", f"{found['first_ms']:.0f} ms")
    yield Row("... snapshot for readers without a kernel", f"{found['snapshot_ms']:.0f} ms")
    yield _bounded("... 32 rows anywhere, p90 of 200", found["page_p90_ms"], ".1f", "ms", 20)
    for told, middle_ms in found["specs"].items():
        yield _bounded(f"... {told}", middle_ms, ".0f", "ms", 250)
    yield Row("... the most changed first, the first time", f"{found['changed_ms']:.0f} ms")
    yield Row("... peak memory", f"{found['peak_mb']:.0f} MB")


def bench_panels() -> Iterator[Row]:
    """Open panels in a real JupyterLab: the matrix on 100,000 outputs beside an ipywidgets grid, a live monitor."""
    found = run_script("panels.py")
    if "skipped" in found:
        yield Row("panels in JupyterLab", f"skipped: {found['skipped']}")
        return
    size = "{messages} messages, {kilobytes:,.0f} kB, {nodes:,} nodes"
    grid = {name.removeprefix("grid_"): value for name, value in found.items() if name.startswith("grid_")}
    yield _bounded("matrix of 100,000 outputs, in JupyterLab: built", found["built_s"], ".2f", "s", 0.3)
    yield _bounded("... first paint", found["painted_s"], ".2f", "s", 0.5)
    yield Row("... beside it an ipywidgets grid of 1,000 cells, first paint", f"{grid['painted_s']:.2f} s")
    yield Row("... to open the matrix took", size.format(**found), bar="600 nodes", is_good=found["nodes"] < 600)
    yield Row("... to open the grid took", size.format(**grid))
    yield _bounded("... a jump to any row, median", found["jump_ms"], ".0f", "ms", None)
    yield _bounded("... 90th percentile", found["jump_p90_ms"], ".0f", "ms", 150)
    yield _bounded("... search, with the wait for the next letter", found["search_ms"], ".0f", "ms", 400)
    yield _at_least("... scrolling", found["scroll_fps"], ".0f", "frames/s", None)
    yield _bounded("monitor, 500 answers a second: updates sent", found["pushes_a_second"], ".1f", "/s", 10)
    yield _at_least("... while the page draws", found["live_fps"], ".0f", "frames/s", 50)
    yield Row("... the last state is shown", "yes" if found["is_last_shown"] else "no", is_good=found["is_last_shown"])


def _at_least(what: str, value: float, form: str, unit: str, bar: float | None) -> Row:
    shown = f"{value:{form}} {unit}"
    return Row(what, shown) if bar is None else Row(what, shown, bar=f"{bar:g} {unit}", is_good=value >= bar)


def _bounded(what: str, value: float, form: str, unit: str, bar: float | None) -> Row:
    shown = f"{value:{form}} {unit}"
    return Row(what, shown) if bar is None else Row(what, shown, bar=f"{bar:g} {unit}", is_good=value <= bar)


BENCHMARKS: dict[str, Callable[[], Iterator[Row]]] = {
    "import": bench_import,
    "cpu": bench_cpu,
    "wire": bench_wire,
    "plan": bench_plan,
    "large": bench_large,
    "matrix": bench_matrix,
    "panels": bench_panels,
}


def _show(rows: list[Row]) -> None:
    table = Table(*HEAD)
    for row in rows:
        table.add_row(*row.cells, style="red" if row.is_good is False else "")
    Console(width=160).print(table)


def _markdown(rows: list[Row], ran_on: dict[str, str]) -> str:
    about = [f"- {name}: {value}" for name, value in ran_on.items()]
    lines = ["| " + " | ".join(cells) + " |" for cells in (HEAD, ("---",) * len(HEAD), *(row.cells for row in rows))]
    return "\n".join(["# What `make bench` measured", "", *about, "", *lines, "", *_NOTES, ""])


_NOTES = (
    f"Median of {TURNS} turns with the smallest and the largest; a plan and the large file: one turn. A ratio is taken",
    "turn by turn: promptlab, which plans, logs and commits every request, over a client that logs nothing. `>`: the",
    "server was busy most of the time, so the client may be faster than this.",
)


if __name__ == "__main__":
    main(sys.argv[1:])
