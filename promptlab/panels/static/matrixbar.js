// Above the matrix: what stands on its sides, how it is compared and shown, and what is searched, filtered and sorted.

import { UNKNOWN, count, counted, h, milliseconds, statusText, usd } from "./dom.js";
import { showSheet } from "./keys.js";
import { debounce } from "./rpc.js";
import { columnName, levelsOf, ratingName, shownValue, valuesOf } from "./matrixcells.js";

const SHOWN = {
  all: "all rows", different: "different", same: "same", failed: "failed", rated: "rated", unrated: "unrated",
  pinned: "pinned",
};
const SORTS = {
  plan: "plan order", label: "row label", changed: "most changed", regressions: "score change",
  disagreement: "repeats disagree", score: "score", cost_usd: "cost", latency_ms: "latency", length: "length",
  rating: "rating", rank: "search rank",
};
const ASCENDING = new Set(["plan", "label", "regressions", "rank"]); // their natural order; the others: the most first
const MODES = [
  ["text", "Text", "plain text"], ["md", "MD", "Markdown (m)"], ["json", "JSON", "JSON (J)"],
  ["tokens", "Tokens", "token probabilities (t)"],
];
const SIZES = [["S", "S", "small rows"], ["M", "M", "medium rows"], ["L", "L", "large rows"]];
const DIFFS = [["", "off"], ["words", "words"], ["lines", "lines"], ["json", "JSON paths"]];
const FACET_NAMES = {
  latency_ms: "latency", cost_usd: "cost", completion_tokens: "answer tokens", length: "characters",
  finish_reason: "finish reason",
};
const SEARCH_MS = 150;
const MOST_NAMED = 24; // columns in the list of baselines; beyond it `b` on a column is quicker

export function matrixBar(view) {
  const controls = [sides(view), looks(view), finding(view), facetStrip(view)];
  const [, , find] = controls;
  return {
    element: h("div.controls", {}, controls.map(control => control.element)),
    update: () => { for (const control of controls) control.update(); },
    focus: name => find[name].focus(),
  };
}

// First line: the axes
function sides(view) {
  // What varies, and what stands on a side without varying.
  const axes = ({ axes: all, spec }) => axesOf([...all.map(axis => axis.name), ...spec.rows, ...spec.columns]);
  const rows = barPicker("Rows", value => view.change({ rows: JSON.parse(value) }));
  const outer = barPicker("Columns", value => view.change({ columns: axesOf([value, view.state.spec.columns[1]]) }));
  const inner = barPicker("then", value => view.change({ columns: axesOf([view.state.spec.columns[0], value]) }));
  const repeats = barPicker("Repeats", value => view.change({ repeats: value }));
  const baseline = barPicker("Baseline", value => view.change({ baseline: JSON.parse(value) }, { keepScroll: true }));
  const views = barPicker("View", value => takeView(view, value));
  const element = h("div.bar", {}, rows.element, outer.element, inner.element, repeats.element, baseline.element,
    h("span.push"), views.element);
  const update = () => {
    const { spec } = view.state, names = axes(view.state);
    const sidesOf = [...names.map(name => [name]), ...(spec.rows.length > 1 ? [spec.rows] : [])];
    rows.set(sidesOf.map(one => [JSON.stringify(one), one.join(" · ")]), JSON.stringify(spec.rows));
    outer.set(names.map(name => [name, name]), spec.columns[0]);
    const others = names.filter(name => name !== spec.columns[0]);
    inner.set([["", "–"], ...others.map(name => [name, name])], spec.columns[1] ?? "");
    repeats.set([["fold", "folded"], ["columns", "as columns"]], spec.repeats);
    baseline.set(baselines(view.state), JSON.stringify(spec.baseline));
    views.set([["", "saved views"], ...view.state.views.map(name => [`+${name}`, name]), ["save", "save this view …"],
      ...(spec.hidden?.length ? [["show", `show ${count(spec.hidden.length)} hidden`]] : [])], "");
  };
  return { element, update };
}

