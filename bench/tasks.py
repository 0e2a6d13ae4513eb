"""What the benchmarks run, each in a process of its own: `python bench/tasks.py NAME ARGUMENTS` prints JSON."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

KEY = "sk-bench-0000000000"
SYSTEM = "You are a helpful assistant. " * 20  # some 1,100 bytes of body, two messages

#: Modules of the standard library that promptlab imports: what `import promptlab` costs beyond them is its own.
STDLIB = (
    "asyncio, concurrent.futures, dataclasses, difflib, email.utils, http.client, importlib.metadata, json, sqlite3, "
    "subprocess, tempfile, uuid"
)


def main(name: str, *arguments: str) -> None:
    """Run one task and print what it found."""
    print(json.dumps(TASKS[name](*map(_number, arguments))))


def promptlab(url: str, in_flight: int, requests: int) -> dict[str, float]:
    """Sweep: plan, send, log and commit, the file on disk."""
    with tempfile.TemporaryDirectory() as folder, _lab(Path(folder) / "bench.db", url) as lab:
        warm_up = _warm_up(in_flight)
        _sweep(lab, warm_up, in_flight, "warm up")
        return {"warm_up": warm_up, **_timed(lambda: _sweep(lab, requests, in_flight, "measured"))}


def plain(url: str, in_flight: int, requests: int) -> dict[str, float]:
    """Gather over `AsyncOpenAI().chat.completions.create`; nothing is kept."""
    from openai import AsyncOpenAI

    async def work() -> dict[str, float]:
        async with AsyncOpenAI(base_url=url, api_key=KEY) as client:

            async def ask(name: str, place: int) -> None:
                await client.chat.completions.create(
                    model="m", messages=_messages(name, place), temperature=0, max_tokens=16
                )

            return await _gathered(ask, in_flight, requests)

    return asyncio.run(work())


def floor(url: str, in_flight: int, requests: int) -> dict[str, float]:
    """Gather over aiohttp's `session.post`; the reply's bytes are read and dropped."""
    import aiohttp

    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}

    async def work() -> dict[str, float]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

            async def ask(name: str, place: int) -> None:
                body = {"model": "m", "messages": _messages(name, place), "temperature": 0, "max_tokens": 16}
                async with session.post(f"{url}/chat/completions", data=json.dumps(body).encode()) as response:
                    await response.read()

            return await _gathered(ask, in_flight, requests)

    return asyncio.run(work())


def wire(url: str, in_flight: int, requests: int) -> dict[str, float]:
    """Sweep against a server that takes its time; the plan is made beforehand."""
    with tempfile.TemporaryDirectory() as folder, _lab(Path(folder) / "bench.db", url) as lab:
        _sweep(lab, in_flight, in_flight, "warm up")
        plan = _plan(lab, requests, "measured")
        return _timed(lambda: lab.run(plan, concurrency=in_flight, progress=False))


def plan(trials: int) -> dict[str, float]:
    """Plan, run and read many trials on a backend that answers at once."""
    from promptlab import Cases, Lab, ParameterGrid, PromptTemplate
    from promptlab.testing import ScriptedBackend

    templates = [PromptTemplate(name, system=name * 20, user="{{ question }}") for name in ("terse", "guided")]
    grid = ParameterGrid(model="m", temperature=[0, 0.5, 1, 1.5, 2], top_p=[0.5, 1.0], max_tokens=16)
    cases = Cases([{"question": f"What is {number}?"} for number in range(trials // 20)])
    ends: list[float] = []

    def answer(_: dict[str, Any]) -> str:
        ends.append(time.perf_counter())
        return "Paris"

    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder) / "b.db", backend=ScriptedBackend(answer)) as lab:
        planned, plan_s = _clocked(lambda: lab.plan(templates, grid, cases=cases))
        run, run_s = _clocked(lambda: lab.run(planned, concurrency=64, progress=False))
        peak_mb = _peak_mb()
        _, frame_s = _clocked(run.frame)
        _, replan_s = _clocked(lambda: lab.plan(templates, grid, cases=cases))
    tenth = len(ends) // 10
    growth = (ends[-1] - ends[-tenth]) / (ends[2 * tenth] - ends[tenth])
    found = {"plan_s": plan_s, "run_s": run_s, "frame_s": frame_s, "replan_s": replan_s}
    return {**found, "peak_mb": peak_mb, "growth": growth}


def large(requests: int) -> dict[str, Any]:
    """List the runs of a large file, and search it."""
    import largefile

    from promptlab import Lab
    from promptlab.backends.offline import OfflineBackend

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.db"
        _, made_s = _clocked(lambda: largefile.make(path, requests))
        lab: Any
        with Lab(path, backend=OfflineBackend(largefile.IDENTITY)) as lab:
            lab.runs()  # which imports pandas
            searches = largefile.SEARCHES if hasattr(lab, "search") else {}
            return {
                "made_s": made_s,
                "file_mb": path.stat().st_size / 1e6,
                "runs_ms": _median_ms(lab.runs),
                "searches": {
                    told: (_median_ms(partial(lab.search, text, **only)), bar_ms)
                    for told, (text, only, bar_ms) in searches.items()
                },
            }


def matrix(outputs: int) -> dict[str, Any]:
    """Open the comparison matrix over one large run, jump in it, search, filter and order it; no browser."""
    import matrixfile

    from promptlab.panels.matrix import Matrix, Spec
    from promptlab.store import Store

    layout = Spec(rows="question", columns=["template", "temperature"], baseline={"template": "terse"})
    with tempfile.TemporaryDirectory() as folder:
        matrixfile.make(Path(folder) / "matrix.db", outputs)
        store = Store(Path(folder) / "matrix.db")
        built_ms = _median_ms(lambda: Matrix(store, [1], layout))
        panel = Matrix(store, [1], layout)
        _, rapid_s = _clocked(lambda: panel.spec({"sort": "changed"}))
        chance, rows = random.Random(7), panel.hello()["rows"]
        jumps = [_clocked(partial(panel.page, chance.randrange(rows - 32), 32))[1] * 1e3 for _ in range(200)]
        specs = {name: _median_ms(partial(panel.spec, change)) for name, change in matrixfile.CHANGES.items()}
        found = {"built_ms": built_ms, "first_ms": _median_ms(panel.first), "snapshot_ms": _median_ms(panel.snapshot)}
        more = {"changed_ms": rapid_s * 1e3, "page_p90_ms": statistics.quantiles(jumps, n=10)[-1], "specs": specs}
        store.close()
        return {**found, **more, "peak_mb": _peak_mb()}


def imports() -> dict[str, float]:
    """Time importing promptlab, and the modules of the standard library that it imports, each in a fresh process."""
    return {f"{name}_s": min(_import_s(modules) for _ in range(3)) for name, modules in _IMPORTS.items()}


_IMPORTS = {"promptlab": "promptlab", "stdlib": STDLIB}

TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    work.__name__: work for work in (promptlab, plain, floor, wire, plan, large, matrix, imports)
}


def _number(argument: str) -> str | int:
    return int(argument) if argument.isdigit() else argument


def _warm_up(in_flight: int) -> int:
    return max(100, 2 * in_flight)


def _messages(name: str, place: int) -> list[Any]:
    user = f"{name}: what is {place}? " + "x" * 400
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]


def _lab(path: Path, url: str) -> Any:
    from promptlab import Lab

    return Lab(path, base_url=url, api_key=KEY)


def _plan(lab: Any, number: int, name: str) -> Any:
    from promptlab import Cases, ParameterGrid, PromptTemplate

    template = PromptTemplate("bench", system=SYSTEM, user="{{ question }}")
    cases = Cases([{"question": _messages(name, place)[1]["content"]} for place in range(number)])
    return lab.plan(template, ParameterGrid(model="m", temperature=0, max_tokens=16), cases=cases)


def _sweep(lab: Any, number: int, in_flight: int, name: str) -> None:
    lab.run(_plan(lab, number, name), concurrency=in_flight, progress=False)


async def _gathered(ask: Callable[[str, int], Awaitable[None]], in_flight: int, requests: int) -> dict[str, float]:
    """Send a warm-up and the requests themselves as one gather each, bounded by a semaphore."""
    gate = asyncio.Semaphore(in_flight)

    async def bounded(name: str, place: int) -> None:
        async with gate:
            await ask(name, place)

    warm_up = _warm_up(in_flight)
    await asyncio.gather(*(bounded("warm up", place) for place in range(warm_up)))
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(bounded("measured", place) for place in range(requests)))
    return {"warm_up": warm_up, "wall_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s}


def _timed(work: Callable[[], object]) -> dict[str, float]:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    return {"wall_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s}


def _clocked(work: Callable[[], Any]) -> tuple[Any, float]:
    started_s = time.perf_counter()
    value = work()
    return value, time.perf_counter() - started_s


def _median_ms(work: Callable[[], object]) -> float:
    return statistics.median(_clocked(work)[1] * 1e3 for _ in range(7))


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)  # bytes there, kilobytes elsewhere


def _import_s(modules: str) -> float:
    command = [sys.executable, "-c", f"import {modules}"]
    return _clocked(lambda: subprocess.run(command, check=True))[1]


if __name__ == "__main__":
    main(*sys.argv[1:])
