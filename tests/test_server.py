"""The shared server: who starts it, who keeps it alive, when it leaves, and what a user is told when it cannot run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from promptlab.backends import gguf, server
from promptlab.backends.server import Address, Lease, Settings
from promptlab.errors import LocalModelError

CLIENT = """
import json, sys
from pathlib import Path
from promptlab.backends import server
connection = server.connect(server.Settings(**json.loads(sys.argv[1])), root=Path(sys.argv[2]))
print(connection.address.pid, flush=True)
sys.stdin.read()
"""
FORKING = """
import os, sys
from pathlib import Path
from promptlab.backends import server
folder = Path(sys.argv[1])
lease = server.Lease(folder)
connection = server.Connection(server.Address("http://127.0.0.1:9", "key", 1), lease, folder, os.getpid())
child = os.fork()
if child == 0:
    usable = connection.is_usable()
    connection.close()
    os._exit(usable)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), [server._is_held(path) for path in server._leases(folder)])
"""


@pytest.fixture
def settings(tmp_path):
    """The settings of a server that leaves after a second."""
    return Settings(
        model_path=str(tmp_path / "m.gguf"),
        model_sha256="0" * 64,
        alias="tiny",
        threads=1,
        slots=2,
        context=512,
        engine="xllamacpp 1.0",
        grace_s=1.0,
    )


@pytest.fixture
def folder(tmp_path, settings):
    """The folder of a server that is to be started by hand."""
    folder = settings.folder(tmp_path)
    server._make_private(folder)
    (folder / "settings.json").write_text(json.dumps(server.asdict(settings)))
    return folder


@pytest.fixture(scope="module")
def model_file():
    """The real model's file, fetched once for this machine."""
    return gguf.locate()


@pytest.fixture
def real(tmp_path, settings, model_file):
    """The settings of a real server with the real model; it is gone when the test is over."""
    engine = server.require_engine()
    real = replace(settings, model_path=str(model_file.path), model_sha256=model_file.sha256, engine=engine)
    yield real
    eventually(lambda: not server.is_running(real.folder(tmp_path)))


class Engine:
    """An engine that does nothing but note the key it was given."""

    url = "http://127.0.0.1:9"

    def start(self, _: Settings, key: str) -> tuple[str, object]:
        """Return what the real engine's start returns."""
        self.key = key
        return self.url, self


class LeftError(Exception):
    """The server has left, with this exit code."""


def leave(code: int) -> None:
    """End the server of a test, where the real one ends its process."""
    raise LeftError(code)


