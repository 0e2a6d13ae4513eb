// The heads, rows and cells of the comparison matrix. A cell costs three elements where it has nothing special to say.

import { UNKNOWN, count, counted, h, milliseconds, percent, putText, statusText, usd } from "./dom.js";
import { jsonDiff, lineDiff, shareChanged, wordDiff } from "./diff.js";
import { markdownNodes, putDiff, putRanges, putTokens } from "./draw.js";
import { jsonText, jsonTree } from "./jsonview.js";
import { markdown } from "./markdown.js";

export const DENSITIES = { S: 72, M: 120, L: 220 };
const ROW_HEAD_PX = 190;
const LEAST_PX = 250, LEAST_OF_MANY_PX = 180, MANY = 20; // fewer pixels, and there are more than 600 elements
const REWRITTEN = 0.8; // from this share of changed characters on, a cell shows the new text alone
const META_PX = 27, LINE_PX = 18, CHAR_PX = 5; // the narrowest letters, so that no visible text is cut

const GLYPHS = { ok: "", failed: "✕", stopped: "■", running: "◌", todo: "○" };

// Widths for the grid: columns share the room there is, and scroll where it is too small.
export function matrixColumns(columns, widthPx) {
  const each = Math.floor((widthPx - ROW_HEAD_PX - 18) / Math.max(1, columns.length));
  const width = Math.max(columns.length > MANY ? LEAST_OF_MANY_PX : LEAST_PX, each);
  return [{ width: ROW_HEAD_PX }, ...columns.map(() => ({ width }))];
}

export const textPx = rowHeight => Math.floor((rowHeight - META_PX) / LINE_PX) * LINE_PX; // whole lines only

// How many characters of a cell can be seen at all.
export function visibleChars(rowHeight, widthPx) {
  return textPx(rowHeight) / LINE_PX * Math.ceil(widthPx / CHAR_PX);
}

// A value of an axis comes as {at, label}: its place there, by which it is chosen, and how it is shown.
const labelOf = value => typeof value === "object" && value !== null && "label" in value ? value.label : value;
export function shownValue(given) {
  const value = labelOf(given);
  return value === null || value === undefined || value === "" ? UNKNOWN : String(value);
}
export const columnName = head => head.values.map(shownValue).join(" · ");
export const levelsOf = (spec, head) => head.values.map((value, level) => spec.columns[level] ?? "repeat");
export const valuesOf = (spec, head) =>
  Object.fromEntries(levelsOf(spec, head).map((axis, level) => [axis, head.values[level]]));

// Heads

export function drawMatrixHeads(view, elements) {
  const [corner, ...heads] = elements, { columns, spec } = view.state;
  const levels = columns.length ? levelsOf(spec, columns[0]) : [];
  corner.replaceChildren(h("div.corner", {},
    h("span.axis", {}, levels.at(-1) ?? ""), h("span", {}, spec.rows.join(" · "))));
  heads.forEach((element, place) => drawColumnHead(view, element, columns[place], place));
  if (levels.length > 1) corner.parentElement.prepend(groupLine(view, elements, levels.slice(0, -1).join(" · ")));
}

// The outer level: each value over its columns. Screen readers hear it in the name of each column instead.
function groupLine(view, [corner, ...heads], axis) {
  const line = h("div.groups", { role: "presentation", "aria-hidden": "true" },
    h("div.group.axis", { style: { width: corner.style.width } }, axis));
  let last = null;
  view.state.columns.forEach((column, place) => {
    const name = column.values.slice(0, -1).map(shownValue).join(" · ");
    if (last?.name !== name) {
      last = { name, width: 0, element: h("div.group", {}, h("span", {}, name)) };
      line.append(last.element);
    }
    last.width += parseInt(heads[place].style.width, 10);
    last.element.style.width = `${last.width}px`;
  });
  return line;
}

function drawColumnHead(view, element, head, place) {
  element.classList.toggle("baseline", head.is_baseline);
  element.setAttribute("aria-label", columnLabel(view, head));
  if (!element.parentNode) return;
  const name = columnName(head), compare = () => view.setBaseline(place);
  const comparing = head.is_baseline ? "No longer compare with" : "Compare with";
  const button = (text, label, title, onclick) =>
    h("button.quiet", { tabIndex: -1, "aria-label": `${label} ${name}`, title, onclick }, text);
  element.replaceChildren(
    h("div.head-name", {},
      h("b", { title: name }, shownValue(head.values.at(-1))), head.is_baseline ? h("span.tag", {}, "baseline") : null,
      h("span.head-buttons", {},
        button("★", comparing, "compare with this column (b)", compare),
        button("✕", "Hide", "hide this column (X)", () => view.hide(place)))),
    h("div.head-figures", {}, headFigures(view, head)),
    headDelta(head), matrixHistogram(head.histogram));
}

function columnLabel(view, head) {
  const names = Object.entries(valuesOf(view.state.spec, head)).map(([axis, value]) => `${axis} ${shownValue(value)}`);
  return [...names, head.is_baseline ? "baseline" : ""].filter(Boolean).join(", ");
}