const axesOf = values => [...new Set(values.filter(Boolean))];

function takeView(view, value) {
  if (value === "save") view.saveView();
  else if (value === "show") view.change({ hidden: [] });
  else if (value) view.loadView(value.slice(1));
  view.bar.update();
}

// None, each value of a column axis ("the same otherwise"), each column, each reference column of the cases.
function baselines({ columns, spec, references }) {
  const found = new Map([["null", "none"]]);
  const add = (values, name) => { if (!found.has(JSON.stringify(values))) found.set(JSON.stringify(values), name); };
  const levels = columns.length ? [...levelsOf(spec, columns[0]).entries()] : [];
  if (levels.length > 1) for (const [level, axis] of levels) {
    const name = value => `${axis} ${shownValue(value)}, else the same`;
    for (const { values } of columns) add({ [axis]: values[level] }, name(values[level]));
  }
  if (columns.length <= MOST_NAMED) for (const head of columns) add(valuesOf(spec, head), columnName(head));
  for (const name of references) add({ reference: name }, `reference ${name}`);
  add(spec.baseline, Object.values(spec.baseline ?? {}).map(shownValue).join(" · "));
  return [...found];
}

// Second line: how outputs are shown
function looks(view) {
  const diff = barPicker("Differences", value => view.look({ diff: value || null }));
  const modes = barSegments("Show outputs as", MODES, value => view.look({ mode: value }));
  const sizes = barSegments("Height of rows", SIZES, value => view.change({ density: value }));
  const scorer = barPicker("Score", value => view.change({ scorer: value }));
  const toggle = () => view.look({ facets: !view.ui.facets });
  const facets = h("button", { onclick: toggle, title: "distributions to filter by (f)" }, "Facets");
  const live = h("span.chip.live", { hidden: true });
  const stale = h("button.primary", { hidden: true, onclick: () => view.refresh() }, "↻ Order changed");
  const sheet = () => showSheet(view.panel);
  const keys = h("button.quiet", { onclick: sheet, "aria-label": "Keys (?)", title: "keys (?)" }, "?");
  const element = h("div.bar", {}, diff.element, modes.element, sizes.element, scorer.element, facets, h("span.push"),
    live, stale, keys);
  const update = () => {
    const { ui, state } = view;
    diff.set(DIFFS, ui.diff ?? "");
    modes.set(ui.diff ? null : ui.mode);
    sizes.set(state.spec.density);
    scorer.element.hidden = !state.scorers.length;
    scorer.set(state.scorers.map(name => [name, name]), state.scorer);
    facets.setAttribute("aria-pressed", String(ui.facets));
    const { ok = 0, failed = 0, stopped = 0, running = 0, todo = 0 } = state.counts ?? {};
    live.hidden = !state.live;
    live.textContent = `● live: ${count(ok + failed)} of ${count(ok + failed + stopped + running + todo)} answered`;
    stale.hidden = !state.stale;
  };
  return { element, update };
}

