// The heads, rows and cells of the comparison matrix. A cell costs three elements where it has nothing special to say.

import { UNKNOWN, count, h, milliseconds, percent, putText, usd } from "./dom.js";
import { jsonDiff, lineDiff, shareChanged, wordDiff } from "./diff.js";
import { markdownNodes, putDiff, putRanges, putTokens } from "./draw.js";
import { jsonText, jsonTree } from "./jsonview.js";
import { markdown } from "./markdown.js";

export const DENSITIES = { S: 72, M: 120, L: 220 };
const ROW_HEAD_PX = 190, LEAST_PX = 230, MOST_PX = 560;
const META_PX = 26, LINE_PX = 18, CHAR_PX = 5; // the narrowest letters, so that no visible text is cut

const GLYPHS = { ok: "", failed: "✕", stopped: "■", running: "◌", todo: "○" };
const SAID = { failed: "failed", stopped: "not asked", running: "being answered …", todo: "not asked yet" };

// Widths for the grid: columns share the room there is, and scroll where it is too small.
export function matrixColumns(columns, widthPx) {
  const each = Math.floor((widthPx - ROW_HEAD_PX - 18) / Math.max(1, columns.length));
  const width = Math.max(LEAST_PX, Math.min(MOST_PX, each));
  return [{ width: ROW_HEAD_PX }, ...columns.map(() => ({ width }))];
}

// How many characters of a cell can be seen at all.
export function visibleChars(rowHeight, widthPx) {
  return Math.ceil((rowHeight - META_PX) / LINE_PX) * Math.ceil(widthPx / CHAR_PX);
}

export const shownValue = value => value === null || value === undefined || value === "" ? UNKNOWN : String(value);
export const columnName = head => head.values.map(shownValue).join(" · ");

// Heads

export function drawMatrixHeads(view, elements) {
  const [corner, ...heads] = elements, { columns, spec } = view.state;
  corner.replaceChildren(h("div.corner", {}, spec.rows.join(" · ")));
  heads.forEach((element, place) => drawColumnHead(view, element, columns[place], place));
  if (columns.length && columns[0].values.length > 1) corner.parentElement.prepend(groupLine(view, elements));
}

// The outer level: each value over its columns. Screen readers hear it in the name of each column instead.
function groupLine(view, [corner, ...heads]) {
  const line = h("div.groups", { role: "presentation", "aria-hidden": "true" }, h("div.group", { style: { width: corner.style.width } }));
  let last = null;
  view.state.columns.forEach((column, place) => {
    const name = column.values.slice(0, -1).map(shownValue).join(" · ");
    if (last?.name === name) { last.width += parseInt(heads[place].style.width, 10); }
    else { last = { name, width: parseInt(heads[place].style.width, 10), element: h("div.group", {}, h("span", {}, name)) }; line.append(last.element); }
    last.element.style.width = `${last.width}px`;
  });
  return line;
}

function drawColumnHead(view, element, head, place) {
  element.classList.toggle("baseline", head.is_baseline);
  element.setAttribute("aria-label", columnLabel(view, head));
  const name = shownValue(head.values.at(-1));
  element.replaceChildren(
    h("div.head-name", {},
      h("b", { title: columnName(head) }, name), head.is_baseline ? h("span.tag", {}, "baseline") : null,
      h("span.head-buttons", {},
        h("button.quiet", { tabIndex: -1, "aria-pressed": String(head.is_baseline), title: "compare all columns with this one (b)",
          "aria-label": `Baseline ${columnName(head)}`, onclick: () => view.setBaseline(place) }, "★"),
        h("button.quiet", { tabIndex: -1, title: "hide this column", "aria-label": `Hide ${columnName(head)}`, onclick: () => view.hide(place) }, "✕"))),
    h("div.head-figures", {}, headFigures(view, head)),
    headDelta(head), matrixHistogram(head.histogram));
}

function columnLabel(view, head) {
  const names = head.values.map((value, level) => `${view.state.spec.columns[level] ?? "repeat"} ${shownValue(value)}`);
  return [...names, head.is_baseline ? "baseline" : ""].filter(Boolean).join(", ");
}

