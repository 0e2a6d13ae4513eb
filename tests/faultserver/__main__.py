"""The fault server as a process of its own, for crash tests and for trying things by hand."""

import asyncio
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from faultserver.service import Service, Switches
from faultserver.threaded import LOOPBACK, serve

SWITCHES = Switches()


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = _parser()
    args = parser.parse_args()
    if args.host not in (LOOPBACK, "localhost", "::1"):
        parser.error("loopback only")
    asyncio.run(_serve(args))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="faultserver", description="An OpenAI-compatible server that fails on purpose.")
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--port", type=int, default=8399, help="0: any free port (printed, and in --port-file)")
    parser.add_argument("--port-file", type=Path)
    parser.add_argument("--ledger", type=Path, help="append a JSON line an event (recv, billed, end) to this file")
    for name in Switches.__slots__:
        option, default = "--" + name.replace("_", "-"), getattr(SWITCHES, name)
        if name == "schedule":
            parser.add_argument(option, type=_read_json, default=[], help="a JSON file of rules")
        elif name == "models":
            parser.add_argument(option, type=lambda text: text.split(","), help="comma-separated; others get 404")
        elif isinstance(default, bool):
            parser.add_argument(option, action="store_true")
        else:
            parser.add_argument(option, type=str if default is None else type(default), default=default)
    return parser


def _read_json(path: str) -> object:
    import json

    return json.loads(Path(path).read_text(encoding="utf-8"))


async def _serve(args: Namespace) -> None:
    def announce(port: int) -> None:
        sys.stdout.write(f"faultserver on http://{args.host}:{port}/v1 pid {os.getpid()}\n")
        sys.stdout.flush()
        if args.port_file:
            _write_whole(args.port_file, str(port))

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    switches = {name: getattr(args, name) for name in Switches.__slots__}
    await serve(Service(ledger_path=args.ledger, **switches), args.host, args.port, announce, stop)


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader never sees half of it."""
    half = path.with_name(path.name + ".tmp")
    half.write_text(text, encoding="utf-8")
    half.replace(path)


if __name__ == "__main__":
    main()