// Third line: search, filters, order
function finding(view) {
  const ask = debounce(value => view.change({ search: value }), SEARCH_MS);
  const search = h("input.search", { type: "search", placeholder: "search outputs  /", "aria-label": "Search outputs",
    oninput: () => ask(search.value) });
  search.addEventListener("keydown", event => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    view.table.focus();
  });
  const show = barPicker("Show", value => view.change({ filters: { ...view.state.spec.filters, show: value } }));
  const order = change => view.change({ sort: { ...view.state.spec.sort, ...change } });
  const sort = barPicker("Sort", by => order({ by, descending: null }));
  const isDescending = ({ by, descending }) => descending ?? !ASCENDING.has(by);
  const way = h("button.quiet", { onclick: () => order({ descending: !isDescending(view.state.spec.sort) }) });
  const chips = h("span.chips"), rows = h("span.push.muted");
  const hidden = h("button.quiet", { onclick: () => view.change({ hidden: [] }, { keepScroll: true }) });
  let drawn = null;
  const element = h("div.bar", {}, search, show.element, sort.element, way, chips, rows, hidden);
  const update = () => {
    const { spec, rows: left, rows_in_all: all } = view.state, { by, column } = spec.sort;
    const isDown = isDescending(spec.sort);
    if (search.getRootNode().activeElement !== search) search.value = spec.search ?? "";
    show.set(Object.entries(SHOWN), spec.filters?.show ?? "all");
    sort.set(Object.entries(SORTS), by);
    way.textContent = isDown ? "↓" : "↑";
    way.setAttribute("aria-label", `${isDown ? "Largest" : "Smallest"} first; sort the other way`);
    if (drawn !== view.state) { // not at each push of a live run: a chip may have the focus
      drawn = view.state;
      chips.replaceChildren(...filterChips(view));
      if (column) chips.append(chipButton(`by ${column.map(shownValue).join(" · ")}`, () => order({ column: null })));
    }
    rows.textContent = left === all ? counted(all, "row") : `${count(left)} of ${counted(all, "row")}`;
    hidden.hidden = !spec.hidden?.length;
    hidden.textContent = `${count(spec.hidden?.length)} hidden, show`;
    hidden.title = `show ${counted(spec.hidden?.length, "hidden column")}`;
  };
  return { element, update, search, sort: sort.select };
}

const chipButton = (text, onclick) =>
  h("button.chip", { onclick, "aria-label": `Remove ${text}` }, text, h("span", { "aria-hidden": "true" }, "✕"));

function filterChips(view) {
  const filters = view.state.spec.filters ?? {}, chips = [];
  const drop = change => view.change({ filters: { ...filters, ...change } });
  const without = (of, name) => Object.fromEntries(Object.entries(of).filter(([key]) => key !== name));
  const add = (parts, change) => chips.push(chipButton(parts.filter(Boolean).join(" "), () => drop(change)));
  for (const [name, values] of Object.entries(filters.values ?? {})) {
    add([name, values.map(shownValue).join(", ")], { values: without(filters.values, name) });
  }
  for (const name of ["status", "finish_reason", "flags", "ratings"]) {
    const chosen = filters[name] ?? [];
    const shown = name === "ratings" ? ratingName : value => value === null ? "none" : shownFacet(name, value);
    if (chosen.length) add([name.replace("_", " "), chosen.map(shown).join(", ")], { [name]: [] });
  }
  for (const [name, [low, high]] of Object.entries(filters.ranges ?? {})) {
    const least = low === null ? "" : `${figureOf(name, low)} ≤`;
    const most = high === null ? "" : `≤ ${figureOf(name, high)}`;
    add([least, FACET_NAMES[name] ?? name, most], { ranges: without(filters.ranges, name) });
  }
  return chips;
}

export function figureOf(name, value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (name.endsWith("_ms")) return milliseconds(value);
  if (name.endsWith("_usd")) return usd(value);
  return Number.isInteger(value) ? count(value) : value.toPrecision(3);
}

// The facets: histograms and counts of the trials that are left; a click filters by one, a second click no longer.
function facetStrip(view) {
  const element = h("div.facets", { role: "group", "aria-label": "Facets" });
  let drawn = null;
  const update = async () => {
    element.hidden = !view.ui.facets;
    if (element.hidden || drawn === view.state) return;
    drawn = view.state;
    const asked = drawn;
    try {
      const { categories, numbers } = await view.panel.call("facets");
      if (asked !== drawn) return;
      element.replaceChildren(...numbers.map(facet => numberFacet(view, facet)),
        ...categories.filter(({ values }) => values.length).map(facet => categoryFacet(view, facet)));
    } catch { drawn = null; }
  };
  return { element, update };
}

const FACET_VALUES = 5;

function facetBox(name, remark, ...content) {
  const title = h("div.facet-name", {}, h("span", {}, FACET_NAMES[name] ?? name), h("span.muted", {}, remark));
  return h("div.facet", {}, title, ...content);
}

