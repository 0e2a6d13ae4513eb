// Past runs: one list of runs, in which one may be open and show its requests below it. Code is shown, never run.

import { copyText, count, counted, h, milliseconds, putText, statusText, UNKNOWN, usd } from "./dom.js";
import { grid } from "./grid.js";
import { HOME, bindKeys, dialog, stepOut } from "./keys.js";
import { debounce, newest } from "./rpc.js";

const RUN_PX = 46, FOUND_PX = 66, MAX_LIST_PX = 520, SEARCH_MS = 180, FIRST = 32;
const NARROW = { gutter: 50, when: 100, trials: 92, cost: 88, latency: 78, score: 92 };
const NARROW_PX = Object.values(NARROW).reduce((sum, width) => sum + width);
const FILTERS = { tag: "tag", model: "model", template: "prompt" };
const SHOWS = { active: "active", archived: "archived", all: "all runs" };
const MARKS = { ok: "✓", failed: "✕", stopped: "◼", running: "▶", todo: "○" };

export function view(panel) {
  const get = () => ({ wanted: panel.first.wanted, opened: null, selected: [], request: null, ...panel.state });
  const ask = newest((op, args) => panel.call(op, args));
  let undo = null, editing = null;

  // The bar: what is looked for

  const search = h("input.search", { type: "search", placeholder: "Search names, notes, prompts, outputs…  /",
    "aria-label": "Search names, notes, tags, prompts and outputs" });
  const menus = Object.fromEntries(Object.entries(FILTERS).map(([name, label]) => [name,
    h("select", { "aria-label": `Only runs with this ${label}`, onchange: () => want({ [name]: menus[name].value || null }) })]));
  const show = h("select", { "aria-label": "Which runs", onchange: () => want({ show: show.value }) },
    Object.entries(SHOWS).map(([value, label]) => h("option", { value }, label)));
  const totals = h("span.muted.push");
  const notes = h("div.muted.notes", { hidden: true });
  search.addEventListener("input", debounce(() => want({ text: search.value }), SEARCH_MS), { signal: panel.signal });
  search.addEventListener("keydown", event => {
    if (event.key === "Enter" || event.key === "ArrowDown") { event.preventDefault(); list.focus(); }
    if (event.key === "Escape") {
      event.preventDefault();
      if (search.value) { search.value = ""; want({ text: "" }); } else list.focus();
    }
  }, { signal: panel.signal });

  const want = patch => panel.set({ wanted: { ...get().wanted, ...patch }, opened: null });

  function drawBar({ choices, ...summary }) {
    const { wanted } = get();
    if (search.getRootNode().activeElement !== search) search.value = wanted.text;
    for (const [name, menu] of Object.entries(menus)) fillMenu(menu, FILTERS[name], choices[name], wanted[name]);
    show.value = wanted.show;
    const some = summary.runs === summary.every ? count(summary.runs) : `${count(summary.runs)} of ${count(summary.every)}`;
    const cost = summary.cost_usd === 0 ? "free" : usd(summary.cost_usd);
    totals.replaceChildren(`${some} run${summary.every === 1 ? "" : "s"} · ${counted(summary.trials, "trial")} · ${cost}`
      + (summary.unpriced ? ` + ${count(summary.unpriced)} without a price` : ""));
    empty.textContent = summary.every ? "No run is found; clear the search or a filter." : "The file holds no run yet; lab.run(...) makes one.";
    notes.hidden = !summary.notes.length;
    notes.replaceChildren();
    putText(notes, summary.notes.join("; "));
  }

  // The list

  let list = null;
  const wide = () => {
    const room = Math.max(760, list?.element.clientWidth || panel.body.clientWidth - 2 || 940) - NARROW_PX;
    return { run: Math.round(room * 0.62), note: Math.round(room * 0.38) };
  };
  const columns = () => {
    const { run, note } = wide(), { gutter, when, trials, cost, latency, score } = NARROW;
    return [gutter, run, when, trials, cost, latency, score, note].map(width => ({ width }));
  };
  const HEADS = ["", "run", "when (UTC)", "trials", "cost", "p50", "score", "note"];
  const RIGHT = new Set([3, 4, 5, 6]);

  let columnsNow = columns(), drawnPx = panel.first.wanted.text ? FOUND_PX : RUN_PX;

  const isEdited = (run, field) => editing?.id === run.id && editing.field === field;
  const here = () => list.row(list.cursor.row);
  const runHere = () => { const row = here(); return row && (row.kind === "run" ? row.id : row.run); };
  const targets = () => { const { selected } = get(); return selected.length ? selected : [runHere()].filter(Boolean); };

  list = grid(panel, {
    label: "Past runs",
    columns: columnsNow,
    count: panel.first.count,
    rows: panel.first.rows,
    rowHeight: drawnPx,
    drawHead: cells => cells.forEach((cell, place) => {
      cell.classList.toggle("number", RIGHT.has(place));
      cell.replaceChildren(HEADS[place] || h("span.visually-hidden", {}, "marked, open"));
    }),
    drawRow: (cells, row) => drawRow(cells, row),
    onMove: () => { drawActions(); followCursor(); },
    load: async (start, n) => {
      const { wanted, opened } = get();
      const answer = await panel.call("rows", { wanted, opened, start, n });
      if (answer.count !== list.count) refresh();
      return answer.rows;
    },
  });

  list.element.setAttribute(HOME, "");

  // A field that is being typed into stays what it is, also when its row is drawn again or made anew.
  function drawRow(cells, row) {
    const field = editing?.input, hadFocus = field && (!field.isConnected || isActive(field));
    drawCells(cells, row);
    if (hadFocus && field.isConnected) field.focus();
  }
  function drawCells(cells, row) {
    cells.forEach((cell, place) => {
      cell.hidden = false;
      cell.style.width = `${columnsNow[place].width}px`;
      cell.removeAttribute("aria-colspan");
      cell.classList.toggle("number", RIGHT.has(place));
      cell.replaceChildren();
    });
    cells[0].parentElement.classList.toggle("inside", row?.kind === "request");
    cells[0].parentElement.classList.toggle("marked", row?.kind === "run" && get().selected.includes(row.id));
    if (row) (row.kind === "run" ? drawRun : drawRequest)(cells, row);
  }

  function drawRun(cells, run) {
    const { selected, opened } = get(), isMarked = selected.includes(run.id), isOpen = opened === run.id;
    const [gutter, name, when, trials, cost, latency, score, note] = cells;
    gutter.append(
      h("span.tick", { title: "mark (Space)" }, h("span", { "aria-hidden": "true" }, isMarked ? "☑" : "☐"),
        isMarked && h("span.visually-hidden", {}, "marked")),
      h("span.twist", { title: "requests (Enter)" }, h("span", { "aria-hidden": "true" }, isOpen ? "▾" : "▸"),
        isOpen && h("span.visually-hidden", {}, "open")));
    const title = line("title", h("b.name", { title: `run ${run.id}` }, run.name),
      run.status !== "done" && h("span.chip.warn", {}, run.status), run.archived && h("span.chip", {}, "archived"));
    if (isEdited(run, "tags")) title.append(editing.input);
    else title.append(...run.tags.map(tag => h("span.chip.tag", {}, tag)));
    name.append(title, line("muted", [run.templates.join(", "), run.models.join(", "), run.grid].filter(Boolean).join(" · ")));
    if (run.matches) name.append(drawFound(run.matches));
    when.append(line("", run.created_at.slice(0, 10)), line("muted", run.created_at.slice(11, 16)));
    const [first, ...others] = ends(run);
    trials.append(line("", count(run.trials)), line(run.failed ? "bad" : "muted", first));
    trials.title = [first, ...others].join(", ");
    cost.append(line("", run.cost_usd === 0 ? "free" : usd(run.cost_usd)));
    latency.append(line("", milliseconds(run.latency_ms)));
    if (run.score !== null) {
      score.append(line("", run.score.toPrecision(3)), line("muted", run.scorer));
      score.title = run.best;
    }
    if (isEdited(run, "note")) note.append(editing.input); else note.append(h("div.clamp", { dir: "auto" }, run.note));
  }

  function drawFound({ outputs, prompts, hits }) {
    const [first] = hits;
    const where = [outputs && counted(outputs, "output"), prompts && counted(prompts, "prompt")].filter(Boolean).join(", ");
    return line("found", h("span.muted", {}, `${where}: `), ...(first?.parts ?? [])
      .map(([text, isMatch]) => h(isMatch ? "mark" : "span", {}, text.replace(/\s+/g, " "))));
  }

  function drawRequest(cells, row) {
    const [gutter, name, text, a, b, c, latency, rest] = cells;
    gutter.append(h(`span.${row.status === "ok" ? "good" : row.status === "failed" ? "bad" : "warn"}.state`,
      { title: statusText(row.status) }, h("span", { "aria-hidden": "true" }, MARKS[row.status] ?? "?"),
      h("span.visually-hidden", {}, statusText(row.status))));
    name.append(line("title", h("span.muted", {}, `${row.position} `), h("span", { dir: "auto" }, row.case)),
      line("muted", [row.template, row.setting, row.repeat ? `repeat ${row.repeat}` : ""].filter(Boolean).join(" · ")));
    for (const cell of [a, b, c]) cell.hidden = true;
    text.style.width = `${columnsNow.slice(2, 6).reduce((sum, { width }) => sum + width, 0)}px`;
    text.setAttribute("aria-colspan", 4);
    text.append(row.status === "ok" ? h("div.clamp", { dir: "auto" }, row.output === null ? h("i.muted", {}, "no text") : row.output)
      : h("div.clamp.bad", {}, row.error ?? statusText(row.status)));
    latency.append(line("", milliseconds(row.latency_ms)), line("muted", row.reused ? "reused" : ""));
    rest.append(line("muted", row.prompt_tokens === null ? "" : `${count(row.prompt_tokens)} + ${count(row.completion_tokens)} tokens`
      + (row.cost_usd ? ` · ${usd(row.cost_usd)}` : "")), line("muted", `request ${row.request_id}`
      + (row.finish_reason && row.finish_reason !== "stop" ? ` · ${row.finish_reason}` : "")));
  }

  const fit = () => { list.element.style.height = `${Math.min(MAX_LIST_PX, Math.max(2, list.count) * rowPx() + 34)}px`; };
  const rowPx = () => get().wanted.text ? FOUND_PX : RUN_PX;

  function fill({ count: rows, rows: some }, { keepScroll = false } = {}) {
    const changes = rowPx() === drawnPx ? {} : { rowHeight: drawnPx = rowPx() };
    empty.hidden = rows > 0;
    list.element.hidden = rows === 0;
    list.reset({ count: rows, rows: some, keepScroll, ...changes });
    fit();
    drawActions();
  }

  async function refresh({ keepScroll = true } = {}) {
    const { wanted, opened } = get();
    const answer = await ask("find", { wanted, opened }).catch(() => undefined);
    if (answer) { drawBar(answer); fill(answer, { keepScroll }); }
  }

  async function refill() {
    const { wanted, opened } = get();
    const answer = await ask("rows", { wanted, opened, start: 0, n: FIRST }).catch(() => undefined);
    if (answer) fill(answer, { keepScroll: true });
  }

  // Opening: a run shows its requests, a request its exchange

  function open() {
    const row = here();
    if (!row) return;
    if (row.kind === "request") panel.set({ request: row.trial_id });
    else if (get().opened !== row.id) panel.set({ opened: row.id });
    else list.move(list.cursor.row + 1);
  }

  function close() {
    if (get().request !== null) return panel.set({ request: null });
    const row = here(), { opened } = get();
    if (opened === null) return undefined;
    if (row?.kind === "request") list.move(list.cursor.row - row_place(row) - 1);
    return panel.set({ opened: null });
  }

  // How far below its run a request stands; the run is the last row of its kind above.
  function row_place(row) {
    let place = list.cursor.row;
    while (place > 0 && list.row(place)?.kind !== "run") place -= 1;
    return list.row(place)?.id === row.run ? list.cursor.row - place - 1 : 0;
  }

  const followCursor = debounce(() => {
    const row = here();
    if (get().request !== null && row?.kind === "request" && row.trial_id !== get().request) panel.set({ request: row.trial_id });
  }, 120);

  const drawer = h("div.drawer", { role: "region", hidden: true });
  async function drawDrawer() {
    const { request } = get();
    if (request === null) { drawer.hidden = true; drawer.replaceChildren(); return; }
    const found = await panel.call("request", { trial_id: request }).catch(() => null);
    if (!found || get().request !== request) return;
    drawer.setAttribute("aria-label", `Request ${found.id}`);
    drawer.replaceChildren(
      h("div.bar", {}, h("b", {}, `Request ${found.id}`), h("span.muted", {}, [`POST /${found.endpoint} · ${found.model}`, found.shown].filter(Boolean).join(" · ")),
        copyButton("Copy as curl", found.curl, "push"), copyButton("Copy code", found.code),
        h("button", { onclick: () => { panel.set({ request: null }); list.focus(); }, "aria-label": "Close the request" }, "Close")),
      h("div.panes", {}, pane("request", found.body), pane("response", found.response || "no reply was kept")),
      h("div.attempts", {}, h("table", {}, h("thead", {}, h("tr", {}, found.head.map(name => h("th", { scope: "col" }, name)))),
        h("tbody", {}, found.attempts.map(facts => h("tr", {}, facts.map(fact => h("td", {}, String(fact)))))))));
    const isNew = drawer.hidden;
    drawer.hidden = false;
    if (isNew) drawer.scrollIntoView({ block: "nearest" });
  }

  const pane = (name, text) => h("div.pane", {}, h("div.muted", {}, name),
    h("pre", { tabIndex: 0, role: "region", "aria-label": `${name}, as it was sent`.replace("response, as it was sent", "response, as it came") }, text));
  const copyButton = (label, text, kind = "") => h(`button${kind && `.${kind}`}`, { onclick: () => copy(text) }, label);
  async function copy(text) { await copyText(text, panel.root); panel.say("copied to the clipboard"); }

  // Code to copy

  const code = h("div.code", { hidden: true });
  async function showCode(what, { isCopied = false } = {}) {
    const ids = targets();
    if (!ids.length) return;
    const answer = await panel.call("code", { what, ids }).catch(() => null);
    if (!answer) return;
    code.hidden = false;
    code.replaceChildren(h("pre", { tabIndex: 0, role: "region", "aria-label": "Python to copy into a cell" }, answer.code),
      h("span", {}, copyButton("Copy", answer.code), h("button.quiet", { onclick: () => { code.hidden = true; list.focus(); },
        "aria-label": "Close the code" }, "✕")));
    if (isCopied) await copy(answer.code); else panel.say("copy this into a cell and run it there; nothing was run");
  }

  // What is written on runs

  // Changes take their turns, so that one is taken back only when it has been made.
  let turn = Promise.resolve();
  function change(op, args, back, said) {
    turn = turn.then(async () => {
      if (!await panel.call(op, args).catch(() => null)) return;
      undo = back;
      panel.say(undo ? `${said}; u takes it back` : said);
      panel.set({ changed: (get().changed ?? 0) + 1 });
    });
    return turn;
  }

  const plural = ids => ids.length === 1 ? "a run" : `${ids.length} runs`;

  async function archive() {
    const ids = targets(), row = here();
    const to = (get().wanted.show === "archived" || (!get().selected.length && row?.archived)) ? "active" : "archived";
    const back = () => change("archive", { ids, to: to === "active" ? "archived" : "active" }, null, "taken back");
    if (ids.length) {
      await change("archive", { ids, to }, back, to === "archived" ? `archived ${plural(ids)}` : `brought back ${plural(ids)}`);
      panel.set({ selected: [] });
    }
  }

  async function takeBack() {
    await turn;
    const back = undo;
    undo = null;
    if (back) back(); else panel.say("there is nothing to take back");
  }

  function setTags(run, tags) {
    const add = tags.filter(tag => !run.tags.includes(tag)), remove = run.tags.filter(tag => !tags.includes(tag));
    if (!add.length && !remove.length) return;
    change("tag", { ids: [run.id], add, remove }, () => change("tag", { ids: [run.id], add: remove, remove: add }, null, "taken back"),
      "tags are kept");
  }

  function setNote(run, text) {
    if (text === run.note) return;
    change("note", { run_id: run.id, text }, () => change("note", { run_id: run.id, text: run.note }, null, "taken back"), "the note is kept");
  }

  const splitTags = text => text.split(",").map(tag => tag.trim()).filter(Boolean);

  function edit(field) {
    if (field === "tags" && get().selected.length > 1) return tagMarked();
    const run = here();
    if (run?.kind !== "run") return undefined;
    const input = h("input.edit", { value: field === "tags" ? run.tags.join(", ") : run.note,
      "aria-label": field === "tags" ? `Tags of ${run.name}, divided by commas` : `Note on ${run.name}`,
      placeholder: field === "tags" ? "tags, divided by commas" : "a note" });
    let isDone = false;
    const finish = isKept => {
      if (isDone) return;
      isDone = true;
      editing = null;
      if (isKept) { if (field === "tags") setTags(run, splitTags(input.value)); else setNote(run, input.value); }
      list.refresh();
    };
    input.addEventListener("keydown", event => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      finish(event.key === "Enter");
      list.focus();
    });
    input.addEventListener("blur", () => setTimeout(() => { if (input.isConnected && !isActive(input)) finish(true); }));
    editing = { id: run.id, field, input };
    list.refresh();
    input.focus();
    return input.select();
  }

  function tagMarked() {
    const ids = get().selected;
    const input = h("input", { placeholder: "tags, divided by commas", "aria-label": `Tags for ${plural(ids)}` });
    const box = dialog(panel, `Tag ${plural(ids)}`, input);
    input.addEventListener("keydown", event => {
      if (event.key !== "Enter") return;
      const add = splitTags(input.value);
      box.close();
      if (add.length) change("tag", { ids, add }, null, `tagged ${plural(ids)}`);
    });
  }

  // The bar below: what can be done with the runs that are marked, or the one under the cursor

  const actions = h("div.bar.actions");
  const ACTIONS = [["c", "Compare", () => showCode("compare")], ["d", "Diff prompts", () => showCode("diff")],
    ["r", "Re-run as new", () => showCode("rerun")], ["y", "Copy load code", () => showCode("load", { isCopied: true })],
    ["t", "Tag", () => edit("tags")], ["n", "Note", () => edit("note")], ["a", "Archive", archive]];
  const marked = h("span.muted", {}, "");
  const buttons = ACTIONS.map(([key, label, act]) => h("button", { onclick: act, title: `key ${key}` },
    h("kbd", { "aria-hidden": "true" }, key), label));
  const undoButton = h("button", { onclick: takeBack }, h("kbd", { "aria-hidden": "true" }, "u"), "Undo");
  actions.append(marked, ...buttons, undoButton);

  function drawActions() {
    const { selected, wanted } = get(), none = !targets().length;
    marked.replaceChildren(selected.length ? `${selected.length} marked` : "");
    for (const button of buttons) button.disabled = none;
    buttons[5].disabled = none || here()?.kind !== "run";
    const isBack = wanted.show === "archived" || (!selected.length && here()?.archived);
    buttons[6].lastChild.textContent = isBack ? "Bring back" : "Archive";
    undoButton.hidden = !undo;
  }

  const toggle = () => {
    const id = runHere(), { selected } = get();
    if (id) panel.set({ selected: selected.includes(id) ? selected.filter(other => other !== id) : [...selected, id] });
  };

  list.element.addEventListener("click", event => {
    if (event.target.closest(".tick")) toggle();
    else if (event.target.closest(".twist")) { if (get().opened === runHere()) close(); else open(); }
  }, { signal: panel.signal });
  list.element.addEventListener("dblclick", event => {
    const cell = event.target.closest(".cell, .row-head"), row = here();
    if (!row || event.target.closest("input, .tick, .twist")) return;
    if (row.kind === "run" && cell && cell === cell.parentElement.lastElementChild) edit("note");
    else if (row.kind === "run" && get().opened === row.id) close();
    else open();
  }, { signal: panel.signal });

  bindKeys(panel, panel.body, [
    ["/", "search", () => { search.focus(); search.select(); }],
    ["Space", "mark the run", toggle],
    ["Enter ArrowRight l", "open a run, then a request", open],
    ["ArrowLeft h", "close it", close],
    ...list.keys.filter(([names]) => !/Arrow(Left|Right)/.test(names)),
    ["c", "code that compares the runs", () => showCode("compare")],
    ["d", "code that compares their prompts", () => showCode("diff")],
    ["r", "code that runs it again as new", () => showCode("rerun")],
    ["y", "copy the code that loads it", () => showCode("load", { isCopied: true })],
    ["t", "edit tags", () => edit("tags")],
    ["n", "edit the note", () => edit("note")],
    ["a", "archive, or bring back", archive],
    ["u", "take the last change back", takeBack],
    ["R", "read the file again", () => refresh()],
    ["Escape", "", () => {
      if (get().request !== null) { panel.set({ request: null }); list.focus(); }
      else if (!code.hidden) { code.hidden = true; list.focus(); }
      else stepOut(panel.root.getRootNode());
    }],
  ]);

  panel.watch(patch => {
    if (patch === null || "wanted" in patch) refresh({ keepScroll: false });
    else if ("changed" in patch) refresh();
    else if ("opened" in patch) refill();
    if (patch === null || "request" in patch) drawDrawer();
    if (patch === null || "selected" in patch) { list.refresh(); drawActions(); }
  });

  const empty = h("p.empty.muted", { hidden: true });
  panel.body.append(h("div.bar", {}, search, Object.values(menus), show, totals), notes, list.element, empty, actions, code, drawer);
  const sizes = new ResizeObserver(() => {
    const now = columns();
    if (now[1].width !== columnsNow[1].width) {
      columnsNow = now;
      list.reset({ columns: now, keepScroll: true });
    }
  });
  sizes.observe(list.element);
  panel.signal.addEventListener("abort", () => sizes.disconnect());
  drawBar(panel.first);
  fit();
  drawActions();
  const isFirst = get().opened === null && JSON.stringify(get().wanted) === JSON.stringify(panel.first.wanted);
  if (isFirst) panel.hello().then(first => { if (first) { drawBar(first); fill(first, { keepScroll: true }); } });
  else refresh();
  drawDrawer();
}

const isActive = element => element.getRootNode().activeElement === element;
const line = (kind, ...children) => h(kind ? `div.line.${kind}` : "div.line", {}, ...children);

// How its requests ended, what matters most first.
function ends(run) {
  if (run.trials === null) return [run.status];
  const left = run.trials - run.ok - run.failed;
  const parts = [run.failed && `${count(run.failed)} failed`, left && `${count(left)} not asked yet`,
    run.reused && `${count(run.reused)} reused`].filter(Boolean);
  return parts.length ? parts : ["all ok"];
}

function fillMenu(menu, label, values, chosen) {
  const all = chosen && !values.includes(chosen) ? [chosen, ...values] : values;
  menu.replaceChildren(h("option", { value: "" }, `any ${label}`), ...all.map(value => h("option", { value }, value)));
  menu.value = chosen ?? "";
  menu.disabled = !all.length;
}