function headFigures(view, head) {
  const figures = [];
  if (head.score !== null && head.score !== undefined) figures.push(h("b", { title: `mean ${view.state.scorer} of ${head.scored}` }, head.score.toFixed(2)));
  figures.push(h("span", { title: "mean latency" }, milliseconds(head.latency_ms)));
  if (head.cost_usd !== 0) figures.push(h("span", { title: head.cost_unknown ? `${head.cost_unknown} answers without a price` : "cost of all answers" },
    `${usd(head.cost_usd)}${head.cost_unknown && head.cost_usd !== null ? " +?" : ""}`));
  if (head.rated) figures.push(h("span", { title: `${head.rated} rated` }, `${head.rating_scale === "stars" ? "★" : "▲"} ${signedNumber(head.rating, head.rating_scale === "stars")}`));
  if (head.failed) figures.push(h("span.bad", {}, `✕ ${count(head.failed)}`));
  if (head.unfinished) figures.push(h("span.muted", {}, `○ ${count(head.unfinished)}`));
  return figures;
}

const signedNumber = (value, isPlain) => value === null ? UNKNOWN : `${value > 0 && !isPlain ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(1)}`;

function headDelta(head) {
  const line = h("div.head-delta"), { delta } = head;
  if (!delta) return line;
  const baseline = { latency_ms: head.latency_ms - delta.latency_ms, cost_usd: head.cost_usd - delta.cost_usd };
  if (delta.score !== null && delta.score !== undefined) line.append(deltaSpan("score", delta.score, delta.score, delta.score.toFixed(2)));
  for (const [name, word] of [["latency_ms", "time"], ["cost_usd", "cost"]]) {
    if (delta[name] === null || delta[name] === undefined || !(baseline[name] > 0)) continue;
    const share = delta[name] / baseline[name];
    line.append(deltaSpan(word, share, -share, percent(share)));
  }
  line.title = `difference to the baseline, over ${delta.n} rows with both`;
  return line;
}

function deltaSpan(word, value, merit, text) {
  const isZero = /^-?0(\.0+)?( %)?$/.test(text), sign = isZero ? "±" : value > 0 ? "+" : "−";
  const tone = isZero ? "muted" : merit > 0 ? "good" : "bad";
  return h(`span.${tone}`, {}, `${word} ${sign}${text.replace("-", "")}`);
}

// Twelve bars in one path.
function matrixHistogram(bars) {
  const box = h("div.histogram");
  if (!bars?.counts?.length) return box;
  const most = Math.max(...bars.counts, 1), svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", bars.counts.map((n, place) => {
    const height = n ? Math.max(1, 14 * n / most) : 0;
    return `M${place * 10} 15h9v${-height}h-9z`;
  }).join("") + `M0 15h${bars.counts.length * 10}v.5h-${bars.counts.length * 10}z`);
  svg.setAttribute("viewBox", `0 0 ${bars.counts.length * 10} 16`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  box.append(svg);
  const figure = value => bars.of === "latency_ms" ? milliseconds(value) : String(Math.round(value * 100) / 100);
  box.title = `${bars.of} from ${figure(bars.low)} to ${figure(bars.high)}`;
  return box;
}

// Rows

export function drawMatrixRow(view, cells, row) {
  const [head, ...rest] = cells;
  if (!row) { for (const cell of cells) { cell.replaceChildren(); cell.className = cell === head ? "row-head" : "cell"; } return; }
  drawRowHead(view, head, row);
  rest.forEach((cell, column) => drawCell(view, cell, row, column));
}

function drawRowHead(view, element, row) {
  const label = h("div.row-label", { dir: "auto" });
  putText(label, row.labels.map(shownValue).join(" · ").slice(0, 400));
  const context = row.context.map(([name, value]) => `${name} ${shownValue(value)}`).join("  ·  ").slice(0, 300);
  element.replaceChildren(label, h("div.row-context", {}, context));
}

