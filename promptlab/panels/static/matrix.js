// The comparison matrix. The kernel holds what is shown (axes, order, filters: the spec); here is how it is looked at.

import { copyText, count, h } from "./dom.js";
import { HOME, bindKeys, dialog } from "./keys.js";
import { debounce, newest } from "./rpc.js";
import { grid } from "./grid.js";
import { tokenList } from "./tokens.js";
import { DENSITIES, matrixColumns, textPx, valuesOf } from "./matrixcells.js";
import { drawMatrixHeads, drawMatrixRow } from "./matrixcells.js";
import { matrixBar } from "./matrixbar.js";
import { matrixDrawer } from "./drawer.js";

const LOOK = { mode: "text", facets: false, isOpen: false, tab: "output" };

export function view(panel) {
  const view = matrixView(panel);
  const bar = matrixBar(view), drawer = matrixDrawer(view), empty = h("div.empty", { hidden: true });
  const room = h("div.room"), caption = h("div.caption.muted");
  panel.body.append(bar.element, room, caption);
  const table = grid(panel, {
    label: "Outputs: a row per case, a column per setting",
    columns: view.layout(room.clientWidth),
    count: view.state.rows,
    rowHeight: view.rowHeight,
    rows: view.state.page?.rows ?? [],
    load: async (start, n) => {
      const rows = view.known(await panel.call("page", { start, n }));
      drawer.rowsCame();
      return rows;
    },
    drawHead: elements => drawMatrixHeads(view, elements),
    drawRow: (cells, row) => drawMatrixRow(view, cells, row),
    onMove: () => view.moved(),
  });
  table.element.setAttribute(HOME, "");
  room.append(table.element, empty, drawer.element);
  Object.assign(view, { table, bar, drawer });

  view.redraw = () => {
    bar.update();
    drawer.update();
    table.refresh();
    room.style.setProperty("--text-px", `${textPx(view.rowHeight)}px`);
    const { rows, caption: text, constants } = view.state;
    empty.hidden = rows > 0;
    empty.textContent = view.state.rows_in_all ? "No row meets the search and the filters." : "Nothing to compare yet.";
    const facts = [text, ...constants.map(([name, value]) => `${name} = ${value}`)];
    caption.replaceChildren(...facts.map(fact => h("span", {}, fact)));
  };
  // Take over a state of the kernel. Another order or choice of rows is shown from its top; else the cursor stays on its
  // row if that is still there.
  view.apply = async (state, { keepScroll = false } = {}) => {
    const key = table.row(table.cursor.row)?.key, isOther = isOtherOrder(view.state.spec, state.spec);
    view.take(state);
    table.reset({ columns: view.layout(room.clientWidth), count: state.rows, rowHeight: view.rowHeight, keepScroll });
    view.redraw();
    panel.say(state.notes.join("; "));
    if (isOther && !keepScroll) { table.move(0); return; }
    if (keepScroll || !key || !state.rows) return;
    const { row } = await panel.call("find", { key });
    if (row !== null && view.state === state) table.move(row);
  };

  bindKeys(panel, table.element, table.keys);
  bindKeys(panel, panel.body, matrixKeys(view));
  panel.on(message => hearKernel(view, message));
  panel.watch(patch => {
    if (!patch || "matrix" in patch) view.redraw();
    if (!patch || "at" in patch) view.goTo(panel.state.at);
  });
  watchWidth(view, room);
  table.element.addEventListener("dblclick", () => drawer.open(), { signal: panel.signal });
  view.redraw();
  // What travelled with the widget is shown at once, and replaced without a flicker when the kernel answers.
  const begin = state => {
    if (state && state.columns.length === view.state.columns.length && state.rows === view.state.rows) {
      view.take(state);
      table.redrawHeads();
      view.redraw();
      table.reload();
    } else if (state) view.apply(state, { keepScroll: true });
    view.goTo(panel.state.at ?? view.state.at);
  };
  panel.hello().then(begin).catch(() => {});
}

const ORDERS = ["sort", "search", "filters"];
const isOtherOrder = (one, other) => ORDERS.some(name => JSON.stringify(one[name]) !== JSON.stringify(other[name]));