def eventually(condition, *, timeout_s=20.0):
    """Wait until the condition holds, for what happens in other processes."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "this took too long"
        time.sleep(0.02)


def a_client(settings: Settings, root: Path) -> subprocess.Popen[str]:
    """Start a process that connects, prints the server's pid and holds its lease until its stdin is closed."""
    command = [sys.executable, "-c", CLIENT, json.dumps(server.asdict(settings)), str(root)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def launching(script: str):
    """Return a launcher of a Python script in the place of the server; it logs where the server logs."""

    def launch(folder: Path) -> subprocess.Popen[bytes]:
        with (folder / "server.log").open("wb") as log:
            return subprocess.Popen([sys.executable, "-c", script], stdout=log, stderr=log)

    return launch


def test_equal_settings_share_a_folder_whatever_the_path(tmp_path, settings):
    """Two copies of one file in two places are served by one server."""
    assert replace(settings, model_path="/elsewhere.gguf").folder(tmp_path) == settings.folder(tmp_path)


@pytest.mark.parametrize("change", [{"threads": 2}, {"context": 9}, {"alias": "x"}, {"model_sha256": "1"}])
def test_other_settings_have_another_folder(tmp_path, settings, change):
    """Whatever can bear on an answer leads to another server."""
    assert replace(settings, **change).folder(tmp_path) != settings.folder(tmp_path)


def test_an_address_does_not_show_its_key():
    """The key stands in no repr."""
    assert repr(Address("http://127.0.0.1:9", "pl-secret", 7)) == "Address(url='http://127.0.0.1:9', pid=7)"


def test_the_machine_bounds_the_threads():
    """Without a number the threads come from the cores this process may use."""
    assert server.default_threads() == server.default_threads(server._usable_cpus())


def test_what_bears_on_answers_is_described():
    """The logged settings hold the thread count, the context and every fixed setting."""
    assert server.described(threads=1, slots=4, context=2048) == {
        "threads": 1,
        "slots": 4,
        "context_per_slot": 2048,
        "flash_attention": "disabled",
        "defaults": {"temp": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0},
        "cache_prompt": False,
        "kv_unified": False,
        "n_gpu_layers": 0,
        "no_op_offload": True,
        "no_kv_offload": True,
        "n_predict": 512,
        "cache_ram_mib": 0,
        "ui": False,
        "verbosity": 1,
    }


def test_a_version_is_read_without_importing():
    """An installed package has a version, one that is not installed has none."""
    assert (server.engine_version("pytest"), server.engine_version("not-installed-here")) == (pytest.__version__, "")


def test_the_engine_is_named_with_its_version():
    """On a machine that can run it, the engine is returned as it is logged."""
    assert server.require_engine(cpu_flags=lambda: {"avx2", "fma", "f16c", "bmi2"}, version="7") == "xllamacpp 7"


def test_a_missing_engine_is_told():
    """Without the package the error is the command that installs it."""
    with pytest.raises(LocalModelError, match=r'xllamacpp, which is not installed; run: pip install "promptlab'):
        server.require_engine(version="")


def test_an_old_cpu_is_told_before_the_start():
    """A CPU without AVX2 is refused with the flag that is missing."""
    with pytest.raises(LocalModelError, match=r"needs a CPU with AVX2, .*: this one lacks avx2, bmi2\. Use another"):
        server.require_engine(cpu_flags=lambda: {"fma", "f16c", "sse2"}, version="7")


def test_a_cpu_that_does_not_tell_is_tried():
    """Where the flags cannot be read, the engine is started."""
    assert server.require_engine(cpu_flags=lambda: None, version="7") == "xllamacpp 7"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("model name\t: x\nflags\t\t: fma avx2\nflags\t\t: other\n", {"fma", "avx2"}, id="flags"),
        pytest.param("model name\t: x\n", None, id="none"),
    ],
)
def test_cpu_flags_are_read_from_cpuinfo(text, expected):
    """The flags are those of the first core; without such a line nothing is known."""
    assert server._cpu_flags(lambda: text, machine="x86_64") == expected


def test_an_unreadable_cpuinfo_is_no_obstacle():
    """Where /proc is closed, nothing is known about the CPU."""
    assert server._cpu_flags(Path("/proc/nowhere/cpuinfo").read_text, machine="x86_64") is None


def test_other_machines_need_no_flags():
    """An arm64 wheel asks for nothing that could be missing."""
    assert server._cpu_flags(lambda: "flags : x", machine="aarch64") is None


@pytest.mark.parametrize(
    ("code", "log", "told"),
    [
        pytest.param(1, "ImportError: libgomp.so.1: cannot open", "apt-get install libgomp1", id="libgomp"),
        pytest.param(1, "ImportError: libstdc++.so.6: cannot open", "apt-get install libstdc", id="libstdc++"),
        pytest.param(1, "ModuleNotFoundError: No module named 'xllamacpp'", "run: pip install", id="no-engine"),
        pytest.param(-signal.SIGILL, "", "ended with an illegal instruction", id="old-cpu"),
        pytest.param(3, "x" * 3000 + "the end", f"exit code 3 .*Its log ends:\n{'x' * 1993}the end$", id="tail"),
        pytest.param(3, " ", r"Its log ends:\n\(it is empty\)$", id="empty"),
    ],
)
def test_an_early_end_is_explained(code, log, told):
    """The exit code and the log become what to do, or the end of the log."""
    assert re.search(told, server.explain_exit(code, log))


def test_a_server_that_ends_at_once_is_told_with_its_log(tmp_path, settings):
    """A server that cannot start gives its log, and the lease is given back."""
    with pytest.raises(LocalModelError, match=r"exit code 3 before it could answer\. Its log ends:\nno such model"):
        server.connect(settings, root=tmp_path, launch=launching("import sys; print('no such model'); sys.exit(3)"))
    assert server._leases(settings.folder(tmp_path)) == []


def test_a_server_that_never_answers_is_ended(tmp_path, settings):
    """A server that hangs while it starts is killed, and the error says how long it was waited for."""
    started = []

    def launch(folder):
        started.append(launching("import time; print('loading', flush=True); time.sleep(60)")(folder))
        return started[0]

    with pytest.raises(LocalModelError, match=r"has not answered for 0\.5 s\. Try again\."):
        server.connect(settings, root=tmp_path, launch=launch, timeout_s=0.5)
    eventually(lambda: started[0].returncode is not None)
    assert started[0].returncode == -signal.SIGKILL


