// The monitor of a run: how it stands, and the way to pause, stop and go on. The kernel sends what changed, at most ten
// times a second; what is drawn stays where it is, so that figures can be read while they change.

import { copyText, count, counted, duration, h, milliseconds, percent, putText, statusText, UNKNOWN, usd } from "./dom.js";
import { HOME, bindKeys, dialog } from "./keys.js";
import { debounce, newest } from "./rpc.js";

const TELL_MS = 5_000; // how often a screen reader is told
const UNHEARD_MS = 1_500;
const ASK_AGAIN_MS = 5_000, SILENT_MS = 9_000;
const RUN_GLYPHS = { planned: "○", running: "●", paused: "❚❚", stopping: "◌", done: "✓", stopped: "■", failed: "✕" };
// letter -> name; the order is that of the counts of a heat cell
const TRIAL_NAMES = { o: "ok", c: "reused", r: "running", q: statusText("todo"), f: "failed", s: "stopped" };
const INTERRUPT = "The kernel's interrupt button stops it cleanly as well.";
const BACKGROUND = "It runs in the background; the kernel is free for other cells.";

export function view(panel) {
  let { number, status } = panel.first;
  const head = monitorHead(panel, { pause, stop, drop, retry, open: showExpression });
  const progress = monitorProgress();
  const facts = monitorFacts();
  const legend = monitorLegend();
  const errors = h("div.errors");
  const drawer = h("div.drawer", { role: "region", "aria-label": "one trial", hidden: true });
  const map = runMap(panel, panel.first.map, {
    onOpen: open,
    onMove: place => { if (!drawer.hidden && !map.isHeat) openSoon(place); },
  });
  const openSoon = debounce(open, 120);
  const latest = newestOutput();
  const note = h("div.note");
  const told = h("div.visually-hidden", { role: "status" });
  let toldAt = 0, toldWord = "", unheard = "", heardAt = Date.now();

  panel.body.tabIndex = -1; // a click anywhere makes the keys work
  panel.body.append(head.element, progress.element, note, facts.element, errors, legend.element, map.element,
    drawer, latest.element, told);
  bindKeys(panel, panel.root, [
    ["p", "pause, or go on", () => head.press("pause")],
    ["s", "stop: what is in flight is awaited", () => head.press("stop")],
    ["r", "ask again for what failed", () => head.press("retry")],
    ["o", "how to open the comparison matrix", showExpression],
  ]);
  panel.root.addEventListener("keydown", event => { // else Escape leaves the panel
    if (event.key === "Escape" && !event.defaultPrevented && (head.calm() || closeDrawer())) event.preventDefault();
  }, { signal: panel.signal });

  function draw() {
    head.draw(status, panel.first, isSilent());
    progress.draw(status);
    facts.draw(status);
    legend.draw(status);
    drawErrors(errors, status);
    latest.draw(status.latest);
    setText(note, noteOf());
    note.classList.toggle("warn", Boolean(unheard || isSilent() || status.waiting_for));
    tell();
  }

  function noteOf() {
    if (unheard) return unheard;
    if (isSilent()) return `No word from the kernel for ${seconds((Date.now() - heardAt) / 1000)}.`;
    if (status.is_over) return status.reason ?? "";
    if (status.waiting_for) {
      return `Nothing is sent for ${duration(status.waiting_s)}: it waits for ${status.waiting_for}.`;
    }
    if (!status.is_here) return "Another kernel executes this run; it is looked at once a second.";
    if (status.status === "paused") return `Paused: nothing new is sent, ${count(status.in_flight)} in flight.`;
    if (status.status === "stopping") return `Stopping: ${count(status.in_flight)} in flight are awaited and logged.`;
    return status.is_awaited ? INTERRUPT : BACKGROUND;
  }

  // A run that goes on is told of once a second at least; when its kernel is gone, nobody says so.
  const isSilent = () => !status.is_over && Date.now() - heardAt > SILENT_MS;
  const timer = setInterval(() => {
    if (document.hidden || status.is_over || Date.now() - heardAt < ASK_AGAIN_MS) return;
    draw();
    refresh();
  }, ASK_AGAIN_MS / 2);
  panel.signal.addEventListener("abort", () => clearInterval(timer));

  function tell() {
    const now = Date.now();
    if (status.status === toldWord && now - toldAt < TELL_MS) return;
    if (status.is_over && toldWord === status.status) return;
    [toldAt, toldWord] = [now, status.status];
    const failed = status.counts.failed ? `, ${count(status.counts.failed)} failed` : "";
    told.textContent = `${status.status}: ${count(status.ended)} of ${count(status.total)}${failed}`;
  }

  function take(message) {
    heardAt = Date.now();
    if (message.error) return panel.say(message.error, { isError: true });
    if (!message.map && message.number !== number + 1) return refresh(); // one was lost on the way
    ({ number, status } = message);
    if (message.map) { panel.first = message; map.reset(message.map); } else map.patch(message.changes);
    draw();
  }

  async function refresh() {
    const first = await panel.hello();
    if (first) take(first);
  }

  async function ask(op) {
    const timer = setTimeout(() => {
      unheard = `The kernel has not heard “${op}” yet, for a cell keeps it busy. ${status.is_awaited ? INTERRUPT : ""}`;
      draw();
    }, UNHEARD_MS);
    try { return await panel.call(op); } catch { return null; } finally { clearTimeout(timer); unheard = ""; draw(); }
  }

  function pause() { ask(status.status === "paused" ? "resume" : "pause"); }
  function stop() { ask("stop"); }
  function drop() { ask("drop"); }
  async function retry() {
    const first = await ask("retry");
    if (first) take(first);
  }

  function showExpression() {
    const { expression } = panel.first;
    codeDialog(panel, "Comparison matrix", "In a cell of the notebook:", `${expression}.compare()`);
  }

  const askNewest = newest((op, args) => panel.call(op, args));

  function open(place) { return map.isHeat ? openCell(place) : openTrial(place); }

  async function openTrial(position) {
    const trial = await askNewest("detail", { position }).catch(() => null);
    if (trial) fillDrawer(`Trial ${count(position)}`, trialParts(panel, trial));
  }

  async function openCell(cell) {
    const found = await askNewest("inside", { cell }).catch(() => null);
    if (!found) return;
    const buttons = found.trials.map(([position, letter]) => h("button.quiet", { onclick: () => openTrial(position) },
      h(`i.square.${letter}`), ` trial ${count(position)}, ${TRIAL_NAMES[letter]}`));
    fillDrawer(map.name(cell), [h("div.trials", {}, buttons)]);
  }

  function fillDrawer(title, parts) {
    drawer.replaceChildren(h("div.bar", {}, h("b", {}, title), h("span.push"),
      h("button", { onclick: closeDrawer, "aria-label": `Close ${title}` }, "Close")), ...parts.filter(Boolean));
    drawer.setAttribute("aria-label", title);
    drawer.hidden = false;
  }

  function closeDrawer() {
    if (drawer.hidden) return false;
    if (drawer.contains(panel.root.getRootNode().activeElement)) map.element.focus({ preventScroll: true });
    drawer.hidden = true;
    return true;
  }

  panel.on(take);
  draw();
  refresh();
}

