// Keys of a panel. They never reach the notebook, where a letter inserts, merges or deletes cells.

import { h } from "./dom.js";

// In JupyterLab and Notebook: an element that carries this is left alone by their shortcuts. It stands on the host of
// the shadow root, since outside it every key seems to come from there.
export const SUPPRESS = "data-lm-suppress-shortcuts";

// The element of a panel that Escape goes to from all others; a view marks it.
export const HOME = "data-home";

// Keep what is typed inside from the notebook, but let "save" through; Escape that nobody took steps out.
export function guardKeys(host, shadow, signal) {
  host.setAttribute(SUPPRESS, "true");
  keepFocus(host, shadow, signal);
  shadow.addEventListener("keydown", event => {
    if (isSave(event)) {
      host.removeAttribute(SUPPRESS);
      setTimeout(() => host.setAttribute(SUPPRESS, "true"));
      return;
    }
    event.stopPropagation();
    if (event.key === "Escape" && !event.defaultPrevented) stepOut(shadow);
  }, { signal });
  for (const type of ["keyup", "keypress", "copy", "cut", "paste"]) {
    shadow.addEventListener(type, event => event.stopPropagation(), { signal });
  }
}

const isSave = event => (event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "s";

// From a control to the panel's home; from there to the cell, where letters act on cells.
export function stepOut(shadow) {
  if (goHome(shadow)) return;
  const cell = shadow.host.closest(".jp-Cell");
  if (cell) cell.focus(); else shadow.activeElement?.blur();
}

// Return whether the focus was elsewhere.
function goHome(shadow) {
  const home = [...shadow.querySelectorAll(`[${HOME}]`)].find(element => element.checkVisibility());
  if (!home || shadow.activeElement === home) return false;
  home.focus({ preventScroll: true });
  return true;
}

// JupyterLab makes a cell's output anew when it changes, as when a run has ended. A panel that had the focus then has it
// again: else its keys would go nowhere.
const REMOUNT_MS = 2_000;
let focused = null, lostAt = -Infinity;

function keepFocus(host, shadow, signal) {
  const isNowhere = () => [null, document.body].includes(document.activeElement);
  document.addEventListener("focusin", event => {
    if (event.target === host) focused = host; else if (focused === host) focused = null;
  }, { signal });
  signal?.addEventListener("abort", () => { if (focused === host && isNowhere()) lostAt = performance.now(); });
  queueMicrotask(() => { // when the view is drawn
    if (performance.now() - lostAt < REMOUNT_MS && isNowhere()) goHome(shadow);
    lostAt = -Infinity;
  });
}

export const isTyping = event => event.composedPath()[0]?.matches?.("input:not([type=checkbox]), textarea, select") ?? false;

// Bind keys on an element: [["j ArrowDown", "next row", handler], ...]; several keys are divided by blanks, the blank
// itself is written Space. Keys with Ctrl, Meta or Alt are the browser's, and typed text is the input's.
// "?" shows the sheet of keys; an entry without a text is not on it.
export function bindKeys(panel, element, entries) {
  const handlers = new Map();
  for (const [names, , handler] of entries) for (const name of names.split(" ")) handlers.set(name, handler);
  panel.sheets.push(entries);
  element.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event) || event.defaultPrevented) return;
    const name = event.key === " " ? "Space" : event.key;
    if (name === "?") { event.preventDefault(); showSheet(panel); return; }
    const handler = handlers.get(name);
    if (!handler || (isPressable(event) && (name === "Enter" || name === "Space"))) return;
    event.preventDefault();
    handler(event);
  }, { signal: panel.signal });
}

const isPressable = event => event.composedPath()[0]?.matches?.("button, summary, a, input") ?? false;

const LABELS = { ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" };

export function showSheet(panel) {
  const rows = panel.sheets.flat().filter(([, text]) => text).map(([names, text]) => h("tr", {},
    h("td", {}, names.split(" ").map(name => h("kbd", {}, LABELS[name] ?? name))), h("td", {}, text)));
  dialog(panel, "Keys", h("table.keys", {}, h("tbody", {}, rows)));
}

// Show something over the panel until Escape, a click on Close, or `close()`; the focus goes back to where it was.
export function dialog(panel, title, ...content) {
  panel.root.querySelector(":scope > .dialog")?.remove();
  const before = panel.root.getRootNode().activeElement;
  const close = () => { box.remove(); before?.focus(); };
  const box = h("div.dialog", { role: "dialog", "aria-label": title, tabIndex: -1 },
    h("div.dialog-head", {}, h("b", {}, title), h("button", { onclick: close, "aria-label": `Close ${title}` }, "Close")),
    ...content);
  box.addEventListener("keydown", event => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    close();
  });
  panel.root.append(box);
  (box.querySelector("input, textarea, select") ?? box).focus();
  return { element: box, close };
}
