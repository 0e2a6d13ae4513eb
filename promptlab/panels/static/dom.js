// Elements and text. All text from outside becomes text nodes, never HTML; what hides or reorders text is drawn as a chip.

// C0 and C1 controls but tab and line feed; separators, bidirectional marks and overrides, zero-width and tag characters
const HIDDEN = new RegExp(
  "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069"
  + "\\ufeff\\ufff9-\\ufffb]|[\\u{e0000}-\\u{e007f}]|[\\ud800-\\udfff]", "gu");
const HIDDEN_NAMES = { 0x00: "NUL", 0x1b: "ESC", 0x0d: "CR", 0xad: "SHY", 0x200b: "ZWSP", 0x200c: "ZWNJ", 0x200d: "ZWJ",
  0x200e: "LRM", 0x200f: "RLM", 0x202a: "LRE", 0x202b: "RLE", 0x202c: "PDF", 0x202d: "LRO", 0x202e: "RLO",
  0x2066: "LRI", 0x2067: "RLI", 0x2068: "FSI", 0x2069: "PDI", 0xfeff: "BOM" };

// Make an element: h("button.primary", {title: "...", onclick: fn, "aria-label": "..."}, "text", child)
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") Object.assign(element.style, value);
    else if (["value", "checked", "disabled", "hidden", "selected", "dir", "tabIndex"].includes(key)) element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    if (child instanceof Node) element.append(child); else putText(element, String(child));
  }
  return element;
}

// Split text into [kind, text] pieces: "text" as it stands, "hidden" with the name of the character.
export function pieces(text) {
  const found = [];
  let last = 0;
  for (const match of text.matchAll(HIDDEN)) {
    const code = match[0].codePointAt(0);
    if (code === 0x0d && text[match.index + 1] === "\n") continue; // a Windows line end hides nothing
    if (code === 0x200d && isEmojiJoin(text, match.index)) continue;
    if (match.index > last) found.push(["text", text.slice(last, match.index)]);
    found.push(["hidden", HIDDEN_NAMES[code] ?? code.toString(16).toUpperCase().padStart(2, "0")]);
    last = match.index + match[0].length;
  }
  if (last < text.length) found.push(["text", text.slice(last)]);
  return found;
}

function isEmojiJoin(text, index) {
  return /\p{Extended_Pictographic}\ufe0f?\p{Emoji_Modifier}?$/u.test(text.slice(Math.max(0, index - 4), index))
    && /^\p{Extended_Pictographic}/u.test(text.slice(index + 1, index + 3));
}

// Append text; `marks` is a regular expression (flag g) whose matches are highlighted.
export function putText(element, text, { marks = null } = {}) {
  if (!marks) return appendPieces(element, text);
  let last = 0;
  for (const match of text.matchAll(marks)) {
    if (!match[0]) continue;
    appendPieces(element, text.slice(last, match.index));
    const mark = document.createElement("mark");
    appendPieces(mark, match[0]);
    element.append(mark);
    last = match.index + match[0].length;
  }
  appendPieces(element, text.slice(last));
}

function appendPieces(element, text) {
  for (const [kind, piece] of pieces(text)) {
    if (kind === "text") element.append(piece);
    else element.append(chip(piece));
  }
}

function chip(name) {
  const element = document.createElement("span");
  element.className = "hidden-character";
  element.title = `invisible or reordering character ${name}`;
  element.textContent = name;
  return element;
}

// A block of text from outside: its own direction, its own line breaks.
export function textBlock(text, options = {}) {
  const block = h("div.text", { dir: "auto" });
  putText(block, text, options);
  return block;
}

export async function copyText(text, root) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // no clipboard outside https and loopback
    const area = h("textarea", { value: text, "aria-hidden": "true", style: { position: "fixed", opacity: "0" } });
    root.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

// Figures as people read them; what is unknown is a dash, never 0.
export const UNKNOWN = "–";
export const count = value => value === null || value === undefined ? UNKNOWN : value.toLocaleString("en-US");
export const counted = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
export const percent = (value, digits = 0) => value === null || value === undefined ? UNKNOWN : `${(100 * value).toFixed(digits)} %`;

export function usd(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value === 0) return "$0";
  const digits = value >= 0.995 ? 2 : Math.min(8, 1 - Math.floor(Math.log10(Math.abs(value)) + 1e-9));
  return `$${value.toFixed(Math.max(2, digits))}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds), minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

export const milliseconds = value => duration(value === null || value === undefined ? null : value / 1000);

// How a trial ended, in the words of `run.frame()`; "todo" stands in a table, people read what it means.
export const statusText = status => status === "todo" ? "not asked yet" : status;