function setText(element, text) {
  if (element.dataset.text === text) return;
  element.dataset.text = text;
  element.replaceChildren();
  putText(element, text);
}

// Name, state, and what can be done. A stop asks once, in place.
function monitorHead(panel, act) {
  const name = h("b.run-name");
  const state = h("span.state");
  const button = (key, op, title) => h("button", { onclick: () => press(op), title }, h("kbd", {}, key), h("span"));
  const buttons = {
    pause: button("p", "pause", "nothing new is sent; what is in flight is awaited"),
    stop: button("s", "stop", "what is in flight is awaited and logged"),
    retry: button("r", "retry", ""),
    open: button("o", "open", "how to compare the outputs side by side"),
  };
  const question = h("span.question", { role: "group", hidden: true });
  const normal = h("span.buttons");
  const element = h("div.bar.head", {}, name, state, h("span.push"), question, normal);
  let asked = null, status = null;

  const label = (which, text) => setText(buttons[which].lastChild, text);

  function ask(text, yes, run) {
    asked = run;
    question.replaceChildren(h("span", {}, text), " ", h("button.primary", { onclick: answer }, yes), " ",
      h("button", { onclick: calm }, "No"));
    question.setAttribute("aria-label", text);
    question.hidden = false;
    normal.hidden = true;
    question.querySelector("button").focus();
  }

  function answer() {
    const run = asked;
    calm();
    run?.();
  }

  function calm() {
    const had = question.contains(panel.root.getRootNode().activeElement);
    asked = null;
    question.hidden = true;
    normal.hidden = false;
    if (had) panel.body.focus({ preventScroll: true });
    return had;
  }

  function press(op) {
    if (op === "stop" && asked) return answer();
    if (buttons[op].disabled || !buttons[op].isConnected) return;
    if (op !== "stop") return act[op]();
    const flying = status.in_flight;
    if (status.status === "stopping") {
      ask(`Drop ${count(flying)} in flight? They may be billed.`, "Drop them", act.drop);
    } else {
      ask(flying ? `Stop, and let ${count(flying)} in flight finish?` : "Stop the run?", "Stop", act.stop);
    }
  }

  function offer(names) {
    const shown = names.map(each => buttons[each]);
    if (shown.length === normal.children.length && shown.every((each, at) => each === normal.children[at])) return;
    const hadFocus = normal.contains(panel.root.getRootNode().activeElement);
    normal.replaceChildren(...shown);
    if (hadFocus) panel.body.focus({ preventScroll: true });
  }

  function draw(now, first, isSilent) {
    status = now;
    setText(name, `Run ${now.id} · ${now.name}`);
    setText(state, isSilent ? `? last seen ${now.status}` : `${RUN_GLYPHS[now.status] ?? "●"} ${now.status}`);
    state.className = isSilent ? "state" : `state ${now.status}`;
    const goes = now.is_here && !now.is_over;
    const missing = now.counts.failed + now.counts.stopped + now.counts.todo;
    offer(goes ? ["pause", "stop", "open"] : now.is_over && missing ? ["retry", "open"] : ["open"]);
    buttons.pause.disabled = now.status === "stopping";
    label("pause", now.status === "paused" ? "Resume" : "Pause");
    label("stop", now.status === "stopping" ? "Drop" : "Stop");
    buttons.retry.disabled = !first.can_retry;
    buttons.retry.title = first.can_retry ? "runs the same plan again, and asks for what has no answer"
      : "this run was loaded from the file; run its plan again: lab.run(plan, retry_failed=True)";
    label("retry", now.counts.todo ? `Ask the other ${count(missing)}` : `Retry ${count(missing)} failed`);
    label("open", "Open matrix");
    if (!goes && asked) calm();
  }

  return { element, press, calm, draw };
}

