// Texts as a person wants to see them: with highlights, as a difference, as Markdown, as JSON, by token.

import { h, percent, putText } from "./dom.js";
import { MARKDOWN_TAGS } from "./markdown.js";
import { firstOpen, jsonRows } from "./jsonview.js";

let trees = 0;

// Append text with [start, end) ranges highlighted; `offset` is where it begins in the text the ranges are of.
export function putRanges(element, text, ranges = [], offset = 0) {
  let last = 0;
  for (const [from, to] of ranges) {
    const start = Math.max(last, from - offset), end = Math.min(text.length, to - offset);
    if (start >= end) continue;
    putText(element, text.slice(last, start));
    const mark = h("mark");
    putText(mark, text.slice(start, end));
    element.append(mark);
    last = end;
  }
  putText(element, text.slice(last));
}

// Append the pieces of a difference. `context` cuts what is kept to so many characters around a change, `limit` the
// whole; `ranges` are highlights in the new text.
export function putDiff(element, pieces, { ranges = [], context = Infinity, limit = Infinity } = {}) {
  let at = 0, drawn = 0;
  pieces.forEach(([kind, text], place) => {
    if (drawn < limit) {
      const parts = kind ? [[0, text]] : contextOf(text, context, place > 0, place < pieces.length - 1);
      for (const [start, part] of parts) {
        const target = kind ? h(kind > 0 ? "ins" : "del") : element, shown = part.slice(0, limit - drawn);
        if (start > 0) element.append("… ");
        putRanges(target, shown, kind < 0 ? [] : ranges, at + start);
        if (kind) element.append(target);
        drawn += shown.length;
      }
    }
    if (kind >= 0) at += text.length;
  });
}

// [[start, part]]: what stays of a kept text between changes, cut between words where there are any near.
function contextOf(text, context, hasBefore, hasAfter) {
  if (text.length <= 2 * context + 20 || (!hasBefore && !hasAfter)) return [[0, text]];
  const parts = [], blank = text.indexOf(" ", text.length - context) + 1;
  const start = blank && blank < text.length - context / 2 ? blank : text.length - context;
  const end = hasAfter ? Math.max(text.lastIndexOf(" ", context), context / 2) : text.length;
  if (hasBefore) parts.push([0, text.slice(0, end)]);
  if (hasAfter) parts.push([start, text.slice(start)]);
  return parts;
}

// The nodes of a tree of markdown.js.
export function markdownNodes(tree, marks = null) {
  return tree.map(node => {
    if (typeof node === "string") {
      const text = document.createDocumentFragment();
      putText(text, node, { marks });
      return text;
    }
    const element = h(MARKDOWN_TAGS.has(node.tag) ? node.tag : "span", node.start > 1 ? { start: node.start } : {});
    element.append(...markdownNodes(node.children, marks));
    return element;
  });
}

// A tree of jsonview.js that opens by click and by arrows.
export function jsonView(root, label, marks = null) {
  const open = firstOpen(root), id = `json${++trees}`;
  let rows = [], at = 0;
  const element = h("div.json", { role: "tree", "aria-label": label, tabIndex: 0 });
  const toggle = place => {
    const { path, count } = rows[place];
    if (!count || rows[place].kind === "rest") return;
    if (!open.delete(path)) open.add(path);
    draw();
  };
  const draw = () => {
    rows = jsonRows(root, open);
    at = Math.min(at, rows.length - 1);
    element.replaceChildren(...rows.map((row, place) => jsonRow(row, `${id}-${place}`, place === at, marks)));
    element.setAttribute("aria-activedescendant", `${id}-${at}`);
  };
  const go = place => {
    at = Math.max(0, Math.min(rows.length - 1, place));
    draw();
    element.children[at].scrollIntoView({ block: "nearest" });
  };
  const steps = {
    ArrowDown: () => go(at + 1),
    ArrowUp: () => go(at - 1),
    ArrowRight: () => { if (rows[at].isOpen) go(at + 1); else toggle(at); },
    ArrowLeft: () => { if (rows[at].isOpen) toggle(at); else go(parentOf(rows, at)); },
    Enter: () => toggle(at),
  };
  element.addEventListener("keydown", event => {
    if (!steps[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    steps[event.key]();
  });
  element.addEventListener("click", event => {
    const place = [...element.children].indexOf(event.target.closest("[role=treeitem]"));
    if (place < 0) return;
    at = place;
    toggle(place);
    draw();
  });
  draw();
  return element;
}

function parentOf(rows, at) {
  for (let place = at - 1; place >= 0; place--) if (rows[place].depth < rows[at].depth) return place;
  return at;
}

const BRACKETS = { object: ["{", "}"], array: ["[", "]"] };

function jsonRow(row, id, isHere, marks) {
  const element = h("div.json-row", {
    id, role: "treeitem", class: isHere ? "json-row here" : "json-row", "aria-level": row.depth + 1,
    "aria-expanded": row.count && row.kind !== "rest" ? String(row.isOpen) : null,
    style: { paddingLeft: `${row.depth * 14 + 16}px` },
  });
  if (row.key !== null) {
    element.append(h("span.json-key", {}, typeof row.key === "string" ? JSON.stringify(row.key) : row.key), ": ");
  }
  if (row.kind === "rest") element.append(h("span.muted", {}, `… ${row.count} more`));
  else if (BRACKETS[row.kind]) {
    const [start, end] = BRACKETS[row.kind];
    const items = row.count ? ` ${row.count} ${row.count === 1 ? "item" : "items"} ` : "";
    element.append(start, ...(row.isOpen ? [] : [h("span.muted", {}, items), end]));
  } else {
    const value = h(`span.json-${row.kind}`);
    putText(value, row.text.length > 5000 ? `${row.text.slice(0, 5000)}…` : row.text, { marks });
    element.append(value);
  }
  return element;
}

// Tokens with a background by probability; neighbours of one step are one element in a cell (`brief`).
export function putTokens(element, tokens, { brief = false, limit = Infinity } = {}) {
  let drawn = 0;
  for (const token of brief ? joinedTokens(tokens) : tokens) {
    if (drawn >= limit) break;
    const text = token.text.slice(0, limit - drawn);
    drawn += text.length;
    if (token.step === null || (brief && token.step === 4)) { putText(element, text); continue; }
    const span = h(`span.token-${token.step}`, brief ? {} : { title: tokenTitle(token) });
    putText(span, text);
    element.append(span);
  }
}

function joinedTokens(tokens) {
  const joined = [];
  for (const { text, step } of tokens) {
    if (joined.length && joined.at(-1).step === step) joined.at(-1).text += text; else joined.push({ text, step });
  }
  return joined;
}

export function tokenTitle(token) {
  const others = token.alternatives.filter(one => !one.isChosen)
    .map(one => `${JSON.stringify(one.text)} ${percent(one.probability, 1)}`);
  return [percent(token.probability, 1), ...(others.length ? [`instead: ${others.join(", ")}`] : [])].join("\n");
}
