// The details of one cell: its whole text, what it differs in, exactly what was asked and answered, what people say.

import { UNKNOWN, copyText, count, h, milliseconds, percent, putText, usd } from "./dom.js";
import { debounce, newest } from "./rpc.js";
import { jsonDiff, lineDiff, shareChanged, wordDiff } from "./diff.js";
import { jsonView, markdownNodes, putDiff, putTokens, tokenTitle } from "./draw.js";
import { jsonTree } from "./jsonview.js";
import { markdown } from "./markdown.js";
import { perplexity, tokenList } from "./tokens.js";
import { isKnown, jsonChange, shownValue } from "./matrixcells.js";

const TABS = [
  ["output", "Output", outputTab], ["diff", "Difference", differenceTab], ["request", "Request", requestTab],
  ["response", "Response", responseTab], ["tokens", "Tokens", tokensTab], ["usage", "Usage", usageTab],
  ["attempts", "Attempts", attemptsTab], ["curl", "curl", curlTab],
];
const FOLLOW_MS = 120;
const MOST_ELEMENTS = 400, MOST_TOKENS = 1_000, MOST_DIFF_CHARS = 60_000; // of one page
let drawers = 0;

export function matrixDrawer(view) {
  const { panel } = view, id = `drawer${++drawers}`, ask = newest((...args) => panel.call(...args));
  let detail = null;
  const title = h("b.drawer-title"), page = h("div.drawer-page", { role: "tabpanel", tabIndex: 0, id: `${id}-page` });
  const tabs = TABS.map(([name, text]) => h("button.quiet", {
    role: "tab", id: `${id}-${name}`, "aria-controls": `${id}-page`, onclick: () => view.look({ tab: name }),
  }, text));
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
    if (!here.cell) { detail = null; draw(); return; }
    try {
      const answer = await ask("detail", { row: here.row.index, column: here.column, variant: here.cell.variant });
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
  page.addEventListener("keydown", event => {
    if (SCROLLING.has(event.key) && !event.ctrlKey && !event.metaKey) event.stopPropagation();
  }, { signal: panel.signal });
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

// Axes whose values are plain numbers, which say nothing alone.
const NUMBERED = new Set(["case", "repeat", "version"]);

function titleOf(view, { place, column, cell }) {
  const { rows, columns } = view.state.spec, axes = [...rows, ...columns, "repeat"]; // where the repeats have columns
  const names = [...place.row.labels, ...column].map((value, at) => (NUMBERED.has(axes[at]) ? `${axes[at]} ` : "")
    + shownValue(value).replace(/\s+/g, " ").slice(0, 60));
  return `${names.join(" × ")}${cell.trials > 1 ? ` × repeat ${cell.repeat}` : ""}`;
}

const THUMBS = [[1, "▲", "Good (+)"], [-1, "▼", "Bad (−)"]];
const STARS = [1, 2, 3, 4, 5].map(value => [value, "★", `${value} of 5 stars (${value})`]);

// What people say: rating, pin, note; others' below.
function opinionBar(view) {
  const raters = (scale, choices) => choices.map(([value, text, label]) => ({
    value, scale,
    button: h("button", { "aria-label": label, title: label, onclick: () => view.rate(value, scale) }, text),
  }));
  const group = (tag, label, of) => h(tag, { role: "group", "aria-label": label }, of.map(one => one.button));
  const thumbs = raters("thumbs", THUMBS), stars = raters("stars", STARS);
  const clear = h("button.quiet", { onclick: () => view.rate(null, "thumbs") }, "Clear");
  const pin = h("button", { onclick: () => view.pin(), title: "Pin (p)" }, "◆ Pin");
  const note = noteField(view), others = h("div.others.muted");
  const element = h("div.opinion", {}, group("span.segments", "Rating", thumbs),
    group("span.segments.stars", "Stars", stars), clear, pin, note, others);
  const isGiven = ({ value, scale }, cell) =>
    cell.scale === scale && (scale === "stars" ? value <= cell.rating : value === cell.rating);
  return {
    element, note,
    draw(detail) {
      const { cell } = detail, cannot = !cell.output_id || Boolean(view.state.read_only);
      for (const one of [...thumbs, ...stars]) one.button.setAttribute("aria-pressed", String(isGiven(one, cell)));
      pin.setAttribute("aria-pressed", String(cell.pinned));
      for (const control of element.querySelectorAll("button, textarea")) control.disabled = cannot;
      if (note.getRootNode().activeElement !== note) note.value = cell.note ?? "";
      others.textContent = saidByOthers(detail, view.state.rater).join("  ·  ");
    },
  };
}

function noteField(view) {
  const field = h("textarea", { rows: 1, placeholder: "note  n", "aria-label": "Note" });
  const save = () => view.note(field.value.trim());
  field.addEventListener("change", save);
  field.addEventListener("keydown", event => {
    if (event.key !== "Escape" && (event.key !== "Enter" || event.shiftKey)) return;
    event.preventDefault();
    save();
    view.table.focus();
  });
  return field;
}

function saidByOthers({ ratings, notes }, rater) {
  const glyph = ({ scale, value }) => scale === "stars" ? `★${value}` : value > 0 ? "▲" : value < 0 ? "▼" : "◇";
  const given = one => `${one.rater} ${glyph(one)}`;
  return [
    ...ratings.filter(one => one.rater !== rater && isKnown(one.value)).map(given),
    ...notes.filter(one => one.rater !== rater && one.text).map(one => `${one.rater}: ${one.text}`),
  ];
}

// The tabs

function outputTab(view, { cell, scores, row }) {
  const cut = cell.chars > (cell.text?.length ?? 0);
  return [
    factsOf(cell),
    copyButton(view, cell.text ?? ""),
    textOfOutput(view, cell),
    cut ? remarkLine(`the first ${count(cell.text?.length)} of ${count(cell.chars)} characters`) : null,
    isKnown(row.reference) ? detailSection("Reference", readingBox(String(row.reference))) : null,
    scoreTable(scores),
  ];
}

function factsOf(cell) {
  const facts = [
    milliseconds(cell.latency_ms), `${count(cell.prompt_tokens)} + ${count(cell.completion_tokens)} tokens`,
    `cost ${costOf(cell)}`, `finish_reason ${cell.finish_reason ?? "unknown"}`,
    ...cell.flags.filter(flag => flag !== cell.finish_reason), ...(cell.reused ? ["reused"] : []),
  ];
  return h("div.figure-line.muted", {}, facts.map(fact => h("span", {}, fact)));
}

const costOf = cell => cell.cost_usd === null ? "unknown" : usd(cell.cost_usd);

function textOfOutput(view, cell) {
  const block = h("div.reading", { dir: "auto" });
  if (cell.status !== "ok" || cell.text === null) { putText(block, cell.reason ?? "no text"); return block; }
  const { root } = view.ui.mode === "json" ? jsonTree(cell.text) : {};
  if (root) return jsonView(root, "Output", view.marks);
  if (view.ui.mode === "md") {
    block.classList.add("markdown");
    block.append(...markdownNodes(markdown(cell.text, MOST_ELEMENTS), view.marks));
  } else putText(block, cell.text, { marks: view.marks });
  return block;
}

function scoreTable(scores) {
  if (!scores.length) return null;
  const figure = value => isKnown(value) ? String(Math.round(value * 1000) / 1000) : UNKNOWN;
  return detailSection("Scores", factTable([], scores.map(({ scorer, value, label, detail }) =>
    [scorer, figure(value), [label, detail].filter(Boolean).join(": ")])));
}

function differenceTab(view, { cell, baseline }) {
  if (cell.text === null) return remarkLine("There is no text to compare.");
  if (!isKnown(baseline)) return remarkLine("There is no baseline here: press b on a column, or choose one above.");
  if (baseline === cell.text) {
    return remarkLine(cell.equal === false ? `The same as the baseline in the first ${count(baseline.length)} characters; `
      + "they differ further on." : "The same as the baseline, to the last character.");
  }
  const paths = view.ui.diff === "json" ? jsonDiff(baseline, cell.text) : null;
  if (paths) return pathsThatDiffer(paths);
  const { pieces, isCoarse } = (view.ui.diff === "lines" ? lineDiff : wordDiff)(baseline, cell.text);
  const block = h("div.reading", { dir: "auto" }), how = isCoarse ? "; too different for words: compared by block" : "";
  putDiff(block, pieces, { limit: MOST_DIFF_CHARS });
  return [remarkLine(`${percent(shareChanged(pieces))} differs${how}`), block];
}

function pathsThatDiffer(paths) {
  const changes = paths.slice(0, MOST_ELEMENTS).map(path => jsonChange(path, 2000));
  const remark = paths.length ? `paths that differ: ${count(paths.length)}` : "the same JSON";
  return [remarkLine(remark), h("div.mono", {}, changes)];
}

function requestTab(view, { prompt, request }) {
  return [
    ...prompt.map(({ role, text }) => detailSection(role, readingBox(text, view.marks))),
    detailSection("Exact body", h("pre.exact", {}, request), copyButton(view, request)),
  ];
}

function responseTab(view, { response, headers }) {
  if (!isKnown(response)) return remarkLine("There is no response.");
  const { root, error } = jsonTree(response);
  const body = root ? [jsonView(root, "Response", view.marks)]
    : [remarkLine(`no JSON: line ${error.line}, column ${error.column}: ${error.message}`), readingBox(response)];
  return [copyButton(view, response), ...body, detailSection("Headers", factTable([], Object.entries(headers)))];
}

function tokensTab(view, { logprobs }) {
  const list = tokenList(logprobs), confusion = perplexity(logprobs);
  if (!list) return remarkLine("No logprobs were asked for: run with logprobs=True, top_logprobs=5.");
  const block = h("div.reading", { dir: "auto" }), shown = list.slice(0, MOST_TOKENS);
  putTokens(block, shown);
  const least = shown.filter(token => isKnown(token.probability))
    .sort((one, other) => one.probability - other.probability).slice(0, 12)
    .map(token => [JSON.stringify(token.text), percent(token.probability, 1), tokenTitle(token).split("\n")[1]]);
  const rest = list.length > shown.length ? `; the first ${count(shown.length)} of ${count(list.length)} tokens` : "";
  return [
    remarkLine(`perplexity ${isKnown(confusion) ? confusion.toFixed(2) : "unknown"}${rest}`),
    block,
    detailSection("Least likely", factTable([], least)),
  ];
}

function usageTab(view, { usage, cell }) {
  const { root } = jsonTree(usage ?? "");
  return [
    factTable([], [
      ["latency", milliseconds(cell.latency_ms)], ["prompt tokens", count(cell.prompt_tokens)],
      ["answer tokens", count(cell.completion_tokens)], ["cost", costOf(cell)],
      ["reused", cell.reused ? "yes: bought by another run or trial" : "no"],
    ]),
    root ? detailSection("As the server counted", jsonView(root, "Usage")) : remarkLine("The server sent no usage."),
  ];
}

function attemptsTab(view, { attempts }) {
  const heads = ["#", "state", "HTTP", "time", "tokens", "cost", "sent (UTC)", "error"];
  return factTable(heads, attempts.map(one => [
    String(one.number), one.state, one.http_status, milliseconds(one.latency_ms),
    `${count(one.prompt_tokens)} + ${count(one.completion_tokens)}`, usd(one.cost_usd), one.sent_at,
    [one.error_type, one.error_message].filter(Boolean).join(": "),
  ]));
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

function factTable(heads, rows) {
  const head = h("thead", {}, h("tr", {}, heads.map(text => h("th", { scope: "col" }, text))));
  const row = ([name, ...values]) => h("tr", {}, h("th", { scope: "row" }, name),
    values.map(value => h("td", {}, shownValue(value))));
  return h("table.facts", {}, heads.length ? head : null, h("tbody", {}, rows.map(row)));
}

function copyButton(view, text) {
  const copy = async () => { await copyText(text, view.panel.root); view.panel.say("copied"); };
  return h("button.quiet.copy", { onclick: copy }, "Copy");
}