function monitorProgress() {
  const parts = ["ok", "reused", "failed", "running"].map(kind => h(`span.${kind}`));
  const element = h("div.progress", { role: "progressbar", "aria-label": "progress", "aria-valuemin": 0 }, parts);
  function draw(status) {
    const { counts, total, reused } = status;
    const widths = [counts.ok - reused, reused, counts.failed + counts.stopped, counts.running];
    parts.forEach((part, place) => { part.style.width = `${total ? 100 * widths[place] / total : 0}%`; });
    element.setAttribute("aria-valuemax", total);
    element.setAttribute("aria-valuenow", status.ended);
    const share = percent(total ? status.ended / total : 0);
    element.setAttribute("aria-valuetext", `${count(status.ended)} of ${count(total)}, ${share}`);
    element.classList.toggle("over", status.is_over);
  }
  return { element, draw };
}

// The figures: each has its place, a name above and a second line below.
function monitorFacts() {
  const fact = name => {
    const value = h("div.value"), second = h("div.second");
    return { value, second, element: h("div.fact", {}, h("div.muted", {}, name), value, second) };
  };
  const done = fact("ended"), rate = fact("rate"), spent = fact("spent"), tokens = fact("tokens");
  const flying = fact("in flight"), latency = fact("latency");
  const spark = h("span.spark", { "aria-hidden": "true" });
  latency.value.append(h("span"), spark);
  const cap = h("div.cap", { hidden: true }, h("span.spent"), h("span.held"));
  spent.element.append(cap);
  const element = h("div.facts", {}, [done, rate, spent, tokens, flying, latency].map(each => each.element));

  function draw(status) {
    setText(done.value, `${count(status.ended)} / ${count(status.total)}`);
    const share = percent(status.total ? Math.floor(100 * status.ended / status.total) / 100 : 0);
    setText(done.second, status.reused ? `${share} · ${count(status.reused)} reused` : share);
    setText(rate.value, status.rate_per_s === null ? UNKNOWN : `${perSecond(status.rate_per_s)}/s`);
    setText(rate.second, rateNote(status));
    drawMoney(status);
    setText(tokens.value, `${short(status.prompt_tokens)} in`);
    setText(tokens.second, `${short(status.completion_tokens)} out`);
    setText(flying.value, status.concurrency === null ? count(status.in_flight)
      : `${count(status.in_flight)} / ${count(status.concurrency)}`);
    setText(flying.second,
      status.unknown ? `${count(status.unknown)} without a known end` : `${counted(status.attempts, "attempt")} ended`);
    setText(latency.value.firstChild, status.latency.n ? milliseconds(status.latency.p50_ms) : UNKNOWN);
    setText(latency.second, status.latency.n ? `95 % within ${milliseconds(status.latency.p95_ms)}` : "");
    drawSpark(spark, status.latency);
  }

  function drawMoney(status) {
    const isFree = status.cost_usd === 0 && status.cap_usd === null && status.attempts > 0;
    setText(spent.value, isFree ? "free" : status.cost_usd === null ? "unknown" : usd(status.cost_usd));
    cap.hidden = status.cap_usd === null;
    if (cap.hidden) {
      setText(spent.second, status.unpriced && !isFree ? `${count(status.unpriced)} without a price` : "");
      return;
    }
    const held = status.reserved_usd ? `, ${usd(status.reserved_usd)} held` : "";
    setText(spent.second, `of ${usd(status.cap_usd)}${held}`);
    cap.children[0].style.width = `${100 * Math.min(1, status.capped_usd / status.cap_usd)}%`;
    cap.children[1].style.width = `${100 * Math.min(1, (status.reserved_usd ?? 0) / status.cap_usd)}%`;
  }
  return { element, draw };
}

