"""Measure what promptlab promises about speed and memory, and print each figure beside its bar.

    python bench/run.py            all of it, about two minutes
    python bench/run.py cpu plan   some of it

Each figure is taken in a process of its own. Where there is something to compare with, both are measured in one run, in
turns, and the ratio counts: machines differ, ratios much less. The server is the tests' own, in another process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve()
REQUESTS = 3_000
IN_FLIGHT = 64
TRIALS = 100_000

#: Modules of the standard library that promptlab imports: what `import promptlab` costs beyond them is its own.
STDLIB = (
    "asyncio, concurrent.futures, dataclasses, difflib, email.utils, http.client, importlib.metadata, json, sqlite3, "
    "subprocess, tempfile, uuid"
)


def main(names: list[str]) -> None:
    """Run the benchmarks named, or all, and print the table."""
    table = Table("what", "measured", "bar", "")
    for name, benchmark in BENCHMARKS.items():
        if not names or name in names:
            for what, measured, bar, good in benchmark():
                table.add_row(what, measured, bar, "[green]ok[/]" if good else "[red]missed[/]")
    Console(width=120).print(table)


def bench_import() -> Iterator[tuple[str, str, str, bool]]:
    """Time `import promptlab` against the standard library's part of it."""
    ours, floor = (min(_seconds(f"import {names}") for _ in range(9)) for names in ("promptlab", STDLIB))
    yield "import promptlab beyond the standard library", f"{ours - floor:.3f} s", "0.25 s", ours - floor <= 0.25


def bench_cpu() -> Iterator[tuple[str, str, str, bool]]:
    """Compare CPU time a request with a plain gather over AsyncOpenAI that logs nothing."""
    with _server() as url:
        pairs = [(_task("cpu_ours", url)["ms"], _task("cpu_plain", url)["ms"]) for _ in range(3)]
    ours, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    yield f"CPU a request, all logged, {IN_FLIGHT} in flight", f"{ours:.2f} ms", "0.8 ms", ours <= 0.8
    yield f"the same against plain AsyncOpenAI ({plain:.2f} ms)", f"{ratio:.2f} x", "0.5 x", ratio <= 0.5


def bench_wire() -> Iterator[tuple[str, str, str, bool]]:
    """Compare a sweep with 100 ms of latency with the ideal."""
    with _server("--latency-ms", "100") as url:
        took = _task("wire", url)["s"]
    ideal = 1000 / IN_FLIGHT * 0.1
    yield f"1,000 requests of 100 ms, {IN_FLIGHT} in flight", f"{ideal / took:.2f} of ideal", "0.9", ideal / took >= 0.9


def bench_plan() -> Iterator[tuple[str, str, str, bool]]:
    """Build, run and read a plan of 100,000 trials."""
    found = _task("plan")
    yield f"plan of {TRIALS:,} trials built", f"{found['plan_s']:.1f} s", "5 s", found["plan_s"] < 5
    yield "... run against an instant backend", f"{found['run_s'] / TRIALS * 1e3:.2f} ms a trial", "", True
    yield "... last tenth of it against the first", f"{found['growth']:.2f} x", "1.25 x", found["growth"] < 1.25
    yield "... peak memory", f"{found['rss_mb']:.0f} MB", "400 MB", found["rss_mb"] < 400
    yield "... run.frame()", f"{found['frame_s']:.2f} s", "2 s", found["frame_s"] < 2
    yield "... planned again, all answered", f"{found['replan_s']:.1f} s", "5 s", found["replan_s"] < 5


BENCHMARKS: dict[str, Callable[[], Iterator[tuple[str, str, str, bool]]]] = {
    "import": bench_import,
    "cpu": bench_cpu,
    "wire": bench_wire,
    "plan": bench_plan,
}


# What runs in processes of their own


def task_cpu_ours(url: str) -> dict[str, float]:
    """Sweep with promptlab, the file on disk."""
    with tempfile.TemporaryDirectory() as folder, _lab(Path(folder) / "bench.db", url) as lab:
        _sweep(lab, 200, name="warm up")
        before = time.process_time()
        _sweep(lab, REQUESTS, name="measured")
        return {"ms": (time.process_time() - before) / REQUESTS * 1e3}


def task_cpu_plain(url: str) -> dict[str, float]:
    """Gather over AsyncOpenAI's own `create`, bounded by a semaphore; nothing is kept."""
    return {"ms": asyncio.run(_plain(url))}