function headFigures(view, head) {
  const figures = [], say = (tag, text, title) => figures.push(h(tag, { title }, text));
  const unpriced = head.cost_unknown ? `, ${count(head.cost_unknown)} of them without a price` : "";
  if (isKnown(head.score)) say("b", head.score.toFixed(2), `mean ${view.state.scorer} of ${count(head.scored)}`);
  say("span", milliseconds(head.latency_ms), "mean latency");
  const cost = `${usd(head.cost_usd)}${unpriced && isKnown(head.cost_usd) ? " + ?" : ""}`;
  if (head.cost_usd !== 0) say("span", cost, `cost of all answers${unpriced}`);
  if (head.rated) say("span", meanRating(head), `mean of ${counted(head.rated, "rating")}`);
  if (head.failed) say("span.bad", `✕ ${count(head.failed)}`, "failed");
  if (head.unfinished) say("span.muted", `○ ${count(head.unfinished)}`, "not answered");
  return figures;
}

export const isKnown = value => value !== null && value !== undefined;

function meanRating({ rating, rating_scale: scale }) {
  if (scale === "stars") return `★ ${rating.toFixed(1)}`;
  return `${rating < 0 ? "▼ −" : "▲ +"}${Math.abs(rating).toFixed(1)}`;
}

const DELTAS = [ // name, word, whether more is better, figure
  ["score", "score ", true, value => value.toFixed(2)],
  ["rating", "rating ", true, value => value.toFixed(1)],
  ["latency_ms", "", false, milliseconds],
  ["cost_usd", "", false, usd],
];

// Differences to the baseline, a row on average, with their sign; what is neither better nor worse is muted.
function headDelta(head) {
  const line = h("div.head-delta"), { delta } = head;
  if (!delta) return line;
  line.title = `difference to the baseline, a row on average, over ${counted(delta.n, "row")} with both`;
  for (const [name, word, isMerit, figure] of DELTAS.filter(([name]) => isKnown(delta[name]))) {
    const text = figure(Math.abs(delta[name])), isZero = !/[1-9]/.test(text);
    const sign = isZero ? "±" : delta[name] > 0 ? "+" : "−";
    const tone = isZero ? "muted" : delta[name] > 0 === isMerit ? "good" : "bad";
    line.append(h(`span.${tone}`, {}, word + sign + text));
  }
  return line;
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
  if (row) {
    drawRowHead(view, head, row);
    rest.forEach((cell, column) => { if (cell.parentNode) drawCell(view, cell, row, column); });
    return;
  }
  head.replaceChildren();
  for (const cell of rest) { cell.className = "cell"; cell.replaceChildren(); }
}

// What the row is, then the other columns of its case, the shortest way that tells them apart.
function drawRowHead(view, element, row) {
  const { rows: axes } = view.state.spec, label = h("div.row-label", { dir: "auto" });
  const named = (value, level) => typeof value === "number" ? `${axes[level]} ${value}` : shownValue(value);
  putText(label, row.labels.map(named).join(" · ").slice(0, 400));
  const facts = row.context.slice(0, Math.floor(view.rowHeight / 30) - 1)
    .map(([name, value]) => h("div", { dir: "auto" }, `${name}: ${shownValue(value).slice(0, 200)}`));
  element.replaceChildren(label, ...facts);
}

function drawCell(view, element, row, column) {
  const cell = view.cell(row, column);
  element.className = "cell";
  if (!cell) {
    element.classList.add("absent");
    element.replaceChildren(h("span.visually-hidden", {}, "not planned"));
    return;
  }
  if (cell.status !== "ok") element.classList.add(cell.status);
  if (view.isPicked(row, column)) element.classList.add("picked");
  const drawn = drawBody(view, cell, row, column);
  element.replaceChildren(drawn.body, drawMeta(view, cell, drawn, row, column));
}

