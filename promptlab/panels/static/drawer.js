// The details of one cell: its whole text, what it differs in, what exactly was asked and answered, and what people say.

import { copyText, count, h, milliseconds, percent, putText, usd } from "./dom.js";
import { debounce, newest } from "./rpc.js";
import { jsonDiff, lineDiff, shareChanged, wordDiff } from "./diff.js";
import { jsonView, markdownNodes, putDiff, putTokens, tokenTitle } from "./draw.js";
import { jsonText, jsonTree } from "./jsonview.js";
import { markdown } from "./markdown.js";
import { tokenList } from "./tokens.js";
import { jsonChange, inSeconds, shownValue } from "./matrixcells.js";

const TABS = [
  ["output", "Output", outputTab], ["diff", "Difference", differenceTab], ["request", "Request", requestTab],
  ["response", "Response", responseTab], ["tokens", "Tokens", tokensTab], ["usage", "Usage", usageTab],
  ["attempts", "Attempts", attemptsTab], ["curl", "curl", curlTab],
];
const FOLLOW_MS = 120;
let drawers = 0;

export function matrixDrawer(view) {
  const { panel } = view, id = `drawer${++drawers}`, ask = newest((...args) => panel.call(...args));
  let detail = null;
  const title = h("b.drawer-title"), page = h("div.drawer-page", { role: "tabpanel", tabIndex: 0, id: `${id}-page` });
  const tabs = TABS.map(([name, text]) => h("button.quiet", { role: "tab", id: `${id}-${name}`, "aria-controls": `${id}-page`, onclick: () => view.look({ tab: name }) }, text));
  const strip = h("div.tabs", { role: "tablist", "aria-label": "Details" }, tabs);
  const opinion = opinionBar(view);
  const element = h("section.drawer", { "aria-label": "Details of the cell", hidden: true },
    h("div.drawer-head", {}, title,
      h("button.quiet", { "aria-label": "Previous column (h)", onclick: () => turn(-1) }, "◀"),
      h("button.quiet", { "aria-label": "Next column (l)", onclick: () => turn(1) }, "▶"),
      h("button.quiet", { "aria-label": "Close details", onclick: () => close() }, "✕")),
    strip, page, opinion.element);

  const turn = by => view.table.move(view.table.cursor.row, view.table.cursor.column + by);
  const close = () => { view.look({ isOpen: false }); view.table.focus(); };
  const load = async () => {
    const here = view.current();
    if (!view.ui.isOpen || !here) return;
    const variant = view.variantPlace(here.row, here.column) ? here.cell.variant : undefined;
    if (!here.cell) { detail = null; draw(); return; }
    try {
      const answer = await ask("detail", { row: here.row.index, column: here.column, ...(variant === undefined ? {} : { variant }) });
      if (answer) { detail = { ...answer, place: here }; draw(); }
    } catch { /* the panel has said why */ }
  };
  const loadSoon = debounce(load, FOLLOW_MS);
  const draw = () => {
    const { tab } = view.ui, [, , build] = TABS.find(([name]) => name === tab) ?? TABS[0];
    TABS.forEach(([name], place) => {
      tabs[place].setAttribute("aria-selected", String(name === tab));
      tabs[place].tabIndex = name === tab ? 0 : -1;
      if (name === tab) page.setAttribute("aria-labelledby", tabs[place].id);
    });
    title.replaceChildren();
    page.replaceChildren();
    page.scrollTop = 0;
    if (!detail) { page.append(h("div.muted", {}, "Nothing was planned here.")); return; }
    putText(title, titleOf(view, detail));
    page.append(...[build(view, detail)].flat().filter(Boolean));
    opinion.draw(detail);
  };
  const arrows = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const next = (TABS.findIndex(([name]) => name === view.ui.tab) + by + TABS.length) % TABS.length;
    view.look({ tab: TABS[next][0] });
    tabs[next].focus();
  };
  strip.addEventListener("keydown", arrows, { signal: panel.signal });
  page.addEventListener("keydown", event => { if (SCROLLING.has(event.key) && !event.ctrlKey) event.stopPropagation(); }, { signal: panel.signal });
  panel.sheets.push([["Escape", "close the details, then back to the notebook"]]);
  panel.body.addEventListener("keydown", event => {
    if (event.key !== "Escape" || event.defaultPrevented || !view.ui.isOpen) return;
    event.preventDefault();
    close();
  }, { signal: panel.signal });

  return {
    element,
    open() {
      if (!view.ui.isOpen) view.look({ isOpen: true });
      else page.focus();
    },
    follow() { if (view.ui.isOpen) loadSoon(); },
    rowsCame() { if (view.ui.isOpen && detail?.version !== view.state.version) loadSoon(); },
    judged(output, fields) {
      if (detail?.cell.output_id !== output) return;
      detail.cell = { ...detail.cell, ...fields };
      opinion.draw(detail);
    },
    writeNote() {
      view.look({ isOpen: true });
      opinion.note.focus();
    },
    update() {
      const wasOpen = !element.hidden;
      element.hidden = !view.ui.isOpen;
      if (view.ui.isOpen && !wasOpen) requestAnimationFrame(() => view.table.move(view.table.cursor.row));
      if (view.ui.isOpen && (!wasOpen || detail?.version !== view.state.version)) load();
      else if (view.ui.isOpen) draw();
    },
  };
}