function rateNote(status) {
  if (status.is_over) return status.elapsed_s === null ? "" : `took ${duration(status.elapsed_s)}`;
  if (status.eta_s !== null) return `about ${seconds(status.eta_s)} left`;
  return status.elapsed_s === null ? "" : `${seconds(status.elapsed_s)} so far`;
}

const seconds = value => value < 59.5 ? `${Math.ceil(value)} s` : duration(value);

const perSecond = value => value >= 9.95 ? count(Math.round(value)) : value.toFixed(1);

function short(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value < 10_000) return count(value);
  return value < 999_500 ? `${(value / 1000).toFixed(value < 99_950 ? 1 : 0)}k` : `${(value / 1e6).toFixed(2)}M`;
}

function drawSpark(element, { histogram, from_ms: from, to_ms: to }) {
  const most = Math.max(1, ...histogram);
  while (element.children.length > histogram.length) element.lastChild.remove();
  histogram.forEach((number, place) => {
    const bar = element.children[place] ?? element.appendChild(h("i"));
    bar.style.height = number ? `${Math.max(8, 100 * number / most)}%` : "0";
  });
  element.title = histogram.length ? `from ${milliseconds(from)} to ${milliseconds(to)}, on a logarithmic scale` : "";
}

function drawErrors(element, status) {
  const key = JSON.stringify([status.errors, status.not_asked]);
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  const lines = status.errors.map(each => {
    const fates = [["answered later", each.passed], ["failed", each.failed], ["waiting", each.open]]
      .filter(([, number]) => number).map(([fate, number]) => `${count(number)} ${fate}`).join(", ");
    return [each.type, each.attempts, fates, each.message, each.failed > 0];
  });
  for (const each of status.not_asked) lines.push(["stopped", each.trials, "", each.reason ?? "", true]);
  element.replaceChildren(...lines.map(([type, times, fates, message, isBad]) => h("div.error-line", {},
    h(isBad ? "span.bad" : "span.warn", {}, isBad ? "✕" : "↻"), h("b", { dir: "auto" }, type),
    h("span.number", {}, `×${count(times)}`), h("span", {}, fates),
    h("span.muted.message", { dir: "auto", title: message }, message))));
}