def test_a_server_that_hangs_is_named(tmp_path, settings, folder):
    """A server that lives and does not answer is told with its pid, as it is not ours to end."""
    (folder / "state.json").write_text('{"url": "http://127.0.0.1:9", "key": "k", "pid": 4711}')
    with (
        gguf.locked(folder / "server.lock", timeout_s=0),
        pytest.raises(LocalModelError, match=r"has not answered for 0\.1 s\. End process 4711 and try again\."),
    ):
        server.connect(settings, root=tmp_path, timeout_s=0.1)


def test_a_start_that_never_ends_elsewhere_is_told(tmp_path, settings, folder):
    """Whoever waits for another process to start the server does not wait for ever."""
    with (
        gguf.locked(folder / "start.lock", timeout_s=0),
        pytest.raises(LocalModelError, match="is being started by another process"),
    ):
        server.connect(settings, root=tmp_path, timeout_s=0.05)


def test_a_folder_that_cannot_be_used_is_told(tmp_path, settings):
    """An unusable folder is named, with the variable that moves it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalModelError, match=r"cannot use the folder .*file.*Set PROMPTLAB_CACHE to a folder"):
        server.connect(settings, root=tmp_path / "file")


def test_the_server_leaves_after_its_grace_without_clients(folder):
    """Nobody there for a second: the server removes its state and ends its process with code 0."""
    clock = count(0.0, 0.4)
    with pytest.raises(LeftError, match=r"^0$"):
        server.serve(folder, start_engine=Engine().start, clock=lambda: next(clock), sleep=lambda _: None, leave=leave)
    assert not (folder / "state.json").exists()
    assert not server.is_running(folder)


def test_the_state_is_private_and_tells_how_to_ask(folder):
    """While the server runs, its state holds url, key and pid, for this user only."""
    engine, seen = Engine(), []

    def look(_: float) -> None:
        seen.append(json.loads((folder / "state.json").read_text()))
        seen.append(((folder / "state.json").stat().st_mode & 0o777, folder.stat().st_mode & 0o777))
        seen.append(server.is_running(folder))

    clock = iter([0.0, 9.0])
    with pytest.raises(LeftError):
        server.serve(folder, start_engine=engine.start, clock=lambda: next(clock), sleep=look, leave=leave)
    assert seen == [{"url": engine.url, "key": engine.key, "pid": os.getpid()}, (0o600, 0o700), True]


def test_the_key_is_new_each_time(folder):
    """Two servers have two keys."""
    engines = Engine(), Engine()
    for engine in engines:
        clock = iter([0.0, 9.0])
        server.serve(
            folder, start_engine=engine.start, clock=clock.__next__, sleep=lambda _: None, leave=lambda _: None
        )
    assert engines[0].key != engines[1].key
    assert min(len(engine.key) for engine in engines) > 30


def test_a_client_keeps_the_server(folder):
    """The grace period begins when the last client has gone."""
    now_s, lease, looks = [0.0], Lease(folder), []

    def sleep(wait_s: float) -> None:
        now_s[0] += 1.0
        looks.append(now_s[0])
        if now_s[0] == 5.0:
            lease.close()

    with pytest.raises(LeftError):
        server.serve(folder, start_engine=Engine().start, clock=lambda: now_s[0], sleep=sleep, leave=leave)
    assert looks == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_client_that_is_just_starting_keeps_the_server(folder):
    """While a client holds the start lock, the server stays, and stays on for the client's lease."""
    now_s, held = [0.0], []

    def sleep(_: float) -> None:
        now_s[0] += 2.0
        if now_s[0] == 2.0:
            start = gguf.locked(folder / "start.lock", timeout_s=0)
            start.__enter__()
            held.extend([start, None])
        elif now_s[0] == 4.0:
            held[1] = Lease(folder)
            held[0].__exit__(None, None, None)
        elif now_s[0] == 8.0:
            held[1].close()

    with pytest.raises(LeftError):
        server.serve(folder, start_engine=Engine().start, clock=lambda: now_s[0], sleep=sleep, leave=leave)
    assert now_s == [8.0]


def test_the_last_look_is_taken_with_the_door_closed(folder):
    """A client that came between the server's look and its leaving is seen, and the server stays."""
    with closing(Lease(folder)):
        (folder / "state.json").write_text('{"url": "u", "key": "k", "pid": 1}')
        assert not server._left(folder, "k", leave=leave)


