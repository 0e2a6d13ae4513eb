"""One llama.cpp server for all notebooks of a user: started at first use, shared, gone soon after its last client.

All that holds it together lies in one private folder (0700) per model file and settings:

    start.lock      held by a client that looks for the server or starts it, and by a server that leaves
    server.lock     held by the server as long as it lives
    settings.json   what the server is started with
    state.json      url, key and pid of the server, written when it can answer
    server.log      what the engine wrote
    leases/         one file a client, locked by it as long as it lives

Liveness is always the lock, never the pid: the operating system lets go of it when a process ends, however it ends.
The server is a process of its own because GOMP_SPINCOUNT has to be set before OpenMP is loaded, because a crash of the
engine must not take the kernel along, and because five notebooks then hold the model once and not five times.

`python -m promptlab.backends.server FOLDER` is the server's side; only the standard library and xllamacpp are imported.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib
import importlib.metadata
import json
import os
import platform
import secrets
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from promptlab.backends.gguf import USE_LOCAL_DISK, locked, open_lock, try_lock, write_private
from promptlab.errors import LocalModelError

GRACE_S = 20.0  # how long the server stays without a client: a kernel restart takes less
START_TIMEOUT_S = 120.0  # 0.5 s on a quiet machine; 18 s were seen on a busy one
ENGINE = "xllamacpp"
INSTALL = 'pip install "promptlab-notebook[local]"'

# Together with one slot, the combination whose text and log probabilities are bit-identical whatever came before and
# whatever waits (0 of 160 answers differed, 1 and 2 threads; 2026-11-23, xllamacpp 2026.10.11549, x86-64). With four
# slots 4 of 80 differed: when two prompts are computed together whose lengths differ by one token, the last token of
# the longer is left over alone, and llama.cpp multiplies single columns by another kernel (`n < 2` in its sgemm.cpp).
FIXED: Mapping[str, Any] = {
    "cache_prompt": False,  # a reused prefix changed 2 to 5 of 60 answers
    "kv_unified": False,  # a shared cache changed 7 of 12 answers under concurrency
    "n_gpu_layers": 0,
    "no_op_offload": True,
    "no_kv_offload": True,
    "n_predict": 512,  # a request without max_tokens would run to the end of the context
    "cache_ram_mib": 0,
    "ui": False,
    "verbosity": 1,
}
FLASH_ATTENTION = "disabled"  # left on, answers to long prompts depend on what else is in flight
SAMPLING: Mapping[str, float] = {"temp": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}  # what "not set" means to OpenAI
_SPIN_COUNT = "5000"  # OpenMP's endless spinning cost up to 20 s an answer beside other busy processes
_NEEDED_CPU_FLAGS = ("avx2", "fma", "f16c", "bmi2")  # the Linux x86-64 wheel is compiled for these, without a fallback
_ILLEGAL_INSTRUCTION = (-signal.SIGILL, 128 + signal.SIGILL, 0xC000001D)  # POSIX, through a shell, Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server is started with; clients with equal settings share one, wherever their copy of the file lies."""

    model_path: str
    model_sha256: str
    alias: str
    threads: int
    slots: int
    context: int
    engine: str
    grace_s: float = GRACE_S

    def folder(self, root: Path) -> Path:
        """Return the folder of the server with these settings, for this user on this host (homes can be shared)."""
        whose = [platform.node(), os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")]
        what = {**asdict(self), "model_path": None}
        digest = hashlib.sha256(json.dumps([whose, what, FIXED, SAMPLING], sort_keys=True).encode()).hexdigest()
        return root / digest[:12]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, and the key it asks for, which no repr shows."""

    url: str
    key: str = field(repr=False)
    pid: int


class Lease:
    """A client's claim that keeps the server alive until it is closed, collected, or its process ends.

    A forked child inherits the descriptor, so the lock holds as long as either lives; only the owner removes the file.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "leases" / f"{os.getpid()}-{secrets.token_hex(4)}"
        fd = _held_lock(path)
        self._give_back = weakref.finalize(self, _give_back, fd, path, os.getpid())

    def close(self) -> None:
        """Give the lease back; doing so twice does nothing."""
        self._give_back()


@dataclass(frozen=True, slots=True)
class Connection:
    """A running server and the lease on it."""

    address: Address
    lease: Lease
    folder: Path
    owner_pid: int

    def is_usable(self) -> bool:
        """Whether the server still lives and the lease is this process's own, not inherited by a fork."""
        return self.owner_pid == os.getpid() and is_running(self.folder)

    def close(self) -> None:
        """Give the lease back; the server leaves when it has had no client for a while."""
        self.lease.close()


def connect(
    settings: Settings,
    *,
    root: Path,
    launch: Callable[[Path], subprocess.Popen[bytes]] | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> Connection:
    """Take a lease on the server with these settings and return it ready to answer, started if nobody has yet.

    `root` holds the folders of all servers. Raises `LocalModelError`, saying what to do.
    """
    folder = settings.folder(root)
    try:
        _make_private(folder)
        with locked(folder / "start.lock", timeout_s=2 * timeout_s):
            return _connected(folder, settings, launch=launch or _launch, timeout_s=timeout_s)
    except TimeoutError as exc:
        msg = f"the local model is being started by another process, without end: {exc}; end that process and try again"
        raise LocalModelError(msg) from exc
    except OSError as exc:
        msg = f"the local model's server cannot use the folder {folder}: {exc}. {USE_LOCAL_DISK}"
        raise LocalModelError(msg) from exc


def call(
    address: Address, path: str, *, payload: Mapping[str, Any] | None = None, timeout_s: float = 5.0
) -> tuple[int, bytes]:
    """Return status and body of one exchange with the server: a POST of the payload, or a GET without one."""
    where = urlsplit(address.url)  # http.client rather than urllib, which would send loopback through the user's proxy
    with closing(http.client.HTTPConnection(where.hostname or "", where.port, timeout=timeout_s)) as connection:
        connection.request(
            "GET" if payload is None else "POST",
            path,
            body=None if payload is None else json.dumps(payload),
            headers={"Authorization": f"Bearer {address.key}", "Content-Type": "application/json"},
        )
        reply = connection.getresponse()
        return reply.status, reply.read()


def is_running(folder: Path) -> bool:
    """Whether a server of this folder lives, be it still loading."""
    return _is_held(folder / "server.lock")


def require_engine(*, cpu_flags: Callable[[], set[str] | None] | None = None, version: str | None = None) -> str:
    """Return the engine's name and version, or raise `LocalModelError` where it is missing or cannot run."""
    found = version if version is not None else engine_version()
    if not found:
        msg = f"the local model needs the package {ENGINE}, which is not installed; run: {INSTALL}"
        raise LocalModelError(msg)
    flags = (cpu_flags or _cpu_flags)()
    missing = [flag for flag in _NEEDED_CPU_FLAGS if flags is not None and flag not in flags]
    if missing:
        raise LocalModelError(_old_cpu(f"this one lacks {', '.join(missing)}"))
    return f"{ENGINE} {found}"


def engine_version(package: str = ENGINE) -> str:
    """Return the version of the installed engine, or an empty text."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def default_threads(cpus: int | None = None) -> int:
    """Return how many threads the engine takes: up to four, and one core stays free, because its threads spin.

    >>> [default_threads(cpus) for cpus in (1, 2, 4, 64)]
    [1, 1, 3, 4]
    """
    return max(1, min(4, (cpus or _usable_cpus()) - 1))


def described(*, threads: int, slots: int, context: int) -> dict[str, Any]:
    """Return every setting that can bear on an answer, as it is logged with a run."""
    return {
        "threads": threads,
        "slots": slots,
        "context_per_slot": context,
        "flash_attention": FLASH_ATTENTION,
        "defaults": dict(SAMPLING),
        **FIXED,
    }


def explain_exit(code: int, log: str) -> str:
    """Return what to tell a user whose server ended with this exit code and this log before it could answer."""
    if "libgomp.so.1" in log:
        return "the local model's engine needs the system library libgomp.so.1; run: apt-get install libgomp1"
    if "libstdc++.so.6" in log:
        return "the local model's engine needs the system library libstdc++.so.6; run: apt-get install libstdc++6"
    if f"No module named '{ENGINE}'" in log:
        return f"the local model needs the package {ENGINE}, which is not installed; run: {INSTALL}"
    if code in _ILLEGAL_INSTRUCTION:
        return _old_cpu("the engine ended with an illegal instruction")
    return f"the local model's server ended with exit code {code} before it could answer. Its log ends:\n{_tail(log)}"


def _old_cpu(problem: str) -> str:
    return (
        f"the local model's engine needs a CPU with {', '.join(_NEEDED_CPU_FLAGS).upper()} (2013 or later): {problem}. "
        "Use another machine, or an endpoint: Lab(base_url=..., api_key=...)"
    )


def _connected(
    folder: Path, settings: Settings, *, launch: Callable[[Path], subprocess.Popen[bytes]], timeout_s: float
) -> Connection:
    lease = Lease(folder)  # before the look at the server: one that is about to leave sees it and stays
    try:
        address = _joined(folder, timeout_s=timeout_s) or _started(folder, settings, launch=launch, timeout_s=timeout_s)
    except BaseException:
        lease.close()
        raise
    return Connection(address, lease, folder, os.getpid())


def _joined(folder: Path, *, timeout_s: float) -> Address | None:
    if not is_running(folder):
        return None
    return _when_ready(folder, has_ended=lambda: not is_running(folder), timeout_s=timeout_s)


def _started(
    folder: Path, settings: Settings, *, launch: Callable[[Path], subprocess.Popen[bytes]], timeout_s: float
) -> Address:
    (folder / "state.json").unlink(missing_ok=True)
    write_private(folder / "settings.json", json.dumps(asdict(settings)))
    process = launch(folder)
    # Waits in a thread, so that a server that has left is no zombie and its exit code is known
    threading.Thread(target=process.wait, name="promptlab-server-exit", daemon=True).start()
    try:
        address = _when_ready(folder, has_ended=lambda: process.returncode is not None, timeout_s=timeout_s)
    except LocalModelError:
        process.kill()
        raise
    if address is None:
        raise LocalModelError(explain_exit(process.returncode, _log_of(folder)))
    return address


def _when_ready(folder: Path, *, has_ended: Callable[[], bool], timeout_s: float) -> Address | None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        ended = has_ended()
        address = _read_state(folder)
        if address is not None and _answers(address):
            return address
        if ended:
            return None
        time.sleep(0.03)
    raise LocalModelError(_stuck(folder, timeout_s))


def _stuck(folder: Path, timeout_s: float) -> str:
    address = _read_state(folder)
    remedy = f"End process {address.pid} and try again." if address else "Try again."
    tail = _tail(_log_of(folder))
    return f"the local model's server has not answered for {timeout_s:g} s. {remedy} Its log ends:\n{tail}"


def _answers(address: Address) -> bool:
    try:
        return call(address, "/v1/models", timeout_s=2.0)[0] == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False


def _launch(folder: Path) -> subprocess.Popen[bytes]:
    # -P: the notebook's folder, where a random.py may lie, stays off the path.
    command = [sys.executable, "-P", "-m", "promptlab.backends.server", str(folder)]
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(
            command,
            env=_server_env(),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the kernel does not reach the server
        )


def _server_env(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    source = Path(__file__).resolve().parents[2]
    path = {} if source.name.endswith("-packages") else {"PYTHONPATH": str(source)}  # a checkout that is not installed
    return {"GOMP_SPINCOUNT": _SPIN_COUNT, **env, **path}


def _make_private(folder: Path) -> None:
    (folder / "leases").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


def _held_lock(path: Path) -> int:
    """Return a descriptor that holds the lock on a file that is there.

    The server takes the same locks for a moment, to see which are held, and removes the files of those that are not: it
    may meet a lease between its making and its locking.
    """
    while True:
        fd = open_lock(path)
        if try_lock(fd) and path.exists():
            return fd
        os.close(fd)
        time.sleep(0.001)


def _give_back(fd: int, path: Path, owner_pid: int) -> None:
    os.close(fd)
    if os.getpid() == owner_pid:
        path.unlink(missing_ok=True)


def _read_state(folder: Path) -> Address | None:
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        return Address(url=state["url"], key=state["key"], pid=state["pid"])
    except (OSError, ValueError, KeyError):
        return None


def _log_of(folder: Path) -> str:
    try:
        return (folder / "server.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _tail(log: str) -> str:
    return log.strip()[-2000:] or "(it is empty)"


def _is_held(lock_file: Path) -> bool:
    try:
        fd = open_lock(lock_file)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(fd)
    finally:
        os.close(fd)


def _cpu_flags(
    read: Callable[[], str] = Path("/proc/cpuinfo").read_text, *, machine: str = platform.machine()
) -> set[str] | None:
    """Return the CPU's flags where the engine depends on them and Linux tells, else None."""
    if machine != "x86_64":
        return None
    try:
        flags = [line.partition(":")[2].split() for line in read().splitlines() if line.startswith("flags")]
    except OSError:
        return None
    return set(flags[0]) if flags else None


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def serve(
    folder: Path,
    *,
    start_engine: Callable[[Settings, str], tuple[str, object]] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    leave: Callable[[int], object] = os._exit,
) -> None:
    """Run the engine until no client has held a lease for the grace period, then end the process.

    `start_engine` takes the settings and the key, and returns the engine's URL and whatever keeps it running.
    """
    settings = Settings(**json.loads((folder / "settings.json").read_text(encoding="utf-8")))
    with locked(folder / "server.lock", timeout_s=2.0):
        key = f"pl-{secrets.token_urlsafe(24)}"
        url, engine = (start_engine or _start_engine)(settings, key)
        write_private(folder / "state.json", json.dumps({"url": url, "key": key, "pid": os.getpid()}))
        _stay_while_used(folder, key, grace_s=settings.grace_s, clock=clock, sleep=sleep, leave=leave)
        del engine  # held until here: it ends when it is collected


def _start_engine(settings: Settings, key: str) -> tuple[str, object]:  # pragma: no cover - in the server's process
    module = importlib.import_module(ENGINE)
    engine = module.Server(_engine_params(settings, key, module=module))
    return str(engine.listening_address), engine


def _engine_params(settings: Settings, key: str, *, module: Any) -> Any:  # Any: the engine has no type hints
    params = module.CommonParams()
    params.model.path = settings.model_path
    params.model_alias = {settings.alias}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.cors_origins = ""
    params.n_parallel = settings.slots
    params.n_ctx = settings.slots * settings.context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    params.flash_attn_type = module.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    for name, value in FIXED.items():
        setattr(params, name, value)
    for name, value in SAMPLING.items():
        setattr(params.sampling, name, value)
    return params


def _stay_while_used(
    folder: Path,
    key: str,
    *,
    grace_s: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    leave: Callable[[int], object],
) -> None:
    last_seen_s = clock()
    while True:
        sleep(min(1.0, grace_s / 4))
        if _has_clients(folder, key):
            last_seen_s = clock()
        elif clock() - last_seen_s >= grace_s and _left(folder, key, leave=leave):
            return


def _left(folder: Path, key: str, *, leave: Callable[[int], object]) -> bool:
    """Leave unless a client has come; clients take their lease with start.lock held, so this look is final."""
    with suppress(TimeoutError), locked(folder / "start.lock", timeout_s=0.0):
        if _has_clients(folder, key):
            return False
        _clear(folder, key)
        leave(0)
        return True
    return False


def _has_clients(folder: Path, key: str) -> bool:
    return _is_mine(folder, key) and any(_is_held(lease) for lease in _leases(folder))


def _is_mine(folder: Path, key: str) -> bool:
    """Whether the folder is still this server's: a cleared cache may hold a newer server at the same path."""
    state = _read_state(folder)
    return state is not None and state.key == key


def _clear(folder: Path, key: str) -> None:
    if _is_mine(folder, key):
        (folder / "state.json").unlink(missing_ok=True)
        for lease in _leases(folder):
            lease.unlink(missing_ok=True)


def _leases(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return list((folder / "leases").iterdir())
    return []


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
