// JSON as a tree that is opened step by step. Pure: a text in, values out.
//
// Not JSON.parse: it rounds long numbers, drops repeated keys, sorts keys that look like numbers, and no two browsers
// say alike where a text breaks. Nothing here recurses, so depth is no danger.
//
// A node is {kind, text, value} for a leaf, {kind, items: [{key, node}]} for an object or array.

const JSON_STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const JSON_SIGN = /[{}[\]:,]|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
const JSON_WORDS = { true: true, false: false, null: null };
const MOST_SHOWN = 200; // items of one object or array that are drawn at once

// {root} or {error: {message, line, column}}. One fence around the whole text, as models write it, is left out.
export function jsonTree(text) {
  const reader = new JsonReader(withoutFence(text));
  const message = reader.read();
  return message ? { error: { message, ...placeIn(reader.text, reader.at) } } : { root: reader.top.items[0].node };
}

// The node as JSON text: on one line, or with an indent.
export function jsonText(root, indent = 0) {
  const parts = [], todo = [root];
  const line = (depth) => (indent ? "\n" + " ".repeat(indent * depth) : "");
  for (let depth = 0; todo.length; ) {
    const step = todo.pop();
    if (typeof step === "string") parts.push(step);
    else if (typeof step === "number") { depth += step; parts.push(line(depth)); }
    else if (!step.items) parts.push(step.text);
    else if (!step.items.length) parts.push(step.kind === "object" ? "{}" : "[]");
    else {
      parts.push(step.kind === "object" ? "{" : "[");
      todo.push(step.kind === "object" ? "}" : "]", -1);
      for (let place = step.items.length - 1; place >= 0; place--) {
        const { key, node } = step.items[place];
        todo.push(node);
        if (step.kind === "object") todo.push(JSON.stringify(key) + (indent ? ": " : ":"));
        todo.push(...(place ? [0, ","] : [1]));
      }
    }
  }
  return parts.join("");
}

// The rows of the tree that are open: [{path, depth, key, kind, text, count, isOpen}]. A path is the places of the
// items from the root, each after a dot; `open` is a set of them. A row of kind "rest" counts what a list leaves out.
export function jsonRows(root, open, most = MOST_SHOWN) {
  const rows = [], todo = [{ path: "", depth: 0, key: null, node: root }];
  while (todo.length) {
    const { path, depth, key, node } = todo.pop(), { kind, text = "", items } = node;
    const isOpen = Boolean(items) && open.has(path);
    rows.push({ path, depth, key, kind, text, count: node.count ?? items?.length ?? 0, isOpen });
    if (!isOpen) continue;
    const inside = items.slice(0, most).map((item, place) => ({ path: `${path}.${place}`, depth: depth + 1, ...item }));
    const rest = { kind: "rest", count: items.length - most };
    if (rest.count > 0) inside.push({ path: `${path}.rest`, depth: depth + 1, key: null, node: rest });
    todo.push(...inside.reverse());
  }
  return rows;
}

// The paths that are worth opening at first: from the top, until about `most` rows are shown.
export function firstOpen(root, most = 60) {
  const open = new Set();
  let level = [["", root]];
  for (let rows = 1; level.length; ) {
    const next = [];
    for (const [path, node] of level) {
      if (!node.items?.length || rows + node.items.length > most) continue;
      open.add(path);
      rows += node.items.length;
      node.items.forEach((item, place) => next.push([`${path}.${place}`, item.node]));
    }
    level = next;
  }
  return open;
}

const BAD_STRING = "a string that is not closed, or holds a wrong escape or a line break";
// What may come next, and how a message calls it.
const EXPECTED = {
  value: "a value", first: "a value or ]", key: "a key in quotes", firstKey: "a key in quotes or }", colon: ":",
  next: ", or an end", done: "nothing more",
};

class JsonReader {
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.top = { kind: "array", items: [] }; // holds the root
    this.open = [this.top];
    this.key = null;
    this.expects = "value";
  }

  // Returns what is wrong, or undefined.
  read() {
    for (this.skipBlanks(); this.at < this.text.length; this.skipBlanks()) {
      const pattern = this.text[this.at] === '"' ? JSON_STRING : JSON_SIGN;
      pattern.lastIndex = this.at;
      const token = pattern.exec(this.text)?.[0], wanted = EXPECTED[this.expects];
      if (!token && pattern === JSON_STRING) return BAD_STRING;
      if (!token || !this.takes(token)) return `${shortly(token ?? this.text[this.at])} where ${wanted} has to stand`;
      this.at += token.length;
    }
    return this.expects === "done" ? undefined : `the text ends where ${EXPECTED[this.expects]} has to stand`;
  }

  takes(token) {
    const { kind } = this.open.at(-1);
    if (token === "}" || token === "]") return this.ends(token, kind);
    if (this.expects === "next") return token === "," && this.now(kind === "object" ? "key" : "value");
    if (this.expects === "colon") return token === ":" && this.now("value");
    if (this.expects === "key" || this.expects === "firstKey") return token[0] === '"' && this.named(token);
    return this.expects !== "done" && token !== ":" && token !== "," && this.add(leafOrList(token));
  }

  ends(token, kind) {
    const fits = kind === "object" ? token === "}" : token === "]" && this.open.length > 1;
    if (!fits || !["next", "first", "firstKey"].includes(this.expects)) return false;
    this.open.pop();
    return this.now(this.open.length > 1 ? "next" : "done");
  }

  named(token) {
    this.key = JSON.parse(token);
    return this.now("colon");
  }

  add(node) {
    const list = this.open.at(-1);
    list.items.push({ key: list.kind === "object" ? this.key : list.items.length, node });
    if (node.items) this.open.push(node);
    if (node.items) return this.now(node.kind === "object" ? "firstKey" : "first");
    return this.now(this.open.length > 1 ? "next" : "done");
  }

  now(expects) {
    this.expects = expects;
    return true;
  }

  skipBlanks() {
    while (this.at < this.text.length && " \t\n\r".includes(this.text[this.at])) this.at++;
  }
}

function leafOrList(token) {
  if (token === "{") return { kind: "object", items: [] };
  if (token === "[") return { kind: "array", items: [] };
  if (token[0] === '"') return { kind: "string", text: token, value: JSON.parse(token) };
  if (token in JSON_WORDS) return { kind: "word", text: token, value: JSON_WORDS[token] };
  return { kind: "number", text: token, value: Number(token) };
}

const shortly = (token) => (token.length > 20 ? `${token.slice(0, 19)}…` : token);

// Blanks in place of the fences, so that lines and columns stay right.
function withoutFence(text) {
  const start = text.length - text.trimStart().length, end = text.trimEnd().length;
  const firstLine = text.indexOf("\n", start);
  if (!text.startsWith("```", start) || firstLine < 0 || !text.slice(0, end).endsWith("\n```")) return text;
  return " ".repeat(firstLine) + text.slice(firstLine, end - 3) + text.slice(end);
}

function placeIn(text, at) {
  const before = text.slice(0, at), lastBreak = before.lastIndexOf("\n");
  return { line: before.split("\n").length, column: at - lastBreak };
}
