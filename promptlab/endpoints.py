"""Which backend a lab asks: the one given, or the endpoint that the environment names, or the file alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from promptlab import results
from promptlab.backends._base import Backend, Secret
from promptlab.backends.http import HttpBackend
from promptlab.backends.offline import OfflineBackend
from promptlab.errors import BackendError, OfflineError, PlanError
from promptlab.jobs import Clock
from promptlab.limits import RateLimits
from promptlab.prices import Price
from promptlab.retries import RetryPolicy
from promptlab.store import Store

if TYPE_CHECKING:
    from openai import AsyncOpenAI


def check_options(*, backend: object, limits: object, prices: object, policy: object, clock: object) -> None:
    """Refuse what a lab cannot be made with, listing every problem."""
    is_backend = backend is None or (not isinstance(backend, type) and hasattr(backend, "send"))
    is_priced = prices is None or (isinstance(prices, Mapping) and all(isinstance(p, Price) for p in prices.values()))
    checks = {
        f"backend={backend!r}: one that answers is needed, e.g. LocalModel()": is_backend,
        f"limits={limits!r}: write RateLimits(requests_per_minute=...)": isinstance(limits, RateLimits | None),
        f"prices={prices!r}: prices by model are needed, e.g. {{'my-model': Price(prompt=1, completion=2)}}": is_priced,
        f"policy={policy!r}: write RetryPolicy(attempts=...)": isinstance(policy, RetryPolicy | None),
        f"clock={clock!r}: for tests, write ManualClock().clock()": isinstance(clock, Clock | None),
    }
    if problems := [problem for problem, is_right in checks.items() if not is_right]:
        raise PlanError(problems)


def endpoint(address: Secret, key: Secret, client: AsyncOpenAI | None) -> HttpBackend:
    """Return the backend for what was given, completed by the environment."""
    if client is not None:
        return HttpBackend(base_url=address, api_key=key, client=client)
    settings = {name: Secret(value) for name, value in environment().items()}
    return HttpBackend(
        base_url=address or settings.get("OPENAI_BASE_URL"), api_key=key or settings.get("OPENAI_API_KEY")
    )


def stand_in(store: Store, backend: Backend | None) -> OfflineBackend:
    """Return the backend that stands for the one whose answers the file holds; the file is closed when none can."""
    if backend is not None:
        return OfflineBackend(backend.identity)
    held = results.identities(store)
    if len(held) != 1:
        store.close()
        choice = "; name one with base_url= or backend=: " + ", ".join(held) if held else ": nothing was asked yet"
        msg = f"offline: {store.path} holds answers of {len(held)} backends{choice}"
        raise OfflineError(msg)
    return OfflineBackend(held[0])


def environment() -> dict[str, str]:
    """Return the settings of the endpoint: the environment's, else those of `.env` in this folder."""
    names = ("OPENAI_API_KEY", "OPENAI_BASE_URL")
    in_file = _dotenv()
    return {name: value for name in names if (value := os.environ.get(name, in_file.get(name)))}


def _dotenv() -> dict[str, str | None]:
    """Return what `.env` says. Errors are not chained: their frames hold the file's text."""
    from dotenv import dotenv_values  # noqa: PLC0415 - only where it is used

    try:
        return dotenv_values(".env")
    except (OSError, ValueError) as exc:
        kind = type(exc).__name__
    msg = f"{Path('.env').absolute()} cannot be read ({kind}); make it a text file in UTF-8, or remove it"
    raise BackendError(msg)