def task_wire(url: str) -> dict[str, float]:
    """Sweep 1,000 requests against a server that takes 100 ms."""
    with tempfile.TemporaryDirectory() as folder, _lab(Path(folder) / "bench.db", url) as lab:
        _sweep(lab, IN_FLIGHT, name="warm up")
        plan = _plan(lab, 1000, name="measured")
        started = time.perf_counter()
        lab.run(plan, concurrency=IN_FLIGHT, progress=False)
        return {"s": time.perf_counter() - started}


def task_plan() -> dict[str, float]:
    """Plan, run and read 100,000 trials on a backend that answers at once."""
    from promptlab import Cases, Lab, ParameterGrid, PromptTemplate
    from promptlab.testing import ScriptedBackend

    templates = [PromptTemplate(name, system=name * 20, user="{{ question }}") for name in ("terse", "guided")]
    grid = ParameterGrid(model="m", temperature=[0, 0.5, 1, 1.5, 2], top_p=[0.5, 1.0], max_tokens=16)
    cases = Cases([{"question": f"What is {number}?"} for number in range(TRIALS // 20)])
    ends: list[float] = []

    def answer(_: dict[str, Any]) -> str:
        ends.append(time.perf_counter())
        return "Paris"

    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder) / "b.db", backend=ScriptedBackend(answer)) as lab:
        plan, plan_s = _timed(lambda: lab.plan(templates, grid, cases=cases))
        run, run_s = _timed(lambda: lab.run(plan, concurrency=IN_FLIGHT, progress=False))
        rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        _, frame_s = _timed(run.frame)
        _, replan_s = _timed(lambda: lab.plan(templates, grid, cases=cases))
    tenth = len(ends) // 10
    growth = (ends[-1] - ends[-tenth]) / (ends[2 * tenth] - ends[tenth])
    found = {"plan_s": plan_s, "run_s": run_s, "frame_s": frame_s, "rss_mb": rss_mb}
    return {**found, "replan_s": replan_s, "growth": growth}


TASKS: dict[str, Callable[..., dict[str, float]]] = {
    "cpu_ours": task_cpu_ours,
    "cpu_plain": task_cpu_plain,
    "wire": task_wire,
    "plan": task_plan,
}


# Helpers


def _task(name: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(HERE), "--task", name, *arguments]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(found.stdout.splitlines()[-1])


@contextlib.contextmanager
def _server(*options: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        port_file = Path(folder) / "port"
        command = [sys.executable, "-m", "faultserver", "--port", "0", "--port-file", str(port_file), *options]
        server = subprocess.Popen(command, cwd=HERE.parents[1] / "tests", stdout=subprocess.DEVNULL)
        try:
            while not (port_file.exists() and port_file.read_text().strip()):
                if server.poll() is not None:
                    msg = f"the server ended with code {server.returncode}; run it by hand: {' '.join(command)}"
                    raise RuntimeError(msg)
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port_file.read_text().strip()}/v1"
        finally:
            server.terminate()
            server.wait()


def _lab(path: Path, url: str) -> Any:
    from promptlab import Lab

    return Lab(path, base_url=url, api_key="sk-bench-0000000000")


def _plan(lab: Any, number: int, *, name: str) -> Any:
    from promptlab import Cases, ParameterGrid, PromptTemplate

    template = PromptTemplate("bench", system="You are a helpful assistant. " * 20, user="{{ question }}")
    cases = Cases([{"question": f"{name}: what is {place}? " + "x" * 400} for place in range(number)])
    return lab.plan(template, ParameterGrid(model="m", temperature=0, max_tokens=16), cases=cases)


def _sweep(lab: Any, number: int, *, name: str) -> None:
    lab.run(_plan(lab, number, name=name), concurrency=IN_FLIGHT, progress=False)


async def _plain(url: str) -> float:
    from openai import AsyncOpenAI

    gate = asyncio.Semaphore(IN_FLIGHT)
    system = {"role": "system", "content": "You are a helpful assistant. " * 20}
    async with AsyncOpenAI(base_url=url, api_key="sk-bench-0000000000") as client:

        async def ask(place: int) -> None:
            async with gate:
                user = {"role": "user", "content": f"what is {place}? " + "x" * 400}
                await client.chat.completions.create(model="m", messages=[system, user], temperature=0, max_tokens=16)  # type: ignore[list-item]

        await asyncio.gather(*(ask(place) for place in range(200)))
        before = time.process_time()
        await asyncio.gather(*(ask(place) for place in range(REQUESTS)))
        return (time.process_time() - before) / REQUESTS * 1e3


def _seconds(statement: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - started


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    value = work()
    return value, time.perf_counter() - started


if __name__ == "__main__":
    if sys.argv[1:2] == ["--task"]:
        print(json.dumps(TASKS[sys.argv[2]](*sys.argv[3:])))
    else:
        main(sys.argv[1:])