const SCROLLING = new Set(["ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End", " "]);

function titleOf(view, { place, column, cell }) {
  const names = [...place.row.labels, ...column].map(value => shownValue(value).replace(/\s+/g, " ").slice(0, 60));
  return `${names.join(" × ")}${cell.trials > 1 ? ` #${cell.repeat + 1}` : ""}`;
}

// What people say: rating, pin, note; others' below.
function opinionBar(view) {
  const rate = (value, scale, text, label) => h("button", { "aria-label": label, title: label, onclick: () => view.rate(value, scale) }, text);
  const thumbs = [[1, "▲", "Good (+)"], [-1, "▼", "Bad (−)"]].map(([value, text, label]) => ({ value, scale: "thumbs", button: rate(value, "thumbs", text, label) }));
  const stars = [1, 2, 3, 4, 5].map(value => ({ value, scale: "stars", button: rate(value, "stars", "★", `${value} of 5 stars (${value})`) }));
  const clear = h("button.quiet", { onclick: () => view.rate(null, "thumbs") }, "Clear");
  const pin = h("button", { onclick: () => view.pin(), title: "Pin (p)" }, "◆ Pin");
  const note = h("textarea", { rows: 1, placeholder: "note  n", "aria-label": "Note", onchange: () => view.note(note.value.trim()) });
  note.addEventListener("keydown", event => {
    if (event.key !== "Escape" && !(event.key === "Enter" && !event.shiftKey)) return;
    event.preventDefault();
    view.note(note.value.trim());
    view.table.focus();
  });
  const others = h("div.others.muted");
  const element = h("div.opinion", {}, h("span.segments", { role: "group", "aria-label": "Rating" }, thumbs.map(one => one.button)),
    h("span.segments.stars", { role: "group", "aria-label": "Stars" }, stars.map(one => one.button)), clear, pin, note, others);
  return {
    element, note,
    draw({ cell, ratings, notes }) {
      for (const { value, scale, button } of [...thumbs, ...stars]) {
        const isOn = cell.scale === scale && (scale === "stars" ? value <= cell.rating : value === cell.rating);
        button.setAttribute("aria-pressed", String(isOn));
      }
      pin.setAttribute("aria-pressed", String(cell.pinned));
      for (const control of [...thumbs.map(one => one.button), ...stars.map(one => one.button), clear, pin, note]) control.disabled = !cell.output_id || Boolean(view.state.read_only);
      if (note.getRootNode().activeElement !== note) note.value = cell.note ?? "";
      const said = [...ratings.filter(one => one.rater !== view.state.rater).map(one => `${one.rater} ${one.scale === "stars" ? "★" : ""}${one.value ?? "none"}`),
        ...notes.slice(1).map(one => `${one.rater}: ${one.text}`)];
      others.textContent = said.join("  ·  ");
    },
  };
}

// The tabs

function outputTab(view, { cell, scores, row, baseline }) {
  const block = h("div.reading", { dir: "auto" });
  if (cell.status !== "ok" || cell.text === null) putText(block, cell.reason ?? cell.status);
  else if (view.ui.mode === "md") { block.classList.add("markdown"); block.append(...markdownNodes(markdown(cell.text, 400), view.marks)); }
  else if (view.ui.mode === "json" && jsonTree(cell.text).root) return [jsonView(jsonTree(cell.text).root, "Output", view.marks), scoreTable(scores)];
  else putText(block, cell.text, { marks: view.marks });
  const rest = cell.chars > (cell.text?.length ?? 0) ? h("div.muted", {}, `the first ${count(cell.text.length)} of ${count(cell.chars)} characters`) : null;
  const figures = h("div.figure-line.muted", {}, [inSeconds(cell.latency_ms), `${count(cell.prompt_tokens)} + ${count(cell.completion_tokens)} tokens`,
    `cost ${usd(cell.cost_usd)}`, `finish_reason ${cell.finish_reason ?? "unknown"}`, ...cell.flags.filter(flag => flag !== cell.finish_reason), cell.reused ? "reused" : null]
    .filter(Boolean).map(text => h("span", {}, text)));
  const about = row.reference !== null && row.reference !== undefined ? detailSection("Reference", readingBox(String(row.reference))) : null;
  return [figures, copyButton(view, cell.text ?? ""), block, rest, about, scoreTable(scores)];
}

function scoreTable(scores) {
  if (!scores.length) return null;
  return detailSection("Scores", h("table.facts", {}, h("tbody", {}, scores.map(one => h("tr", {}, h("th", { scope: "row" }, one.scorer),
    h("td.number", {}, one.value === null ? "–" : String(Math.round(one.value * 1000) / 1000)), h("td", {}, [one.label, one.detail].filter(Boolean).join(": ")))))));
}

