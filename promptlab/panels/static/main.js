// Where the live panel meets the page: it mounts itself into the snapshot's place, wherever the page shows that.
// Before this module stand, when they are joined, the one that exports `view(panel)`, and the stylesheets as STYLES.
/* global view, STYLES */

import { h } from "./dom.js";
import { guardKeys } from "./keys.js";
import { connect, KernelError, Unreachable } from "./rpc.js";

const BUSY_MS = 600, HELLO_MS = 4_000;
const GONE = "kernel not reachable: showing what was loaded; run the cell again to go on";

// Called once a widget, when the browser hears of it, shown or not. What views share lives here, so that they agree.
function initialize({ model, signal }) {
  const ending = new AbortController();
  signal?.addEventListener("abort", () => ending.abort());
  shared = share(model, ending.signal);
  const name = `promptlab-${model.get("key")}`;
  const mounted = new Map(); // place -> the view's own AbortController
  const scan = () => {
    for (const [place, controller] of mounted) if (!place.isConnected) { controller.abort(); mounted.delete(place); }
    for (const place of document.getElementsByClassName(name)) if (!mounted.has(place)) mounted.set(place, mount(place));
  };
  let frame = 0;
  const observer = new MutationObserver(() => { frame ||= requestAnimationFrame(() => { frame = 0; scan(); }); });
  observer.observe(document.body, { childList: true, subtree: true });
  scan();
  ending.signal.addEventListener("abort", () => {
    observer.disconnect();
    cancelAnimationFrame(frame);
    for (const controller of mounted.values()) controller.abort();
  });
  return () => ending.abort();
}

let shared = null; // a widget has a module of its own, so this is the widget's

// Put the live panel in front of the snapshot; when it goes, the snapshot shows again.
function mount(place) {
  const controller = new AbortController();
  const snapshot = [...place.children];
  const host = document.createElement("div");
  for (const element of snapshot) element.hidden = true;
  place.append(host);
  controller.signal.addEventListener("abort", () => {
    host.remove();
    for (const element of snapshot) element.hidden = false;
  });
  show(host, controller.signal);
  return controller;
}

// The usual way of widgets: shown by `display(panel.widget)`, in a box, in VS Code or Colab.
function render({ model, el, signal }) {
  shared ??= share(model, signal);
  const controller = new AbortController();
  signal?.addEventListener("abort", () => controller.abort());
  const host = document.createElement("div");
  el.append(host);
  show(host, controller.signal);
  return () => controller.abort();
}

// What all views of one widget have in common.
function share(model, signal) {
  const { call, on } = connect(model, signal);
  const watchers = new Set();
  const tell = patch => { for (const watcher of [...watchers]) watcher(patch); };
  let isOwn = false;
  const listener = () => { if (!isOwn) tell(null); }; // another page changed it
  model.on("change:state", listener);
  signal?.addEventListener("abort", () => model.off("change:state", listener));
  return {
    model, call, on,
    get state() { return model.get("state"); },
    set(patch) {
      isOwn = true;
      try { model.set("state", { ...model.get("state"), ...patch }); } finally { isOwn = false; }
      model.save_changes();
      tell(patch);
    },
    watch(fn) { watchers.add(fn); return () => watchers.delete(fn); },
  };
}

function show(host, signal) {
  const shadow = host.attachShadow({ mode: "open" });
  const style = document.createElement("style");
  style.textContent = STYLES;
  const body = h("div.body");
  const status = h("div.status", { role: "status" });
  const label = shared.model.get("label");
  const root = h(`section.panel.${shared.model.get("view")}`, { role: "region", "aria-label": label }, body, status);
  shadow.append(style, root);
  guardKeys(host, shadow, signal);
  const panel = viewPanel({ root, body, status, signal });
  try {
    view(panel);
  } catch (error) { // ours to mend; the page goes on, and whoever sees it can say what it was
    console.error(error);
    panel.say(`this panel cannot be drawn: ${error.message}`, { isError: true });
  }
}

// The panel as its view sees it.
function viewPanel({ root, body, status, signal }) {
  let pending = 0, told = "";
  const paint = text => { if (status.textContent !== text) status.textContent = text; };
  const lose = () => { root.classList.add("lost"); told = GONE; paint(GONE); };
  const find = () => { if (root.classList.contains("lost")) { root.classList.remove("lost"); panel.say(""); } };
  const panel = {
    root, body, signal,
    sheets: [],
    first: shared.model.get("first"),
    get state() { return shared.state; },
    set: shared.set,
    say(text, { isError = false } = {}) { told = text; paint(text); status.classList.toggle("bad", isError); },
    watch(fn) { signal.addEventListener("abort", shared.watch(fn)); },
    on(fn) { signal.addEventListener("abort", shared.on(content => { find(); fn(content); })); },
    // Ask the kernel. A refusal is shown and thrown on; so is silence.
    async call(op, args = {}, options = {}) {
      pending += 1;
      const slow = setTimeout(() => { root.classList.add("busy"); paint("kernel is busy, waiting…"); }, BUSY_MS);
      try {
        const answer = await shared.call(op, args, options);
        find();
        return answer;
      } catch (error) {
        if (error instanceof KernelError) panel.say(error.message, { isError: true });
        else if (error instanceof Unreachable && !signal.aborted) lose();
        throw error;
      } finally {
        pending -= 1;
        clearTimeout(slow);
        if (pending === 0) { root.classList.remove("busy"); if (status.textContent === "kernel is busy, waiting…") paint(told); }
      }
    },
    // What `first` is now, or null when the kernel does not answer: then what travelled with the widget stays.
    async hello() {
      try {
        panel.first = await panel.call("hello", {}, { timeoutMs: HELLO_MS });
        return panel.first;
      } catch { return null; }
    },
  };
  return panel;
}

export default { initialize, render };