// What the parts of the panel share: the kernel's state, how it is looked at, and what people did since it was loaded.
function matrixView(panel) {
  const judged = new Map(); // output -> what was judged since the rows were loaded
  const stepped = new Map(); // cell -> {cells, at}: the variant that is looked at
  const picked = new Map(); // cell -> [row, column]
  const tokens = new Map(); // output -> its tokens
  const placeOf = (row, column) => `${row.key} ${column}`;
  const view = {
    panel, state: panel.first, rowHeight: 0, columnWidth: 0, marks: null, number: null, asking: 0,
    // With a baseline differences are shown, until somebody says otherwise.
    get ui() { return { ...LOOK, diff: view.state.spec.baseline ? "words" : null, ...panel.state.matrix }; },
    // Either differences or a way to show outputs: one takes the other's place.
    look(patch) {
      const other = patch.diff ? { mode: LOOK.mode } : "mode" in patch ? { diff: null } : {};
      panel.set({ matrix: { ...panel.state.matrix, ...other, ...patch } });
    },
    layout(widthPx) {
      const columns = matrixColumns(view.state.columns, widthPx);
      view.columnWidth = columns.at(-1).width;
      return columns;
    },
    take(state) {
      view.state = state;
      view.rowHeight = DENSITIES[state.spec.density] ?? DENSITIES.M;
      view.marks = termsPattern(state.terms);
      for (const changes of [judged, stepped, picked]) changes.clear();
    },
    // A page of another version is of another order: ask for the state, and show that.
    known(page) {
      if (page.version !== view.state.version) panel.hello().then(state => state && view.apply(state)).catch(() => {});
      return page.rows;
    },
    cell(row, column) {
      const steps = stepped.get(placeOf(row, column)), cell = steps ? steps.cells[steps.at] : row.cells[column];
      return cell && judged.has(cell.output_id) ? { ...cell, ...judged.get(cell.output_id) } : cell;
    },
    current() {
      const { row, column } = view.table.cursor, data = view.table.row(row);
      return data && column > 0 ? { row: data, column: column - 1, cell: view.cell(data, column - 1) } : null;
    },
    // The text to compare with; undefined where nothing is compared, null where the baseline has no answer.
    baselineText(row, column) {
      if (view.state.spec.baseline?.reference) return view.cell(row, column)?.reference ?? null;
      const head = view.state.columns[column];
      if (head.baseline === null || head.is_baseline || head.baseline === column) return undefined;
      return view.cell(row, head.baseline)?.text ?? null;
    },
    variantPlace(row, column) {
      const steps = stepped.get(placeOf(row, column));
      return steps ? { at: steps.at, of: steps.cells.length } : null;
    },
    stepBack: (row, column) => stepped.delete(placeOf(row, column)),
    isPicked: (row, column) => picked.has(placeOf(row, column)),
    // Logprobs come with the details only; what is in sight is asked for once.
    tokensOf(cell, row, column) {
      if (!cell.has_logprobs) return null;
      if (!tokens.has(cell.output_id)) {
        tokens.set(cell.output_id, "asked");
        panel.call("detail", { row: row.index, column, variant: cell.variant })
          .then(detail => { tokens.set(cell.output_id, tokenList(detail.logprobs)); view.table.refresh(); })
          .catch(() => tokens.delete(cell.output_id));
      }
      return tokens.get(cell.output_id);
    },
    judge(id, fields) {
      judged.set(id, { ...judged.get(id), ...fields });
      view.table.refresh();
      view.drawer.judged(id, fields);
    },
    ...matrixActions(() => view, { stepped, picked, placeOf }),
  };
  view.take(panel.first);
  return view;
}

