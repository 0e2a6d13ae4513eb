// A grid of any number of rows of one height: only the rows and columns in sight are in the page. One element has the
// focus, and says by aria-activedescendant which cell is meant.

import { h } from "./dom.js";

export const BLOCK = 32; // rows asked for at once
const KEPT_BLOCKS = 30, OVERSCAN = 2, OVERSCAN_COLUMNS = 1;
const FIRST_COLUMNS = 6; // while the grid has no width yet
const MAX_PX = 15_000_000; // browsers draw no taller element (Chromium 33 M, Firefox 17 M); beyond it the scrollbar is scaled
let grids = 0;

// options:
//   label           name for screen readers
//   columns         [{width, label}], the first is the row's head and stays in sight
//   count           number of rows;  rowHeight in px
//   load(start, n)  -> Promise of n rows, any objects
//   drawHead(elements)                 fill the heads of the columns
//   drawRow(elements, row, index)      fill the cells of a row; `row` is undefined until it is loaded
//                                      an element without a parent is out of sight, and need not be filled
//   onMove(row, column)                the cursor moved
// returns {element, cursor, row(i), move(row, column), refresh(), replace(i, row), reset({...options}), destroy}
export function grid(panel, options) {
  let { columns, count, rowHeight } = options;
  const id = `g${++grids}`;
  const cursor = { row: 0, column: 1 };
  let blocks = new Map(), asked = new Set(), generation = 0;
  let live = new Map(), pool = [];
  let lastFirst = 0; // the first row in the page at the last draw
  let sight = [1, 1]; // the columns in the page: the first and the one after the last

  const head = h("div.grid-head", { role: "row", "aria-rowindex": 1 });
  const space = h("div.grid-rows", { role: "rowgroup" });
  const element = h("div.grid", { role: "grid", "aria-label": options.label, tabIndex: 0 },
    h("div.grid-top", { role: "rowgroup" }, head), space);

  const total = () => count * rowHeight;
  const shownHeight = () => Math.min(total(), MAX_PX);
  const headHeight = () => head.offsetHeight;
  const viewHeight = () => Math.max(0, element.clientHeight - headHeight());
  // The top of what is in sight, in px of all rows; the same as scrollTop unless the scrollbar is scaled.
  const scale = () => Math.max(1, (total() - viewHeight()) / Math.max(1, shownHeight() - viewHeight()));
  const topPx = () => element.scrollTop * scale();
  const width = () => columns.reduce((sum, column) => sum + column.width, 0);

  const leftOf = place => columns.slice(1, place).reduce((sum, column) => sum + column.width, 0);

  function columnsInSight(overscan) {
    if (!element.clientWidth) return [1, Math.min(columns.length, FIRST_COLUMNS)];
    const left = element.scrollLeft, right = left + element.clientWidth - columns[0].width;
    let first = 1, end = 1, edge = 0;
    for (let place = 1; place < columns.length; place++) {
      if (edge < right) end = place + 1;
      edge += columns[place].width;
      if (edge <= left) first = place + 1;
    }
    return [Math.max(1, first - overscan), Math.min(columns.length, end + overscan)];
  }

  // Take over what is in sight now; return whether that was not all in the page.
  function look() {
    const [first, end] = columnsInSight(0);
    if (first >= sight[0] && end <= sight[1]) return false;
    sight = columnsInSight(OVERSCAN_COLUMNS);
    return true;
  }

  function arrange(line, cells) {
    const shown = [cells[0], ...cells.slice(...sight)];
    if (shown.length === line.children.length && shown.at(-1) === line.lastChild) return;
    line.replaceChildren(...shown);
    cells.forEach((cell, place) => { cell.style.marginLeft = place === sight[0] ? `${leftOf(place)}px` : ""; });
  }

  function drawHeads() {
    const heads = columns.map((column, place) => h(place ? "div.head-cell" : "div.row-head",
      { role: "columnheader", "aria-colindex": place + 1, style: { width: `${column.width}px` } }));
    arrange(head, heads);
    head.style.width = space.style.width = `${width()}px`;
    space.style.height = `${shownHeight()}px`;
    element.setAttribute("aria-rowcount", count + 1);
    element.setAttribute("aria-colcount", columns.length);
    options.drawHead(heads);
  }

  function newRow() {
    const row = h("div.grid-row", { role: "row", style: { height: `${rowHeight}px`, width: `${width()}px` } });
    const cells = columns.map((column, place) => h(place ? "div.cell" : "div.row-head",
      { role: place ? "gridcell" : "rowheader", "aria-colindex": place + 1, style: { width: `${column.width}px` } }));
    space.append(row);
    return { row, cells };
  }

  async function loadBlock(number) {
    if (blocks.has(number) || asked.has(number)) return;
    asked.add(number);
    const mine = generation;
    try {
      const rows = await options.load(number * BLOCK, BLOCK);
      if (mine !== generation) return;
      blocks.delete(number);
      blocks.set(number, rows);
      forgetFarBlocks();
      draw(new Set([number]));
    } catch { /* the panel has said why; scrolling on asks again */ } finally {
      if (mine === generation) asked.delete(number);
    }
  }

  function forgetFarBlocks() {
    const here = Math.floor(topPx() / rowHeight / BLOCK);
    const far = [...blocks.keys()].sort((a, b) => Math.abs(b - here) - Math.abs(a - here));
    while (blocks.size > KEPT_BLOCKS) blocks.delete(far.shift());
  }

  const rowAt = index => blocks.get(Math.floor(index / BLOCK))?.[index % BLOCK];

  function paint(entry, index) {
    const data = rowAt(index);
    entry.index = index;
    entry.data = data;
    arrange(entry.row, entry.cells);
    entry.row.setAttribute("aria-rowindex", index + 2);
    entry.row.classList.toggle("waiting", data === undefined);
    options.drawRow(entry.cells, data, index);
    if (!entry.cells[0].hasChildNodes()) entry.cells[0].textContent = "…"; // a row's head always has a name
    entry.cells.forEach((cell, place) => { cell.id = `${id}-${index}-${place}`; });
  }

  function place(entry) {
    entry.row.style.transform = `translateY(${entry.index * rowHeight - topPx() + element.scrollTop}px)`;
    entry.cells.forEach((cell, column) => {
      const isHere = entry.index === cursor.row && column === cursor.column;
      cell.classList.toggle("current", isHere);
      if (column) cell.setAttribute("aria-selected", isHere);
    });
  }

  // `changed`: the blocks that came in, or true for all of them.
  function draw(changed = new Set(), { isScrolled = false } = {}) {
    if (look()) { drawHeads(); changed = true; }
    const first = Math.max(0, Math.floor(topPx() / rowHeight) - OVERSCAN);
    const end = Math.min(count, Math.ceil((topPx() + viewHeight()) / rowHeight) + OVERSCAN);
    for (const [index, entry] of live) if (index < first || index >= end) { live.delete(index); pool.push(entry); }
    for (let index = first; index < end; index++) {
      const number = Math.floor(index / BLOCK);
      if (!blocks.has(number)) loadBlock(number);
      let entry = live.get(index);
      const isNew = !entry;
      if (isNew) {
        entry = pool.pop() ?? newRow();
        entry.row.hidden = false;
        live.set(index, entry);
      }
      if (isNew || changed === true || changed.has(number)) paint(entry, index);
      place(entry);
    }
    for (const entry of pool) entry.row.hidden = true;
    const isJump = Math.abs(first - lastFirst) >= BLOCK; // then what is in sight comes first
    if (isScrolled && !isJump) prefetch(first, end);
    lastFirst = first;
    if (count) element.setAttribute("aria-activedescendant", `${id}-${cursor.row}-${cursor.column}`);
    else element.removeAttribute("aria-activedescendant");
  }

  function prefetch(first, end) {
    const next = Math.floor((end + BLOCK / 2) / BLOCK), before = Math.floor((first - BLOCK / 2) / BLOCK);
    if (next * BLOCK < count) loadBlock(next);
    if (before >= 0) loadBlock(before);
  }

  let frame = 0;
  const drawNow = () => { frame = 0; draw(new Set(), { isScrolled: true }); };
  const drawSoon = () => { frame ||= requestAnimationFrame(drawNow); };
  element.addEventListener("scroll", drawSoon, { passive: true, signal: panel.signal });
  const sizes = new ResizeObserver(drawSoon);
  sizes.observe(element);
  panel.signal.addEventListener("abort", () => { sizes.disconnect(); cancelAnimationFrame(frame); });

  function scrollToCursor() {
    const top = cursor.row * rowHeight, view = viewHeight();
    if (top < topPx()) element.scrollTop = top / scale();
    else if (top + rowHeight > topPx() + view) element.scrollTop = (top + rowHeight - view) / scale();
    const left = leftOf(cursor.column);
    const right = left + columns[cursor.column].width, room = element.clientWidth - columns[0].width;
    if (left < element.scrollLeft || right - left > room) element.scrollLeft = left; // a text is read from its left edge
    else if (right > element.scrollLeft + room) element.scrollLeft = right - room;
  }

  // Move the cursor, as far as there are rows and columns, and scroll it into sight.
  function move(row, column = cursor.column, { scroll = true } = {}) {
    cursor.row = Math.max(0, Math.min(count - 1, row));
    cursor.column = Math.max(Math.min(1, columns.length - 1), Math.min(columns.length - 1, column));
    if (scroll) scrollToCursor();
    draw();
    options.onMove?.(cursor.row, cursor.column);
  }

  element.addEventListener("mousedown", event => {
    const cell = event.target.closest(".cell, .row-head"), row = cell?.closest(".grid-row");
    if (!row || event.target.closest("button, input, a")) return;
    const index = Number(row.getAttribute("aria-rowindex")) - 2;
    move(index, Math.max(1, Number(cell.getAttribute("aria-colindex")) - 1), { scroll: false });
    element.focus({ preventScroll: true });
  }, { signal: panel.signal });

  const page = () => Math.max(1, Math.floor(viewHeight() / rowHeight) - 1);
  // For bindKeys: the keys that move.
  const keys = [
    ["j ArrowDown", "next row", () => move(cursor.row + 1)],
    ["k ArrowUp", "previous row", () => move(cursor.row - 1)],
    ["l ArrowRight", "next column", () => move(cursor.row, cursor.column + 1)],
    ["h ArrowLeft", "previous column", () => move(cursor.row, cursor.column - 1)],
    ["PageDown ]", "a page down", () => move(cursor.row + page())],
    ["PageUp [", "a page up", () => move(cursor.row - page())],
    ["g Home", "first row", () => move(0)],
    ["G End", "last row", () => move(count - 1)],
  ];

  // Take over other columns, counts or heights, and forget what was loaded; `rows` are the first rows, if known.
  function reset({ rows = [], keepScroll = false, ...changes } = {}) {
    const hasOtherCells = "columns" in changes || "rowHeight" in changes;
    ({ columns, count, rowHeight } = { columns, count, rowHeight, ...changes });
    generation += 1;
    blocks = new Map();
    asked = new Set();
    for (let start = 0; start < rows.length; start += BLOCK) {
      const some = rows.slice(start, start + BLOCK);
      if (some.length === BLOCK || start + some.length === count) blocks.set(start / BLOCK, some);
    }
    if (hasOtherCells) {
      space.replaceChildren();
      live = new Map();
      pool = [];
      sight = columnsInSight(OVERSCAN_COLUMNS);
    }
    if (!keepScroll) { element.scrollTop = 0; cursor.row = 0; }
    cursor.row = Math.max(0, Math.min(count - 1, cursor.row));
    cursor.column = Math.min(cursor.column, columns.length - 1);
    drawHeads();
    draw(true);
  }

  // Load again what is in sight, without a flicker: the old rows stay until the new ones are there.
  function reload() {
    generation += 1;
    asked = new Set();
    const inSight = new Set([...live.keys()].map(index => Math.floor(index / BLOCK)));
    const old = blocks;
    blocks = new Map();
    for (const number of inSight) { loadBlock(number); if (old.has(number)) blocks.set(number, old.get(number)); }
  }

  reset({ rows: options.rows ?? [] });
  return {
    element, cursor, keys, move, reset, reload,
    row: rowAt,
    focus: () => element.focus({ preventScroll: true }),
    refresh: () => draw(true),
    redrawHeads: drawHeads,
    replace(index, row) {
      const number = Math.floor(index / BLOCK), block = blocks.get(number);
      if (!block) return;
      block[index % BLOCK] = row;
      const entry = live.get(index);
      if (entry) { paint(entry, index); place(entry); }
    },
    get count() { return count; },
  };
}
