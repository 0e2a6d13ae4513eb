"""What is installed and what is in reach: the checks behind `promptlab doctor`.

Each check says one thing and never shows a key.
"""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from promptlab import __version__, _loop
from promptlab.backends import gguf, server
from promptlab.backends.http import HttpBackend
from promptlab.endpoints import environment
from promptlab.errors import PromptlabError
from promptlab.store import second_library, sqlite_facts

#: good: as it should be. note: works without it. bad: something asked for does not work.
Mark = Literal["good", "note", "bad"]

_PACKAGES = (
    "openai",
    "sqlite-utils",
    "pandas",
    "matplotlib",
    "jupyterlab",
    "ipywidgets",
    "anywidget",
    "scipy",
    "genai-prices",
)
_EXTRAS = {"xllamacpp": "local", "pyarrow": "parquet", "tiktoken": "tokens"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    topic: str
    mark: Mark
    text: str


def findings(*, timeout_s: float = 5.0) -> Iterator[Finding]:
    """Yield what is found, topic by topic; the endpoint is asked for its models once."""
    yield Finding(
        "promptlab",
        "good",
        f"{__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}",
    )
    yield from _packages()
    yield from _sqlite()
    yield from _endpoint(timeout_s)
    yield from _local_model()


def _packages() -> Iterator[Finding]:
    found = {name: _version(name) for name in _PACKAGES}
    missing = [name for name, version in found.items() if version is None]
    text = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    yield Finding(
        "packages", "bad" if missing else "good", f"{text}{'; missing: ' + ', '.join(missing) if missing else ''}"
    )
    for name, extra in _EXTRAS.items():
        version = _version(name)
        advice = f'not installed; pip install "promptlab-notebook[{extra}]"'
        yield Finding(f"extra {extra}", "good" if version else "note", f"{name} {version}" if version else advice)


def _sqlite() -> Iterator[Finding]:
    facts = sqlite_facts()
    text = f"SQLite {facts.version}, full-text search {'there' if facts.has_fts5 else 'missing'}"
    yield Finding("store", "good" if facts.has_fts5 else "bad", text)
    if library := second_library():
        advice = f"{library} is installed: uninstall it, or never open a file of promptlab with sqlite-utils"
        yield Finding("second SQLite", "bad", advice)


def _endpoint(timeout_s: float) -> Iterator[Finding]:
    settings = environment()
    has_key = "OPENAI_API_KEY" in settings
    where = "in the environment" if os.environ.get("OPENAI_API_KEY") else "in .env"
    yield Finding("API key", "good" if has_key else "note", f"found {where}" if has_key else "none: set OPENAI_API_KEY")
    if not has_key:
        yield Finding("endpoint", "note", "not asked, for want of a key")
        return
    try:
        backend = HttpBackend(base_url=settings.get("OPENAI_BASE_URL"), api_key=settings["OPENAI_API_KEY"])
        backend.start()
        models = _loop.run(_asked(backend, timeout_s))
    except PromptlabError as exc:
        yield Finding("endpoint", "bad", str(exc))
    except TimeoutError:
        yield Finding("endpoint", "bad", f"{backend.base_url} did not answer within {timeout_s:g} s")
    else:
        yield Finding("endpoint", "good", f"{backend.base_url} answers and offers {len(models)} models")


async def _asked(backend: HttpBackend, timeout_s: float) -> list[str]:
    try:
        return await asyncio.wait_for(backend.models(), timeout_s)
    finally:
        await backend.aclose()


def _local_model() -> Iterator[Finding]:
    try:
        engine = server.require_engine()
    except PromptlabError as exc:
        yield Finding("local model", "note", str(exc))
        return
    file = gguf.find()
    text = (
        f"{gguf.SMOLLM2.name} is here"
        if file
        else f"{gguf.SMOLLM2.name} will be fetched at its first use (93 MB, once)"
    )
    yield Finding("local model", "good", f"{engine}; {text}")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