// What the squares mean, and how many there are of each.
function monitorLegend() {
  const numbers = {};
  const entries = Object.entries(TRIAL_NAMES).map(([letter, name]) => {
    numbers[letter] = h("span.number");
    return h("span.legend-entry", {}, h(`i.square.${letter}`), numbers[letter], ` ${name}`);
  });
  const element = h("div.legend", {}, entries);
  function draw({ counts, reused }) {
    const { ok, running, todo, failed, stopped } = counts;
    const shown = { o: ok - reused, c: reused, r: running, q: todo, f: failed, s: stopped };
    for (const [letter, number] of Object.entries(shown)) {
      setText(numbers[letter], count(number));
      numbers[letter].parentElement.classList.toggle("none", !number);
    }
  }
  return { element, draw };
}

function newestOutput() {
  const where = h("span.muted"), figures = h("span.muted.number"), text = h("div.newest-text", { dir: "auto" });
  const element = h("div.newest", { hidden: true }, h("div.newest-head", {}, where, figures), text);
  function draw(latest) {
    element.hidden = !latest;
    if (!latest) return;
    setText(where, ["newest", latest.where, latest.case].filter(Boolean).join(" · "));
    setText(figures, [milliseconds(latest.latency_ms), counted(latest.completion_tokens, "token")].join(" · "));
    setText(text, latest.text ?? "(no text)");
  }
  return { element, draw };
}

let runMaps = 0;