function drawCell(view, element, row, column) {
  const cell = view.cell(row, column);
  element.className = "cell";
  if (!cell) { element.classList.add("absent"); element.replaceChildren(h("span.visually-hidden", {}, "not planned")); return; }
  if (cell.status !== "ok") element.classList.add(cell.status);
  if (view.isPicked(row, column)) element.classList.add("picked");
  const drawn = drawBody(view, cell, row, column);
  element.replaceChildren(drawn.body, drawMeta(view, cell, drawn, row, column));
}

function drawBody(view, cell, row, column) {
  const body = h("div.text", { dir: "auto" });
  if (cell.status !== "ok") {
    body.classList.add(cell.status === "failed" ? "bad" : "muted");
    putText(body, `${GLYPHS[cell.status]} ${SAID[cell.status]}${cell.reason ? `: ${cell.reason}` : ""}`.slice(0, 400));
    return { body };
  }
  if (cell.text === null || cell.text === "") {
    body.append(h("span.muted", {}, cell.text === "" ? "empty text" : "no text"));
    return { body };
  }
  const limit = visibleChars(view.rowHeight, view.columnWidth);
  const baseline = view.ui.diff ? view.baselineText(row, column) : undefined;
  if (baseline !== undefined) return drawDifference(view, body, baseline, cell, limit);
  return DRAWERS[view.ui.mode](view, body, cell, limit, row, column) ?? { body };
}

const DRAWERS = {
  text(view, body, cell, limit) { putRanges(body, cell.text.slice(0, limit), cell.marks); },
  md(view, body, cell, limit) {
    body.classList.add("markdown");
    body.append(...markdownNodes(markdown(cell.text.slice(0, 2 * limit), 24), view.marks));
  },
  json(view, body, cell, limit) {
    const { root } = jsonTree(cell.text);
    if (!root) { putRanges(body, cell.text.slice(0, limit), cell.marks); return { body, remark: cell.chars > cell.text.length ? "too long for JSON here" : "not JSON" }; }
    body.classList.add("mono");
    putText(body, jsonText(root, 2).slice(0, limit), { marks: view.marks });
  },
  tokens(view, body, cell, limit, row, column) {
    const tokens = view.tokensOf(cell, row, column);
    if (Array.isArray(tokens)) { putTokens(body, tokens, { brief: true, limit }); return; }
    putRanges(body, cell.text.slice(0, limit), cell.marks);
    if (!cell.has_logprobs) return { body, remark: "no logprobs" };
  },
};

const ARROWS = { added: "+", removed: "−", changed: "~" };

// `baseline` is null where the baseline has no answer.
function drawDifference(view, body, baseline, cell, limit) {
  if (baseline === null) { putRanges(body, cell.text.slice(0, limit), cell.marks); return { body, remark: "baseline has no answer" }; }
  if (baseline === cell.text) {
    body.classList.add("muted");
    putRanges(body, cell.text.slice(0, limit), cell.marks);
    return { body, remark: "= same" };
  }
  const paths = view.ui.diff === "json" ? jsonDiff(baseline, cell.text) : null;
  if (paths) {
    body.classList.add("mono");
    for (const path of paths.slice(0, 14)) body.append(jsonChange(path, limit));
    return { body, remark: paths.length ? `${paths.length} paths differ` : "= same JSON" };
  }
  const difference = (view.ui.diff === "lines" ? lineDiff : wordDiff)(baseline, cell.text);
  putDiff(body, difference.pieces, { ranges: cell.marks, context: Math.max(24, Math.floor(limit / 8)), limit: Math.ceil(1.3 * limit) });
  const isCoarse = difference.isCoarse ? "too different: by block" : view.ui.diff === "json" ? "not JSON: words" : "";
  return { body, remark: [`Δ ${percent(shareChanged(difference.pieces))}`, isCoarse].filter(Boolean).join(" · ") };
}