function differenceTab(view, { cell, baseline, column }) {
  if (cell.text === null) return remarkLine("There is no text to compare.");
  if (baseline === null || baseline === undefined) return remarkLine("There is no baseline here: press b on a column, or choose one above.");
  if (baseline === cell.text) return remarkLine("The same as the baseline, to the last character.");
  const paths = view.ui.diff === "json" ? jsonDiff(baseline, cell.text) : null;
  if (paths) return [remarkLine(paths.length ? `${count(paths.length)} paths differ` : "the same JSON"), h("div.mono", {}, paths.slice(0, 300).map(path => jsonChange(path, 2000)))];
  const { pieces, isCoarse } = (view.ui.diff === "lines" ? lineDiff : wordDiff)(baseline, cell.text);
  const block = h("div.reading", { dir: "auto" });
  putDiff(block, pieces, { limit: 60_000 });
  return [remarkLine(`${percent(shareChanged(pieces))} differs${isCoarse ? "; too different for words: compared by block" : ""}`), block];
}

function requestTab(view, { prompt, request }) {
  return [
    ...prompt.map(({ role, text }) => detailSection(role, readingBox(text, view.marks))),
    detailSection("Exact body", h("pre.exact", {}, request ?? ""), copyButton(view, request ?? "")),
  ];
}

function responseTab(view, { response, headers }) {
  if (response === null || response === undefined) return remarkLine("There is no response.");
  const { root, error } = jsonTree(response);
  return [copyButton(view, response),
    root ? jsonView(root, "Response", view.marks) : [remarkLine(`not JSON: line ${error.line}, column ${error.column}: ${error.message}`), readingBox(response)],
    detailSection("Headers", factTable(Object.entries(headers ?? {})))].flat();
}

function tokensTab(view, { tokens, perplexity }) {
  const list = tokenList(tokens);
  if (!list) return remarkLine("No logprobs were asked for: run with logprobs=True, top_logprobs=5.");
  const block = h("div.reading", { dir: "auto" }), shown = list.slice(0, 1000);
  putTokens(block, shown);
  const least = shown.filter(token => token.probability !== null).sort((one, other) => one.probability - other.probability).slice(0, 12);
  return [
    remarkLine(`perplexity ${perplexity === null || perplexity === undefined ? "unknown" : perplexity.toFixed(2)}${list.length > shown.length ? `; the first 1,000 of ${count(list.length)} tokens` : ""}`),
    block,
    detailSection("Least likely", h("table.facts", {}, h("tbody", {}, least.map(token => h("tr", {}, h("th", { scope: "row" }, JSON.stringify(token.text)),
      h("td.number", {}, percent(token.probability, 1)), h("td", {}, tokenTitle(token).split("\n")[1] ?? "")))))),
  ];
}

function usageTab(view, { usage, cell }) {
  const { root } = jsonTree(usage ?? "");
  const rows = [["latency", milliseconds(cell.latency_ms)], ["prompt tokens", count(cell.prompt_tokens)], ["answer tokens", count(cell.completion_tokens)],
    ["cost", cell.cost_usd === null ? "unknown" : usd(cell.cost_usd)], ["reused", cell.reused ? "yes: bought by another run or trial" : "no"]];
  return [factTable(rows), root ? detailSection("As the server counted", jsonView(root, "Usage")) : remarkLine("The server sent no usage.")];
}

function attemptsTab(view, { attempts }) {
  const row = one => h("tr", {}, h("td.number", {}, String(one.number)), h("td", {}, one.state), h("td.number", {}, shownValue(one.http_status)),
    h("td.number", {}, inSeconds(one.latency_ms)), h("td.number", {}, `${count(one.prompt_tokens)} + ${count(one.completion_tokens)}`),
    h("td.number", {}, usd(one.cost_usd)), h("td", {}, one.sent_at ?? ""), h("td", {}, [one.error_type, one.error_message].filter(Boolean).join(": ")));
  const heads = ["#", "state", "HTTP", "time", "tokens", "cost", "sent (UTC)", "error"];
  return h("table.facts", {}, h("thead", {}, h("tr", {}, heads.map(text => h("th", { scope: "col" }, text)))), h("tbody", {}, attempts.map(row)));
}

function curlTab(view, { curl }) {
  return [copyButton(view, curl), h("pre.exact", {}, curl)];
}

const remarkLine = text => h("div.remark.muted", {}, text);
const detailSection = (name, ...content) => h("div.section", {}, h("div.section-name", {}, name), ...content);

function readingBox(text, marks = null) {
  const block = h("div.reading.boxed", { dir: "auto" });
  putText(block, text, { marks });
  return block;
}

function factTable(rows) {
  return h("table.facts", {}, h("tbody", {}, rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, shownValue(value))))));
}

function copyButton(view, text) {
  return h("button.quiet.copy", { onclick: async () => { await copyText(text, view.panel.root); view.panel.say("copied"); } }, "Copy");
}