// What a person can do; each says when it did not work, and takes back what it showed too early.
function matrixActions(the, { stepped, picked, placeOf }) {
  const ask = (op, args) => the().panel.call(op, args);
  const chosen = () => {
    const { row, column } = the().table.cursor;
    return picked.size ? [...picked.values()] : [[row, column - 1]];
  };
  const changeSpec = newest(change => ask("spec", { change }));
  const tell = debounce(() => {
    if (the().state.rows) ask("select", { cells: chosen() }).catch(() => {});
  }, 300);
  const optimistic = async (id, fields, was, send) => {
    the().judge(id, fields);
    try { the().judge(id, await send()); } catch { the().judge(id, was); }
  };
  const shown = () => {
    const view = the(), here = view.current();
    if (view.state.read_only) { view.panel.say(`not saved: ${view.state.read_only}`, { isError: true }); return null; }
    if (here?.cell?.output_id) return here.cell;
    view.panel.say("there is no output in this cell");
    return null;
  };
  return {
    // What this browser changes it hears of twice, as the answer and as told to all; the answer counts.
    async change(change, options) {
      await the().takeAnswer(changeSpec(change), options);
    },
    async takeAnswer(answer, options) {
      const view = the();
      view.asking += 1;
      try {
        const state = await answer;
        if (state) await view.apply(state, options);
      } catch { view.bar.update(); /* the panel has said why; the controls go back */ } finally { view.asking -= 1; }
    },
    setBaseline(place) {
      const { columns, spec } = the().state, head = columns[place];
      if (!head) return undefined;
      const values = valuesOf(spec, head), isIt = JSON.stringify(values) === JSON.stringify(spec.baseline);
      if (!isIt && !the().ui.diff) the().look({ diff: "words" });
      return the().change({ baseline: isIt ? null : values }, { keepScroll: true });
    },
    hide(place) {
      const { columns, spec } = the().state;
      if (columns.length < 2) return the().panel.say("the last column stays");
      return the().change({ hidden: [...(spec.hidden ?? []), columns[place].values] }, { keepScroll: true });
    },
    rate(value, scale) {
      const cell = shown();
      if (!cell) return;
      const id = cell.output_id, was = { rating: cell.rating, scale: cell.scale, raters: cell.raters };
      optimistic(id, { rating: value, scale }, was, () => ask("rate", { output_id: id, value, scale }));
    },
    pin() {
      const cell = shown();
      if (!cell) return;
      const id = cell.output_id, pinned = !cell.pinned;
      optimistic(id, { pinned }, { pinned: cell.pinned }, () => ask("pin", { output_id: id, pinned }));
    },
    note(text) {
      const cell = shown();
      if (!cell || (cell.note ?? "") === text) return;
      const id = cell.output_id;
      optimistic(id, { note: text || null }, { note: cell.note }, () => ask("note", { output_id: id, text }));
    },
    async step(by) {
      const view = the(), here = view.current();
      if (!here?.cell || here.cell.variants < 2) return view.panel.say("all repeats of this cell gave the same answer");
      const place = placeOf(here.row, here.column);
      if (!stepped.has(place)) {
        const { cells } = await ask("variants", { row: here.row.index, column: here.column });
        stepped.set(place, { cells, at: here.cell.variant });
      }
      const steps = stepped.get(place);
      steps.at = (steps.at + by + steps.cells.length) % steps.cells.length;
      view.table.refresh();
      return view.drawer.follow();
    },
    pick() {
      const here = the().current();
      if (!here) return;
      const place = placeOf(here.row, here.column);
      if (!picked.delete(place)) picked.set(place, [here.row.index, here.column]);
      the().table.refresh();
      tell();
    },
    async exportPicked() {
      const { cells, trials } = await ask("select", { cells: chosen() });
      the().panel.say(`cells: ${count(cells)}, trials: ${count(trials)}; in Python they are panel.selection`);
    },
    async copyLink() {
      const { row, column } = the().table.cursor, { code } = await ask("link", { row, column: column - 1 });
      await copyText(code, the().panel.root);
      the().panel.say(`copied: ${code}`);
    },
    sortByColumn() {
      const { spec, columns } = the().state, values = columns[the().table.cursor.column - 1]?.values;
      const isIt = JSON.stringify(spec.sort.column) === JSON.stringify(values);
      return the().change({ sort: { ...spec.sort, column: isIt ? null : values } });
    },
    async refresh() {
      await the().takeAnswer(ask("refresh"));
    },
    // Views of one panel share the cursor; it outlives a reload of the page.
    goTo(at) {
      const { cursor } = the().table;
      if (at && (at[0] !== cursor.row || at[1] !== cursor.column - 1)) the().table.move(at[0], at[1] + 1);
    },
    moved() {
      const { panel, table: { cursor: { row, column } } } = the(), at = [row, column - 1];
      if (String(panel.state.at) !== String(at)) panel.set({ at });
      the().drawer.follow();
      tell();
    },
    saveView() {
      const view = the(), input = h("input", { "aria-label": "Name of the view", placeholder: "name" });
      const save = async event => {
        event.preventDefault();
        if (!input.value.trim()) return;
        const { views } = await ask("save_view", { name: input.value.trim() });
        view.state.views = views.map(one => one.name ?? one);
        view.bar.update();
        view.panel.say(`saved the view ${input.value.trim()}`);
        box.close();
      };
      const form = h("form.bar", { onsubmit: save }, input, h("button.primary", { type: "submit" }, "Save"));
      const box = dialog(view.panel, "Save this view", form);
    },
    async loadView(name) {
      await the().takeAnswer(ask("load_view", { name }));
    },
  };
}