// A square a trial, or where there are too many a cell a row and column. One element has the focus.
function runMap(panel, board, { onOpen, onMove }) {
  const id = `m${++runMaps}`;
  const element = h("div.map", { role: "grid", "aria-label": "trials", tabIndex: 0, [HOME]: true });
  let places = new Map(); // position, or number of the heat cell -> its element
  let order = [], here = 0, shape = "";

  function reset(next) {
    board = next;
    const now = JSON.stringify([board.kind, board.rows, board.columns, board.cells.map(row => row.map(size))]);
    if (now === shape) return update();
    shape = now;
    places = new Map();
    const isPlain = board.columns.length === 1 && !board.columns[0];
    const heads = isPlain ? [] : [h("div.map-row", { role: "row" },
      h("div", { role: "columnheader" }, h("span.visually-hidden", {}, "setting")),
      board.columns.map(label => h("div.column-name", { role: "columnheader", title: label }, label)))];
    element.replaceChildren(...heads, ...board.rows.map((label, row) => h("div.map-row", { role: "row" },
      h("div.row-name", { role: "rowheader", title: label }, label),
      board.cells[row].map((place, column) => drawPlace(place, row, column)))));
    element.classList.toggle("heat-map", isHeat());
    element.style.setProperty("--columns", board.columns.length);
    order = [...places.keys()];
    here = Math.min(here, Math.max(0, order.length - 1));
    mark();
  }

  const isHeat = () => board.kind === "heat";
  const size = place => place === null ? 0 : isHeat() ? 1 : place[1].length;

  function drawPlace(place, row, column) {
    if (place === null) return h("div.place", { role: "gridcell" });
    if (isHeat()) {
      const cell = row * board.columns.length + column;
      const box = h("div.place.heat", { role: "gridcell", id: `${id}-${cell}` },
        h("div.heat-bar", {}, ["o", "c", "f", "s", "r"].map(letter => h(`span.${letter}`))), h("span.heat-text"));
      places.set(cell, box);
      paintHeat(box, place);
      return box;
    }
    const [start, letters] = place;
    return h("div.place", { role: "none" }, [...letters].map((letter, offset) => {
      const square = h(`i.square.${letter}`, { role: "gridcell", id: `${id}-${start + offset}` });
      square.letter = letter;
      places.set(start + offset, square);
      return square;
    }));
  }

  function paint(square, letter) {
    if (square.letter === letter) return;
    square.letter = letter;
    square.className = `square ${letter}${square.classList.contains("current") ? " current" : ""}`;
  }

  function paintHeat(box, counts) {
    const [ok, reused, running, , failed, stopped] = counts;
    const total = counts.reduce((sum, number) => sum + number, 0);
    const widths = { o: ok, c: reused, f: failed, s: stopped, r: running };
    for (const span of box.firstChild.children) {
      span.style.width = `${100 * widths[span.className] / Math.max(1, total)}%`;
    }
    const bad = failed + stopped;
    setText(box.lastChild, `${count(ok + reused)}/${count(total)}${bad ? ` ✕${count(bad)}` : ""}`);
    box.counts = counts;
  }

  function update() {
    board.cells.flat().forEach((place, cell) => {
      if (place === null) return;
      if (isHeat()) return paintHeat(places.get(cell), place);
      [...place[1]].forEach((letter, offset) => paint(places.get(place[0] + offset), letter));
    });
    mark();
  }

  function patch(changes) {
    for (const [place, value] of changes) {
      const found = places.get(place);
      if (found) (isHeat() ? paintHeat : paint)(found, value);
    }
    if (changes.some(([place]) => place === order[here])) mark();
  }

  function name(place) {
    const found = places.get(place);
    const row = found.closest(".map-row"), cell = found.closest(".place");
    const column = [...row.children].indexOf(cell) - 1;
    const where = [row.firstChild.title, board.columns[column]].filter(Boolean).join(", ");
    if (isHeat()) {
      const kinds = Object.values(TRIAL_NAMES).map((kind, at) => [found.counts[at], kind]).filter(([number]) => number);
      return `${where}: ${kinds.map(([number, kind]) => `${count(number)} ${kind}`).join(", ")}`;
    }
    return `${where}, trial ${count(place)}: ${TRIAL_NAMES[found.letter]}`;
  }

  // Say which square is meant.
  function mark() {
    element.querySelector(".current")?.classList.remove("current");
    const found = places.get(order[here]);
    if (!found) return element.removeAttribute("aria-activedescendant");
    found.classList.add("current");
    found.setAttribute("aria-label", name(order[here]));
    found.title = name(order[here]);
    element.setAttribute("aria-activedescendant", found.id);
  }

  function move(to) {
    here = Math.max(0, Math.min(order.length - 1, to));
    mark();
    places.get(order[here])?.scrollIntoView({ block: "nearest", inline: "nearest" });
    onMove(order[here]);
  }

  // The square that lies next in a direction, wherever its line of squares ends.
  function vertical(sign) {
    const from = places.get(order[here])?.getBoundingClientRect();
    if (!from) return;
    let best = null;
    order.forEach((place, at) => {
      const box = places.get(place).getBoundingClientRect();
      const down = sign * (box.top - from.top);
      if (down < 4) return;
      const far = 10_000 * Math.round(down / 4) + Math.abs(box.left - from.left); // the nearest line, there the nearest
      if (!best || far < best.far) best = { at, far };
    });
    if (best) move(best.at);
  }

  bindKeys(panel, element, [
    ["ArrowRight", "next trial", () => move(here + 1)],
    ["ArrowLeft", "previous trial", () => move(here - 1)],
    ["ArrowDown", "the line below", () => vertical(1)],
    ["ArrowUp", "the line above", () => vertical(-1)],
    ["Home", "first trial", () => move(0)],
    ["End", "last trial", () => move(order.length - 1)],
    ["Enter", "request and response", () => order.length && onOpen(order[here])],
  ]);
  element.addEventListener("click", event => {
    const found = event.target.closest("[id]");
    const at = found === element ? -1 : order.indexOf(Number(found?.id.split("-")[1]));
    if (at < 0) return;
    here = at;
    mark();
    element.focus({ preventScroll: true });
    onOpen(order[here]);
  }, { signal: panel.signal });
  element.addEventListener("mouseover", event => {
    const found = event.target.closest(".square, .heat");
    if (found) found.title = name(Number(found.id.split("-")[1]));
  }, { signal: panel.signal });

  reset(board);
  return { element, reset, patch, name, get isHeat() { return isHeat(); } };
}

