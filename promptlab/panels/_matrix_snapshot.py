"""The comparison matrix as it stands in a saved notebook: the first rows, as a table that any reader can draw."""

from __future__ import annotations

import re
from typing import Any

from promptlab import _text
from promptlab.comparison import Table, cells, measures
from promptlab.panels._panel import LIVE_HINT

ROWS = 32
CELL_CHARS = 2_000
LABEL_CHARS = 300
BYTES = 180_000  # of the table; with its frame it stays below 200 kB
_TEXT_SHARE = 100_000  # characters for all texts together, so that the rows fit
_STYLE = "white-space:pre-wrap;overflow-wrap:anywhere"
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


def html(table: Table, *, caption: str, hint: str = LIVE_HINT) -> str:
    """Return the first rows as HTML; what differs from the baseline is marked as inserted and deleted."""
    layout = table.layout
    chars = min(CELL_CHARS, max(100, _TEXT_SHARE // (ROWS * max(1, len(layout.columns)))))
    rows = cells.page(table, 0, ROWS, chars=chars)
    heads = measures.heads(table)
    top = [f"{', '.join(layout.spec.rows)} / {', '.join(layout.spec.levels)}", *(_head(each) for each in heads)]
    body: list[list[Any]] = []
    size = 0
    for row in rows:
        line = [_label(row), *(_cell(row, place, heads, chars) for place in range(len(heads)))]
        size += sum(len(str(cell).encode()) for cell in line)
        if size > BYTES:
            break
        body.append(line)
    return _text.html_card(caption, _text.html_table(body, head=top), note=_note(table, len(body), hint))


def _note(table: Table, shown: int, hint: str) -> str:
    constants = ", ".join(f"{name} = {_text.clipped(str(value), 40)}" for name, value in table.axes.constants)
    of = f"{shown:,} of {_text.count(len(table.layout.order), 'row')}"
    return "; ".join(filter(None, [constants, of, hint]))


def _head(head: dict[str, Any]) -> str:
    name = ", ".join(_text.clipped(str(value["label"]), 60) for value in head["values"])
    facts = [f"{head['ok']:,} ok", *([f"{head['failed']:,} failed"] if head["failed"] else [])]
    facts += [f"{head['unfinished']:,} to come"] if head["unfinished"] else []
    if head["score"] is not None:
        facts.append(f"score {head['score']:.2f}{_signed(head)}")
    facts += [] if head["latency_ms"] is None else [_text.duration(head["latency_ms"] / 1000)]
    facts += [] if head["cost_usd"] is None else ["free" if head["cost_usd"] == 0 else _text.usd(head["cost_usd"])]
    return f"{name}{' (baseline)' if head['is_baseline'] else ''}: {', '.join(facts)}"


def _signed(head: dict[str, Any]) -> str:
    delta = head["delta"] and head["delta"]["score"]
    return "" if delta is None else f" ({delta:+.2f})"


def _label(row: dict[str, Any]) -> _text.Html:
    labels = "<br>".join(_text.escaped(_text.clipped(_as_text(value), LABEL_CHARS)) for value in row["labels"])
    context = "".join(
        f"<br><small>{_text.escaped(name)} = {_text.escaped(_text.clipped(value, LABEL_CHARS))}</small>"
        for name, value in row["context"]
    )
    return _text.Html(f"<b>{labels}</b>{context}")


def _as_text(value: Any) -> str:
    return "none" if value is None else str(value)


def _cell(row: dict[str, Any], place: int, heads: list[dict[str, Any]], chars: int) -> _text.Html:
    cell = row["cells"][place]
    if cell is None:
        return _text.Html("")
    text = cell["text"]
    if text is None:
        answer = _text.escaped(cell["reason"] or ("no text" if cell["status"] == "ok" else ""))
        return _text.Html(f"<small>{_text.escaped(cell['status'])}</small> {answer}{_facts(cell)}")
    base = heads[place]["baseline"]
    other = cell["reference"]
    if base is not None:
        other = (row["cells"][base] or {}).get("text")
    shown = _text.escaped(text) if other is None else _marked(other[:chars], text)
    more = f" <small>… {cell['chars']:,} characters in all</small>" if cell["chars"] > len(text) else ""
    return _text.Html(f'<span style="{_STYLE}">{shown}</span>{more}{_facts(cell)}')


def _marked(before: str, after: str) -> str:
    """Return a text with what it has more, and less, than another one."""
    from rapidfuzz.distance import Indel  # noqa: PLC0415 - only where a table is drawn; difflib would take a second

    old, new = _WORDS.findall(before), _WORDS.findall(after)
    parts = []
    for code in Indel.opcodes(old, new):
        is_gone = code.tag == "delete"
        words = old[code.src_start : code.src_end] if is_gone else new[code.dest_start : code.dest_end]
        text, tag = _text.escaped("".join(words)), "del" if is_gone else "ins"
        parts.append(text if code.tag == "equal" else f"<{tag}>{text}</{tag}>")
    return "".join(parts)


def _facts(cell: dict[str, Any]) -> str:
    facts = [f"{cell['same']} of {cell['answered']} alike"] if cell["answered"] > 1 else []
    facts += [f"{cell['failed']} failed"] if cell["failed"] and cell["trials"] > 1 else []
    facts += [] if cell["finish_reason"] in {None, "stop"} else [cell["finish_reason"]]
    facts += [flag for flag in cell["flags"] if flag != cell["finish_reason"]]
    if cell["score"] is not None and cell["score"]["value"] is not None:
        facts.append(f"score {cell['score']['value']:g}")
    facts += (
        []
        if cell["rating"] is None
        else [f"rated {cell['rating']:+g}" if cell["scale"] == "thumbs" else f"{cell['rating']:g} stars"]
    )
    facts += ["pinned"] if cell["pinned"] else []
    facts += [f"note: {_text.clipped(cell['note'], LABEL_CHARS)}"] if cell["note"] else []
    return f"<br><small>{_text.escaped(' · '.join(facts))}</small>" if facts else ""