function matrixKeys(view) {
  const toggle = (name, value, none) => () => view.look({ [name]: view.ui[name] === value ? none : value });
  const stars = [1, 2, 3, 4, 5].map(value => [String(value), value === 1 ? "rate with stars, 1 to 5" : "",
    () => view.rate(value, "stars")]);
  return [
    ["Enter", "open the details, then go into them", () => view.drawer.open()],
    ["+ =", "rate as good", () => view.rate(1, "thumbs")],
    ["-", "rate as bad", () => view.rate(-1, "thumbs")],
    ["0", "take the rating back", () => view.rate(null, "thumbs")],
    ...stars,
    ["n", "write a note", () => view.drawer.writeNote()],
    ["p", "pin or unpin", () => view.pin()],
    [",", "previous variant of the repeats", () => view.step(-1)],
    [".", "next variant of the repeats", () => view.step(1)],
    ["b", "compare with this column, or no longer", () => view.setBaseline(view.table.cursor.column - 1)],
    ["d", "show differences or texts", () => view.look({ diff: view.ui.diff ? null : "words" })],
    ["m", "Markdown", toggle("mode", "md", "text")],
    ["J", "JSON", toggle("mode", "json", "text")],
    ["t", "probability of each token", toggle("mode", "tokens", "text")],
    ["/", "search", () => view.bar.focus("search")],
    ["s", "sort", () => view.bar.focus("sort")],
    ["S", "sort by this column alone, or no longer", () => view.sortByColumn()],
    ["f", "facets to filter by", toggle("facets", true, false)],
    ["X", "hide this column", () => view.hide(view.table.cursor.column - 1)],
    ["Space", "pick this cell, or no longer", () => view.pick()],
    ["e", "hand the picked cells to Python", () => view.exportPicked()],
    ["y", "copy Python that opens this cell", () => view.copyLink()],
    ["r", "order and filter anew", () => view.refresh()],
  ];
}

function hearKernel(view, message) {
  if (message.push === "judged") {
    const { push, output_id: id, ...fields } = message;
    view.judge(id, fields);
  } else if (message.push === "state") {
    if (!view.asking && message.version !== view.state.version) view.apply({ ...view.state, ...message });
  } else if (message.push === "cells" && message.version === view.state.version) {
    takeCells(view, message);
  }
}

// Fill in what a live run has answered. After a gap, or when more changed than was told, load what is in sight anew.
function takeCells(view, message) {
  const isWhole = message.whole && (view.number === null || message.number === view.number + 1);
  view.number = message.number;
  for (const [index, column, cell] of message.cells) {
    const row = view.table.row(index);
    if (!row) continue;
    row.cells[column] = cell;
    view.stepBack(row, column);
    view.table.replace(index, row);
    if (index === view.table.cursor.row && column === view.table.cursor.column - 1) view.drawer.follow();
  }
  const { columns, counts, live, stale } = message;
  Object.assign(view.state, { columns, counts, live, stale });
  view.table.redrawHeads();
  view.bar.update();
  if (!isWhole) view.table.reload();
}

// Columns share the width of the page; when that changes, they are laid out anew.
function watchWidth(view, room) {
  let last = room.clientWidth;
  const again = debounce(() => {
    if (Math.abs(room.clientWidth - last) < 8 || !room.clientWidth) return;
    last = room.clientWidth;
    view.table.reset({ columns: view.layout(last), keepScroll: true });
  }, 150);
  const sizes = new ResizeObserver(again);
  sizes.observe(room);
  view.panel.signal.addEventListener("abort", () => sizes.disconnect());
}

const SPECIAL = /[.*+?^${}()|[\]\\]/g;

// Words of the search as a pattern for what the kernel does not mark: Markdown, JSON, details.
function termsPattern(terms) {
  const words = (terms ?? []).map(term => term.replace(/\*$/, "").replace(SPECIAL, "\\$&")).filter(Boolean);
  return words.length ? new RegExp(words.join("|"), "giu") : null;
}
