"""The processes of a benchmark: one for each figure, and the server on a core of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
START_S = 20.0


def run_task(name: str, *arguments: object) -> dict[str, Any]:
    """Run one task of tasks.py in a process of its own, off the server's core, and return what it found."""
    return _told([sys.executable, str(HERE / "tasks.py"), name, *map(str, arguments)], _cores()[:-1])


def run_script(name: str) -> dict[str, Any]:
    """Run a script of this folder in a process of its own, on all cores, and return what it found."""
    return _told([sys.executable, str(HERE / name)], _cores())


def _told(command: list[str], cores: list[int]) -> dict[str, Any]:
    """Run a command on some cores, and return the JSON on the last line that it printed."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as process:
        _pin(process.pid, cores)
        told, errors = process.communicate()
    if process.returncode:
        msg = f"{' '.join(command)} ended with code {process.returncode}:\n{errors}"
        raise RuntimeError(msg)
    return json.loads(told.splitlines()[-1])  # type: ignore[no-any-return]  # JSON of our own


class Server:
    """The tests' server on loopback, as a context manager; options are those of `python -m faultserver`."""

    def __init__(self, *options: str) -> None:
        self._options = options

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        port_file = Path(self._folder.name) / "port"
        command = [sys.executable, "-m", "faultserver", "--port", "0", "--port-file", str(port_file), *self._options]
        self._process = subprocess.Popen(command, cwd=ROOT / "tests", stdout=subprocess.DEVNULL)
        _pin(self._process.pid, _cores()[-1:])
        give_up_s = time.monotonic() + START_S
        while not port_file.exists():
            if self._process.poll() is not None or time.monotonic() > give_up_s:
                self.__exit__()
                msg = f"the server did not start; run it by hand: cd tests && {' '.join(command)}"
                raise RuntimeError(msg)
            time.sleep(0.02)
        self.url = f"http://127.0.0.1:{port_file.read_text(encoding='utf-8')}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()

    def measured(self, client: str, in_flight: int, requests: int) -> dict[str, float]:
        """Have one client send requests; return CPU time a request, requests a second, and the server's own load."""
        before_s = _cpu_s(self._process.pid)
        found = run_task(client, self.url, in_flight, requests)
        spent_s = _cpu_s(self._process.pid) - before_s
        whole = found["warm_up"] + requests  # the warm-up costs the server as much a request
        return {
            "cpu_ms": found["cpu_s"] / requests * 1e3,
            "a_second": requests / found["wall_s"],
            "server_busy": spent_s * requests / whole / found["wall_s"],
        }


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _pin(pid: int, cores: list[int]) -> None:
    """Keep a process on some cores, where the system can and there are any to choose from."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, cores)


def _cpu_s(pid: int) -> float:
    """Return the CPU time a process has used; 0 where that cannot be seen."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
