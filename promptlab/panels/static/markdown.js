// Markdown as a tree without HTML. Pure: a text in, nodes out; dom.js draws them as elements and text nodes.
//
// A node is a text, or {tag, children} with a tag of MARKDOWN_TAGS. Links are their text and address, images their own
// source: nothing can be clicked and nothing is fetched. Time is linear in the text, depth and number of nodes bounded.

export const MARKDOWN_TAGS = new Set(
  "p strong em del code pre ul ol li blockquote table thead tbody tr th td hr".split(" "),
);
const DEEPEST = 8; // blocks in blocks
const DEEPEST_INLINE = 16;
const MOST_NODES = 2000;

const FENCE = /^(```+|~~~+)/;
const HEADING = /^#{1,6}[ \t]/;
const QUOTE = /^>/;
const DASHES = /^:?-+:?$/;
const ITEM = /^([-*+]|\d{1,9}[.)])(?:[ \t]|$)/;

// `most` bounds the elements: what follows is one text, as it was written.
export function markdown(text, most = MOST_NODES) {
  return blocksOf(text.replace(/\r\n?/g, "\n").split("\n"), 0, { left: most });
}

function blocksOf(lines, depth, budget) {
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    const line = lines[at].trim();
    if (!line) { at++; continue; }
    if (budget.left <= 0 || depth > DEEPEST) return [...blocks, { tag: "pre", children: [lines.slice(at).join("\n")] }];
    const read = FENCE.test(line) ? readFence
      : HEADING.test(line) ? readHeading
      : isRule(line) ? readRule
      : QUOTE.test(line) ? readQuote
      : ITEM.test(line) ? readList
      : isTable(lines, at) ? readTable
      : readParagraph;
    const { node, next } = read(lines, at, depth, budget);
    budget.left--;
    blocks.push(node);
    at = next;
  }
  return blocks;
}

function readFence(lines, at) {
  const mark = FENCE.exec(lines[at].trim())[0];
  const isEnd = (line) => line.startsWith(mark) && !line.slice(mark.length).trim();
  let next = at + 1;
  while (next < lines.length && !isEnd(lines[next].trim())) next++;
  const info = lines[at].trim().slice(mark.length);
  return { node: { tag: "pre", info, children: [lines.slice(at + 1, next).join("\n")] }, next: next + 1 };
}

function readHeading(lines, at, depth, budget) {
  const text = lines[at].trim().replace(HEADING, "");
  return { node: { tag: "p", children: [{ tag: "strong", children: inline(text, budget) }] }, next: at + 1 };
}

const isRule = (line) => /^(?:-{3,}|\*{3,}|_{3,})$/.test(line.replaceAll(" ", ""));
const readRule = (lines, at) => ({ node: { tag: "hr", children: [] }, next: at + 1 });

function readQuote(lines, at, depth, budget) {
  let next = at;
  while (next < lines.length && lines[next].trimStart()[0] === ">") next++;
  const inside = lines.slice(at, next).map((line) => line.trimStart().replace(/^> ?/, ""));
  return { node: { tag: "blockquote", children: blocksOf(inside, depth + 1, budget) }, next };
}

function readList(lines, at, depth, budget) {
  const isNumbered = isNumber(lines[at]), indent = indentOf(lines[at]), children = [];
  let next = at;
  while (next < lines.length && startsItem(lines[next], isNumbered, indent) && (next === at || budget.left > 0)) {
    const inside = [lines[next++].trimStart().replace(ITEM, "")];
    for (; next < lines.length && belongsToItem(lines, next, indent); next++) {
      inside.push(lines[next].replace(/^[ \t]{1,4}/, ""));
    }
    const [first, ...rest] = blocksOf(inside, depth + 1, budget);
    children.push({ tag: "li", children: [...(first?.tag === "p" ? first.children : first ? [first] : []), ...rest] });
    budget.left--;
    if (next + 1 < lines.length && !lines[next].trim() && startsItem(lines[next + 1], isNumbered, indent)) next++;
  }
  const start = isNumbered ? parseInt(lines[at].trim(), 10) : undefined;
  return { node: isNumbered ? { tag: "ol", start, children } : { tag: "ul", children }, next };
}

const isNumber = (line) => /^\d/.test(line.trimStart());
const indentOf = (line) => line.length - line.trimStart().length;
const startsItem = (line, isNumbered, indent) =>
  Math.abs(indentOf(line) - indent) < 2 && isNumber(line) === isNumbered && ITEM.test(line.trim()) && !isRule(line);

// Deeper lines belong to an item, after a blank line too; so do lines of its paragraph that are not indented.
function belongsToItem(lines, at, indent) {
  const isDeep = (line) => line !== undefined && line.trim() !== "" && indentOf(line) >= indent + 2;
  if (!lines[at].trim()) return isDeep(lines[at + 1]);
  return isDeep(lines[at]) || (lines[at - 1].trim() !== "" && !startsBlock(lines, at));
}

function startsBlock(lines, at) {
  const line = lines[at].trim();
  return [FENCE, HEADING, QUOTE, ITEM].some((start) => start.test(line)) || isRule(line) || isTable(lines, at);
}

const cellsOf = (line) => line.trim().replace(/^\|/, "").replace(/\|$/, "").split("|").map((cell) => cell.trim());
const isTable = (lines, at) =>
  lines[at].includes("|") && lines[at + 1]?.includes("-") && cellsOf(lines[at + 1]).every((cell) => DASHES.test(cell));

function readTable(lines, at, depth, budget) {
  const row = (line, tag) => {
    const all = cellsOf(line), cells = all.length > budget.left ? [line] : all;
    budget.left -= cells.length + 1;
    return { tag: "tr", children: cells.map((cell) => ({ tag, children: inline(cell, budget) })) };
  };
  const head = row(lines[at], "th"), body = [];
  let next = at + 2;
  while (next < lines.length && lines[next].includes("|") && budget.left > 0) body.push(row(lines[next++], "td"));
  const children = [{ tag: "thead", children: [head] }, { tag: "tbody", children: body }];
  return { node: { tag: "table", children }, next };
}

function readParagraph(lines, at, depth, budget) {
  let next = at + 1;
  while (next < lines.length && lines[next].trim() && !startsBlock(lines, next)) next++;
  const text = lines.slice(at, next).map((line) => line.trimStart()).join("\n");
  return { node: { tag: "p", children: inline(text, budget) }, next };
}

const MARK =
  /(?<ticks>`+)|(?<mark>\*\*\*|\*\*|__|~~|[*_])|(?<bracket>!?\[)|(?<target>\]\()|\\(?<escaped>[!-\/:-@[-`{-~])/g;
const IS_WORD = /[\p{L}\p{N}]/u;

function inline(text, budget) {
  return new InlineReader(text, budget).read();
}

// Emphasis by a stack of what is open. Frames that are never closed become text again; each child moves at most once.
class InlineReader {
  constructor(text, budget) {
    this.text = text;
    this.budget = budget;
    this.open = [{ mark: "", children: [] }];
    this.nextOf = {}; // where ")" and a line break come next
    this.runs = null; // places of runs of backticks, by length
  }

  read() {
    let at = 0;
    while (at < this.text.length && this.budget.left > 0) {
      MARK.lastIndex = at;
      const found = MARK.exec(this.text);
      if (!found) break;
      this.say(this.text.slice(at, found.index));
      at = this.step(found.index, found[0], found.groups);
    }
    this.say(this.text.slice(at));
    this.fold(1);
    return this.open[0].children;
  }

  step(at, whole, { ticks, mark, bracket, target, escaped }) {
    const end = at + whole.length;
    if (ticks) return this.code(ticks, end);
    if (target) return this.link(end);
    if (mark && this.closes(mark, at, end)) this.close(mark);
    else if (bracket || (mark && this.opens(mark, at, end))) this.open.push({ mark: mark ?? bracket, children: [] });
    else this.say(escaped ?? whole);
    if (this.open.length > DEEPEST_INLINE) this.fold(1);
    return end;
  }

  code(ticks, end) {
    const close = this.nextRun(ticks.length, end);
    if (close < 0) { this.say(ticks); return end; }
    this.put("code", [this.text.slice(end, close)]);
    return close + ticks.length;
  }

  // `text (address)`; an image stays as it was written.
  link(end) {
    const from = this.open.findLastIndex((frame) => frame.mark.endsWith("["));
    const close = this.next(")", end), lineBreak = this.next("\n", end);
    if (from < 1 || close < 0 || (lineBreak >= 0 && lineBreak < close)) { this.say("]("); return end; }
    this.fold(from + 1);
    const { mark, children } = this.open.pop(), address = this.text.slice(end, close);
    const parts = mark === "![" ? ["![", ...children, `](${address})`]
      : children.length === 1 && children[0] === address ? children : [...children, ` (${address})`];
    for (const part of parts) this.say(part);
    return close + 1;
  }

  closes(mark, at, end) {
    const top = this.open.at(-1), isEmpty = top.mark === mark && !top.children.length;
    if (isEmpty || /\s/.test(this.text[at - 1]) || this.isInWord(mark, at, end)) return false;
    return this.open.some((frame) => frame.mark === mark);
  }

  opens(mark, at, end) {
    return /\S/.test(this.text[end] ?? " ") && !this.isInWord(mark, at, end);
  }

  isInWord(mark, at, end) {
    return mark[0] === "_" && IS_WORD.test(this.text[at - 1] ?? " ") && IS_WORD.test(this.text[end] ?? " ");
  }

  close(mark) {
    this.fold(this.open.findLastIndex((frame) => frame.mark === mark) + 1);
    const { children } = this.open.pop();
    this.put({ "*": "em", _: "em", "***": "em", "~~": "del" }[mark] ?? "strong", children);
    if (mark === "***") this.put("strong", [this.open.at(-1).children.pop()]);
  }

  put(tag, children) {
    this.budget.left--;
    this.say({ tag, children });
  }

  say(piece) {
    const { children } = this.open.at(-1), last = children.length - 1;
    if (piece === "") return;
    if (typeof piece === "string" && typeof children[last] === "string") children[last] += piece;
    else children.push(piece);
  }

  fold(depth) {
    for (const { mark, children } of this.open.splice(depth)) for (const piece of [mark, ...children]) this.say(piece);
  }

  // Both are asked with growing places, so that all answers together cost one pass.
  next(sign, from) {
    const known = this.nextOf[sign] ?? 0;
    if (known >= 0 && known < from) this.nextOf[sign] = this.text.indexOf(sign, from);
    return this.nextOf[sign] ?? -1;
  }

  nextRun(length, from) {
    this.runs ??= backtickRuns(this.text);
    const run = this.runs.get(length);
    if (!run) return -1; // a run that an escape has cut
    while (run.at < run.places.length && run.places[run.at] < from) run.at++;
    return run.places[run.at] ?? -1;
  }
}

function backtickRuns(text) {
  const runs = new Map();
  for (const { 0: { length }, index } of text.matchAll(/`+/g)) {
    if (!runs.has(length)) runs.set(length, { at: 0, places: [] });
    runs.get(length).places.push(index);
  }
  return runs;
}
