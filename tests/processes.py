"""Other Python processes, for what only another process can show: crashes, locks, permissions.

They run with warnings as errors, like the tests themselves, and find the helpers beside this file.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).parent

# Root may write to any file; without these two capabilities permissions hold for it as well.
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]


def run_python(code: str, *arguments: object, as_anybody: bool = False, timeout_s: float = 60.0) -> str:
    """Run code in a process of its own and return what it printed; `as_anybody` makes permissions count for root."""
    prefix = AS_ANYBODY if as_anybody and os.geteuid() == 0 else []
    done = subprocess.run(
        [*prefix, *_command(code, arguments)], capture_output=True, text=True, check=False, cwd=HERE, timeout=timeout_s
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def start_python(code: str, *arguments: object, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start code in a process of its own, its output and its errors as pipes."""
    return subprocess.Popen(
        _command(code, arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE, env=env
    )


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    """Look again and again until something has come true; fail, saying what, when it does not."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, f"{what} did not come true within {timeout_s:g} s"
        time.sleep(0.005)


def _command(code: str, arguments: tuple[object, ...]) -> list[str]:
    return [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