const shownFacet = (name, value) => name === "status" ? statusText(value) : shownValue(value);

function categoryFacet(view, { name, filter, values }) {
  const filters = view.state.spec.filters ?? {}, most = Math.max(1, ...values.map(one => one.count));
  const chosen = (filter === "values" ? filters.values?.[name] : filters[filter]) ?? [];
  const isSame = one => other => JSON.stringify(one) === JSON.stringify(other);
  const isChosen = value => chosen.some(isSame(value));
  const toggle = value => {
    const next = isChosen(value) ? chosen.filter(one => !isSame(value)(one)) : [...chosen, value];
    const all = { ...filters.values, [name]: next };
    if (!next.length) delete all[name];
    view.change({ filters: { ...filters, ...(filter === "values" ? { values: all } : { [filter]: next }) } });
  };
  const shown = filter === "ratings" ? ratingName : value => shownFacet(name, value);
  const bar = ({ value, count: n }) => h("button.facet-value", {
    onclick: () => toggle(value), "aria-pressed": String(isChosen(value)),
    style: { backgroundSize: `${100 * n / most}% 100%` },
  }, h("span", { dir: "auto" }, shown(value).slice(0, 60)), h("span.number", {}, count(n)));
  const remark = values.length > FACET_VALUES ? `${FACET_VALUES} of ${values.length}` : "";
  return facetBox(name, remark, ...values.slice(0, FACET_VALUES).map(bar));
}

function numberFacet(view, { name, low, high, unknown, counts }) {
  const filters = view.state.spec.filters ?? {}, range = filters.ranges?.[name] ?? null;
  const step = (high - low) / counts.length, most = Math.max(1, ...counts), slack = step / 1e6;
  const isWithin = (from, to) => range !== null && (range[0] ?? from) <= from + slack && (range[1] ?? to) >= to - slack;
  // Shift widens the range to the bar; without it, the bar is the range.
  const choose = ({ shiftKey }, from, to) => {
    const ranges = { ...filters.ranges };
    if (shiftKey && range) ranges[name] = [Math.min(range[0] ?? from, from), Math.max(range[1] ?? to, to)];
    else if (isWithin(from, to)) delete ranges[name];
    else ranges[name] = [from, to];
    view.change({ filters: { ...filters, ranges } });
  };
  const bars = counts.map((n, place) => {
    const from = low + place * step, to = place === counts.length - 1 ? high : from + step;
    const title = `${figureOf(name, from)} to ${figureOf(name, to)}: ${count(n)}`;
    return h("button.facet-bar", {
      title, "aria-label": `${FACET_NAMES[name] ?? name} ${title}`, "aria-pressed": String(isWithin(from, to)),
      onclick: event => choose(event, from, to),
    }, h("span", { style: { height: `${n ? Math.max(3, 100 * n / most) : 0}%` } }));
  });
  const ends = [low, high].map(value => h("span", {}, figureOf(name, value)));
  const remark = unknown ? `${count(unknown)} unknown` : "";
  return facetBox(name, remark, h("div.facet-bars", {}, bars), h("div.facet-ends.muted", {}, ends));
}

// Controls

function barPicker(label, onpick) {
  const select = h("select", { "aria-label": label, onchange: () => onpick(select.value) });
  let known = "";
  return {
    element: h("label", {}, label, select), select,
    set(options, value) {
      const now = JSON.stringify(options);
      if (now !== known) select.replaceChildren(...options.map(([key, text]) => h("option", { value: key }, text)));
      known = now;
      select.value = value ?? "";
    },
  };
}

function barSegments(label, choices, onpick) {
  const button = ([value, text, title]) =>
    h("button", { title, "aria-label": title, onclick: () => onpick(value) }, text);
  const buttons = choices.map(button);
  const mark = (one, value) => one.setAttribute("aria-pressed", String(value));
  return {
    element: h("span.segments", { role: "group", "aria-label": label }, buttons),
    set(value) { buttons.forEach((one, place) => mark(one, choices[place][0] === value)); },
  };
}