def test_a_server_whose_folder_is_another_servers_leaves(folder):
    """After the cache was cleared and a newer server began there, its clients do not keep the old one."""
    clock = iter([0.0, 9.0])
    newer = '{"url": "u", "key": "newer", "pid": 1}'
    with closing(Lease(folder)), pytest.raises(LeftError):
        server.serve(
            folder,
            start_engine=Engine().start,
            clock=lambda: next(clock),
            sleep=lambda _: (folder / "state.json").write_text(newer),
            leave=leave,
        )
    assert (folder / "state.json").read_text() == newer


def test_a_lease_ends_with_its_object(folder):
    """A lease that is dropped without closing is given back."""
    lease = Lease(folder)
    assert [server._is_held(path) for path in server._leases(folder)] == [True]
    del lease
    assert server._leases(folder) == []


def test_a_cleared_cache_has_no_clients(tmp_path):
    """A folder that is gone has no leases and no running server."""
    assert (server._leases(tmp_path / "gone"), server.is_running(tmp_path / "gone")) == ([], False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
def test_a_forked_child_takes_nothing_from_its_parent(folder):
    """A child finds an inherited connection unusable, and closing it there leaves the parent's lease in place."""
    with gguf.locked(folder / "server.lock", timeout_s=0):
        done = subprocess.run([sys.executable, "-c", FORKING, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout == "0 [True]\n"


def test_a_checkout_is_put_on_the_servers_path():
    """The server finds promptlab also where it is used from a checkout; the user's own settings stay."""
    env = server._server_env({"GOMP_SPINCOUNT": "7", "HOME": "/elsewhere"})
    source = str(Path(server.__file__).parents[2])
    assert env == {"GOMP_SPINCOUNT": "7", "HOME": "/elsewhere", "PYTHONPATH": source}


@pytest.mark.local_model
def test_the_engine_is_set_up_to_repeat_itself(settings):
    """Every setting that repeatability needs reaches the engine."""
    engine = pytest.importorskip("xllamacpp")
    params = server._engine_params(settings, "key", module=engine)
    assert {name: getattr(params, name) for name in server.FIXED} == server.FIXED
    assert {name: getattr(params.sampling, name) for name in server.SAMPLING} == server.SAMPLING
    assert params.flash_attn_type == 0
    assert (params.n_parallel, params.n_ctx) == (2, 1024)
    assert (params.cpuparams.n_threads, params.cpuparams_batch.n_threads) == (1, 1)
    assert (list(params.api_keys), list(params.model_alias), params.port) == (["key"], ["tiny"], 0)


@pytest.mark.local_model
def test_a_server_is_started_shared_and_left(tmp_path, real):
    """The second connection joins the first one's server, which asks for the key and leaves after both."""
    with closing(server.connect(real, root=tmp_path)) as first, closing(server.connect(real, root=tmp_path)) as second:
        assert first.address == second.address
        status, body = server.call(first.address, "/v1/models")
        assert (status, [model["id"] for model in json.loads(body)["data"]]) == (200, ["tiny"])
        assert server.call(replace(first.address, key="wrong"), "/v1/models")[0] == 401
    eventually(lambda: not server.is_running(first.folder))
    assert sorted(path.name for path in first.folder.iterdir()) == [
        "leases",
        "server.lock",
        "server.log",
        "settings.json",
        "start.lock",
    ]


@pytest.mark.local_model
def test_four_processes_at_once_share_one_server_which_outlives_kill(tmp_path, real):
    """Four processes that race start one server; it stays while one of them lives and leaves when all were killed."""
    clients = [a_client(real, tmp_path) for _ in range(4)]
    pids = {int(client.stdout.readline()) for client in clients}
    assert len(pids) == 1
    for client in clients[:3]:
        kill(client)
    assert server.is_running(real.folder(tmp_path))
    kill(clients[3])
    eventually(lambda: not server.is_running(real.folder(tmp_path)))
    assert server._leases(real.folder(tmp_path)) == []


@pytest.mark.local_model
def test_a_killed_server_is_noticed_and_replaced(tmp_path, real):
    """After kill -9 of the server the connection is unusable, and the next one starts another server."""
    with closing(server.connect(real, root=tmp_path)) as first:
        os.kill(first.address.pid, signal.SIGKILL)
        eventually(lambda: not first.is_usable())
        with closing(server.connect(real, root=tmp_path)) as second:
            assert second.address.pid != first.address.pid
            assert second.is_usable()


def kill(process: subprocess.Popen[str]) -> None:
    """End the process as a crash would, and close its pipes."""
    process.kill()
    with process:
        process.wait()