export function jsonChange({ path, kind, before, after }, limit = Infinity) {
  const line = h("div", {}, `${ARROWS[kind]} ${path} `);
  const put = (tag, text) => { const part = h(tag); putText(part, text.slice(0, limit)); line.append(part, " "); };
  if (before !== undefined) put("del", before);
  if (after !== undefined) put("ins", after);
  return line;
}

// Badges: what is special in front, the figures behind, always in the same order.
function drawMeta(view, cell, { remark }, row, column) {
  const meta = h("div.meta");
  const say = (tag, text, title) => meta.append(h(tag, title ? { title } : {}, text));
  if (cell.rating !== null && cell.rating !== undefined) say(`span.${ratingTone(cell)}`, ratingGlyph(cell), ratingTitle(cell));
  if (cell.pinned) say("span.accent", "◆", "pinned");
  if (cell.note) say("span.accent", "✎", cell.note.slice(0, 300));
  if (cell.score) say(`b.${cell.score.value >= 0.5 ? "good" : "bad"}`, scoreText(cell.score), [cell.score.label, cell.score.detail].filter(Boolean).join(": "));
  if (cell.finish_reason && cell.finish_reason !== "stop") say("span.warn", `⚠ ${cell.finish_reason}`, `finish_reason ${cell.finish_reason}`);
  const flags = cell.flags.filter(flag => flag !== cell.finish_reason);
  if (flags.length) say("span.warn", `⚑ ${flags.join(", ")}`);
  if (cell.trials > 1) say(`span.${cell.variants > 1 ? "variants" : "muted"}`, repeatsText(view, cell, row, column), repeatsTitle(cell));
  if (remark) say("span.muted", remark);
  if (cell.reused) say("span.muted", "↺", "reused: bought by another run or trial");
  if (cell.status === "ok") say("span.figures", figuresOf(cell), figuresTitle(cell));
  return meta;
}

const ratingTone = cell => cell.scale === "stars" ? "accent" : cell.rating > 0 ? "good" : cell.rating < 0 ? "bad" : "muted";
const ratingGlyph = cell => cell.scale === "stars" ? `★${cell.rating}` : cell.rating > 0 ? "▲ good" : cell.rating < 0 ? "▼ bad" : "◇ neutral";
const ratingTitle = cell => `rated ${cell.scale === "stars" ? `${cell.rating} of 5` : ratingGlyph(cell).slice(2)}${cell.raters > 1 ? `, ${cell.raters} raters` : ""}`;
const scoreText = score => (score.value === 1 ? "✓" : score.value === 0 ? "✗" : score.value === null ? shownValue(score.label) : score.value.toFixed(2));

function repeatsText(view, cell, row, column) {
  const place = view.variantPlace(row, column);
  return `×${cell.same}/${cell.trials}${place ? ` ◂${place.at + 1}/${place.of}▸` : ""}${cell.failed ? ` ✕${cell.failed}` : ""}`;
}

const repeatsTitle = cell => `${cell.same} of ${cell.trials} repeats gave this answer, ${count(cell.variants)} different ones${cell.failed ? `, ${cell.failed} failed` : ""}; , and . step through them`;

// Seconds throughout, so that they stand under one another.
export function inSeconds(ms) {
  if (ms === null || ms === undefined) return `${UNKNOWN} s`;
  if (ms < 95) return `${Math.round(ms)} ms`;
  return ms < 9950 ? `${(ms / 1000).toFixed(2)} s` : `${(ms / 1000).toFixed(1)} s`;
}

function figuresOf(cell) {
  const tokens = cell.completion_tokens === null ? UNKNOWN : count(cell.completion_tokens);
  return [inSeconds(cell.latency_ms), `${tokens} tok`, ...(cell.cost_usd === 0 ? [] : [usd(cell.cost_usd)])].join("  ");
}

const figuresTitle = cell => `latency ${milliseconds(cell.latency_ms)}, prompt ${count(cell.prompt_tokens)} tokens, answer ${count(cell.completion_tokens)} tokens and ${count(cell.chars)} characters, cost ${cell.cost_usd === null ? "unknown" : usd(cell.cost_usd)}`;