function drawBody(view, cell, row, column) {
  const body = h("div.text", { dir: "auto" });
  if (cell.status !== "ok") {
    body.classList.add(cell.status === "failed" ? "bad" : "muted");
    putText(body, `${GLYPHS[cell.status]} ${statusText(cell.status)}${cell.reason ? `: ${cell.reason}` : ""}`.slice(0, 400));
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
    if (!root) {
      putRanges(body, cell.text.slice(0, limit), cell.marks);
      return { body, remark: cell.chars > cell.text.length ? "too long for JSON" : "no JSON" };
    }
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
  if (baseline === null || baseline === cell.text) {
    body.classList.toggle("muted", baseline !== null);
    putRanges(body, cell.text.slice(0, limit), cell.marks);
    const same = cell.equal === false ? "differs further on" : "= same";
    return { body, remark: baseline === null ? "baseline has no answer" : same };
  }
  const paths = view.ui.diff === "json" ? jsonDiff(baseline, cell.text) : null;
  if (paths) {
    body.classList.add("mono");
    for (const path of paths.slice(0, 14)) body.append(jsonChange(path, limit));
    return { body, remark: paths.length ? `${counted(paths.length, "path")} ${paths.length === 1 ? "differs" : "differ"}` : "= same JSON" };
  }
  const difference = (view.ui.diff === "lines" ? lineDiff : wordDiff)(baseline, cell.text);
  const share = shareChanged(difference.pieces), context = Math.max(24, Math.floor(limit / 8));
  if (share >= REWRITTEN) { // what was deleted would fill the cell; the details show both
    putRanges(body, cell.text.slice(0, limit), cell.marks);
    return { body, remark: `Δ ${percent(share)} rewritten` };
  }
  putDiff(body, difference.pieces, { ranges: cell.marks, context, limit: Math.ceil(1.3 * limit) });
  const isCoarse = difference.isCoarse ? "too different: by block" : view.ui.diff === "json" ? "no JSON: words" : "";
  return { body, remark: [`Δ ${percent(share)}`, isCoarse].filter(Boolean).join(" · ") };
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
  const badges = [], quiet = [];
  const say = (tag, text, title) => badges.push(h(tag, title ? { title, "aria-label": title, role: "img" } : {}, text));
  if (isKnown(cell.rating)) say(`span.${ratingTone(cell)}`, ratingGlyph(cell), ratingTitle(cell));
  if (cell.pinned) say("span.accent", "◆", "pinned");
  if (cell.note) say("span.accent", "✎", `note: ${cell.note.slice(0, 300)}`);
  if (cell.score) say(`b.${scoreTone(cell.score)}`, scoreText(cell.score), scoreTitle(view, cell.score));
  const flags = cell.flags.filter(flag => flag !== cell.finish_reason);
  if (cell.finish_reason && cell.finish_reason !== "stop") flags.unshift(cell.finish_reason);
  if (flags.length) badges.push(h("span.warn", {}, `⚠ ${flags.join(", ")}`));
  if (isDivided(cell)) badges.push(h("span.warn", { title: repeatsTitle(cell) }, repeatsText(view, cell, row, column)));
  if (remark) quiet.push(remark);
  if (cell.reused) quiet.push("↺");
  if (cell.trials > 1 && !isDivided(cell)) quiet.push(`×${cell.trials}`);
  if (quiet.length) badges.push(h("span.quiet", {}, quiet.join(" · ")));
  if (cell.status === "ok") badges.push(h("span.figures", { title: figuresTitle(cell) }, figuresOf(cell)));
  return h("div.meta", {}, badges);
}

const MERITS = { "-1": ["bad", "▼", "bad"], 0: ["muted", "◇", "neutral"], 1: ["good", "▲", "good"] };
const isStars = cell => cell.scale === "stars";
const ratingTone = cell => isStars(cell) ? "accent" : MERITS[cell.rating][0];
const ratingGlyph = cell => isStars(cell) ? `★${cell.rating}` : MERITS[cell.rating][1];
const ratingTitle = cell => `rated ${isStars(cell) ? `${cell.rating} of 5` : MERITS[cell.rating][2]}`
  + (cell.raters > 1 ? `, ${cell.raters} raters` : "");

export function ratingName(rating) {
  if (rating === null) return "none";
  const [scale, value] = rating;
  return scale === "stars" ? `★${value}` : `${MERITS[value][1]} ${MERITS[value][2]}`;
}

const isDivided = cell => cell.trials > 1 && (cell.variants > 1 || cell.failed > 0);
const scoreTone = ({ value }) => value === null ? "muted" : value >= 0.5 ? "good" : "bad";

function scoreText({ value, label }) {
  if (value === null) return shownValue(label);
  return { 0: "✗", 1: "✓" }[value] ?? value.toFixed(2);
}

function scoreTitle(view, { value, label, detail }) {
  return [`${view.state.scorer} ${value ?? UNKNOWN}`, label, detail].filter(Boolean).join(": ");
}

function repeatsText(view, cell, row, column) {
  const place = view.variantPlace(row, column), failed = cell.failed ? ` ✕${cell.failed}` : "";
  return `×${cell.same}/${cell.trials}${place ? ` ◂${place.at + 1}/${place.of}▸` : ""}${failed}`;
}

function repeatsTitle(cell) {
  const failed = cell.failed ? `, ${count(cell.failed)} failed` : "";
  return `${cell.same} of ${cell.trials} repeats gave this answer, of ${count(cell.variants)} different ones${failed}; `
    + "comma and full stop step through them";
}

function figuresOf(cell) {
  const tokens = cell.completion_tokens === null ? UNKNOWN : count(cell.completion_tokens);
  const cost = cell.cost_usd === 0 ? [] : [usd(cell.cost_usd)]; // what is free needs no saying
  return [milliseconds(cell.latency_ms), `${tokens} tok`, ...cost].join("  ");
}

function figuresTitle(cell) {
  return [
    cell.reused ? "reused: bought by another run or trial" : null,
    `latency ${milliseconds(cell.latency_ms)}`,
    `prompt ${counted(cell.prompt_tokens, "token")}`,
    `answer ${counted(cell.completion_tokens, "token")}, ${counted(cell.chars, "character")}`,
    `cost ${cell.cost_usd === null ? "unknown" : usd(cell.cost_usd)}`,
  ].filter(Boolean).join("; ");
}