// One trial: its request as it is sent, and what came back, as text.
function trialParts(panel, trial) {
  const { attempts } = trial;
  const values = Object.entries(trial.case).map(([name, value]) => h("div.text", { dir: "auto" }, `${name}: ${value}`));
  const rows = attempts.map(attempt => h("div.attempt", {},
    h("div.muted", {}, attemptLine(attempt)),
    attempt.error ? h("div.bad.text", { dir: "auto" }, attempt.error) : null,
    attempt.response ? rawText(attempt.response) : null));
  return [
    h("div.muted", { dir: "auto" },
      [trial.where, trial.repeat ? `repeat ${trial.repeat}` : "", statusText(trial.status)].filter(Boolean).join(" · ")),
    h("div.case", {}, values),
    trial.reason && !attempts.length ? h("div.bad.text", { dir: "auto" }, trial.reason) : null,
    h("div.sides", {}, h("div", {}, h("h4", {}, "request"), rawText(trial.body)),
      h("div", {}, h("h4", {}, attempts.length > 1 ? `${attempts.length} attempts` : "response"),
        rows.length ? rows : h("div.muted", {}, "not sent yet"))),
    h("div.bar", {}, h("code", {}, trial.expression),
      h("button", { onclick: () => copyText(trial.expression, panel.root) }, "Copy")),
  ];
}

function attemptLine(attempt) {
  const tokens = attempt.prompt_tokens === null ? null
    : `${count(attempt.prompt_tokens)} + ${count(attempt.completion_tokens)} tokens`;
  return [attempt.state, attempt.http_status && `HTTP ${attempt.http_status}`, attempt.sent_at,
    attempt.latency_ms === null ? null : milliseconds(attempt.latency_ms), tokens,
    attempt.cost_usd ? usd(attempt.cost_usd) : null].filter(Boolean).join(" · ");
}

function rawText({ text, is_cut: isCut }) {
  const block = h("pre", { dir: "auto", tabIndex: 0 });
  putText(block, text);
  return h("div.raw", {}, block, isCut ? h("div.muted", {}, "… cut here; the expression below has all of it") : null);
}

function codeDialog(panel, title, text, code) {
  dialog(panel, title, h("div", {}, text), h("div.bar", {}, h("code", {}, code),
    h("button.primary", { onclick: () => copyText(code, panel.root) }, "Copy")));
}
