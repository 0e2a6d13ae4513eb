// Two versions of a prompt, side by side or in one column, and below them what the change did to the answers.

import { copyText, count, counted, h, putText, usd } from "./dom.js";
import { grid } from "./grid.js";
import { HOME, bindKeys } from "./keys.js";
import { newest } from "./rpc.js";

const NEAR = 2, PAIR_PX = 62, MAX_PAIRS_PX = 400; // unchanged lines shown beside a change
const LAYOUTS = { side: "Side by side", inline: "Inline" };
const TAGS = { s: "span", r: "del", a: "ins" };
const VERDICTS = { changed: ["≠", "changed"], better: ["▲", "better"], worse: ["▼", "worse"], same: ["=", "same"],
  unknown: ["?", "unknown"] };
const CHANGES = { added: "good", removed: "bad" };
const COLOURS = { better: "good", worse: "bad" };

export function view(panel) {
  const get = () => ({ before: panel.first.before, after: panel.first.after, layout: "side", which: null, ...panel.state });
  const ask = newest((op, args) => panel.call(op, args));
  const versions = () => panel.first.versions;
  let diff = panel.first.diff, hunk = -1;

  const choose = patch => panel.set({ which: null, ...patch });
  const swap = () => { const { before, after } = get(); choose({ before: after, after: before }); };

  // Which two: a menu for each side, and walking

  const menus = ["before", "after"].map(side => h("select", { "aria-label": `Version ${side} the change`,
    onchange: event => choose({ [side]: Number(event.target.value) }) }));
  const layouts = Object.entries(LAYOUTS).map(([value, label]) => h("button", { onclick: () => panel.set({ layout: value }) }, label));
  const summary = h("span.muted");
  const place = h("span.muted.place");
  const bar = h("div.bar", {}, menus[0], h("span", { "aria-hidden": "true" }, "→"), menus[1],
    button("[", "earlier", () => walk(-1)), button("]", "later", () => walk(1)), button("s", "Swap", swap),
    h("span.push", {}), layouts, button("p", "↑", () => step(-1), "previous change"), button("n", "↓", () => step(1), "next change"), place);

  function button(key, label, act, name = null) {
    return h("button", { onclick: act, title: `key ${key}`, "aria-label": name }, h("kbd", { "aria-hidden": "true" }, key), label);
  }

  // Go to the next pair of neighbours of the second one's name.
  function walk(by) {
    const { before, after } = get(), last = versions().find(version => version.id === after);
    const line = versions().filter(version => version.name === last.name);
    const at = line.indexOf(last) + by;
    if (at < 0 || at >= line.length) return panel.say(by < 0 ? "this is the first version" : "this is the newest version");
    const previous = line[at - 1] ?? line[at];
    if (previous.id === before && line[at].id === after) return undefined;
    return choose({ before: previous.id, after: line[at].id });
  }

  function drawBar() {
    const { before, after, layout } = get();
    menus.forEach((menu, side) => {
      menu.replaceChildren(...versions().map(version => h("option", { value: version.id }, version.label)));
      menu.value = [before, after][side];
      const chosen = versions().find(version => version.id === [before, after][side]);
      menu.title = chosen ? `first asked ${chosen.created_at.slice(0, 10)}, ${counted(chosen.runs, "run")}, ${counted(chosen.answers, "answer")}` : "";
    });
    layouts.forEach((each, at) => each.setAttribute("aria-pressed", Object.keys(LAYOUTS)[at] === layout));
  }

  // The text

  const text = h("div.versions-text", { tabIndex: 0, [HOME]: true, role: "region", "aria-label": "The two prompts" });

  function drawText() {
    const { layout, before, after } = get(), isSide = layout === "side";
    const label = id => versions().find(version => version.id === id)?.label ?? "";
    text.classList.toggle("side", isSide);
    hunk = -1;
    if (!diff) { text.replaceChildren(h("p.muted", {}, "loading…")); return; }
    const heads = isSide ? [label(before), label(after)] : [`${label(before)} → ${label(after)}`];
    text.replaceChildren(h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, h("span.visually-hidden", {}, "message")),
      heads.map(head => h("th", { scope: "col" }, head)))),
    diff.messages.map(message => drawMessage(message, isSide))));
    summary.replaceChildren();
    putText(summary, diff.summary);
    drawPlace();
  }

  function drawMessage(message, isSide) {
    const rows = [];
    let isIn = false;
    for (const item of withGaps(message)) {
      const role = rows.length ? h("td.role") : h("th.role", { scope: "row" }, message.role,
        CHANGES[message.change] && h(`span.chip.${CHANGES[message.change]}`, {}, message.change));
      if (item.gap) {
        isIn = false;
        rows.push(h("tr.gap", {}, role, h("td", { colspan: isSide ? 2 : 1 }, h("button.quiet", { onclick: event => fold(event, item.gap, isSide) },
          `${counted(item.gap.length, "line")} the same`))));
        continue;
      }
      const row = drawLine(item.line, isSide, role);
      if (item.isChanged && !isIn) row.classList.add("hunk");
      if (item.isChanged) row.classList.add("changed");
      isIn = item.isChanged;
      rows.push(row);
    }
    return h(`tbody.${message.change}`, {}, rows);
  }

  function fold(event, lines, isSide) {
    const row = event.target.closest("tr"), role = row.firstElementChild;
    row.replaceWith(...lines.map((line, at) => drawLine(line, isSide, at ? h("td.role") : role)));
  }

  function drawLine([before, after], isSide, role) {
    if (isSide) return h("tr", {}, role, [before, after].map(side => h(side ? "td.said" : "td.said.none", {}, drawPieces(side ?? []))));
    return h("tr", {}, role, h("td.said", {}, drawPieces(bothSides(before ?? [], after ?? []))));
  }

  const drawPieces = pieces => h("div.text", { dir: "auto" }, pieces.map(([kind, piece, isSlot]) =>
    h(TAGS[kind], {}, isSlot ? h("span.slot", {}, piece) : piece)));

  const hunks = () => [...text.querySelectorAll("tr.hunk")];
  function step(by) {
    const all = hunks();
    if (!all.length) return panel.say("the messages are the same");
    hunk = (Math.max(hunk, by < 0 ? 0 : -1) + by + all.length) % all.length;
    all.forEach((row, at) => row.classList.toggle("here", at === hunk));
    all[hunk].scrollIntoView({ block: "nearest" });
    drawPlace();
    return panel.say(`change ${hunk + 1} of ${all.length}`);
  }
  function drawPlace() {
    const all = hunks();
    place.replaceChildren(all.length ? `${hunk + 1 || "–"}/${all.length}` : "no change");
  }

  // Variables and parameters

  const facts = h("div.facts");
  function drawFacts() {
    if (!diff) { facts.replaceChildren(); return; }
    const { kept, added, removed, renamed } = diff.variables;
    const chips = [
      ...renamed.map(([old, now]) => h("span.chip.warn", {}, h("del", {}, old), " → ", h("ins", {}, now))),
      ...added.map(name => h("span.chip.good", {}, "+ ", h("ins", {}, name))),
      ...removed.map(name => h("span.chip.bad", {}, "− ", h("del", {}, name))),
      ...kept.map(name => h("span.chip", {}, name)),
    ];
    const parameters = diff.parameters.map(each => each.changed
      ? h("span.chip", {}, `${each.name} `, h("del", {}, each.before), " → ", h("ins", {}, each.after))
      : h("span.chip.muted", {}, `${each.name} ${each.after}`));
    facts.replaceChildren(
      fact("variables", chips.length ? chips : h("span.muted", {}, "none")),
      fact("asked with", parameters.length ? parameters : h("span.muted", {}, "no run has asked either")),
      fact("in all", summary));
  }
  const fact = (name, ...content) => h("div.fact", {}, h("span.name.muted", {}, name), h("span.chips", {}, ...content));

  // The effect, and the answers behind it

  const effect = h("div.effect");
  function drawEffect() {
    const { which } = get(), found = diff?.effect;
    if (!found) { effect.replaceChildren(); return; }
    if (!found.shared) {
      effect.replaceChildren(h("b", {}, "Effect"), h("span.muted", {}, " no case was answered by both with the same settings"));
      return;
    }
    const measured = found.prompt_tokens ? `${signed(found.prompt_tokens.toFixed(1))} prompt tokens`
      + (found.cost_usd ? `, ${found.cost_usd > 0 ? "+" : "−"}${usd(Math.abs(found.cost_usd))}` : "") + " a request, as counted" : "";
    const isShown = name => name === "changed" || (found[name] && (name !== "unknown" || found.by.length));
    effect.replaceChildren(h("b", {}, `Effect on ${counted(found.shared, "shared answer")}`),
      h("span.muted", {}, ` (${found.basis})`),
      ...Object.entries(VERDICTS).filter(([name]) => isShown(name)).map(([name, [glyph, label]]) =>
        h(`button.${COLOURS[name] ?? "plain"}`, { "aria-pressed": which === name, disabled: !found[name],
          onclick: () => panel.set({ which: which === name ? null : name }) },
        h("span", { "aria-hidden": "true" }, glyph), ` ${count(found[name])} ${label}`)),
      h("span.muted", {}, found.by.length ? `by ${found.by.join(", ")}` : "nothing was scored or rated"),
      h("span.muted.push", {}, measured));
  }
  const signed = number => number.startsWith("-") ? `−${number.slice(1)}` : `+${number}`;

  const holder = h("div.pairs", { hidden: true });
  async function drawPairs() {
    const { which, before, after } = get();
    if (!which || !diff) { holder.hidden = true; holder.replaceChildren(); return; }
    const load = (start, n) => panel.call("pairs", { before, after, which, start, n });
    const first = await load(0, 32).catch(() => null);
    if (!first || get().which !== which) return;
    holder.hidden = false;
    const room = Math.max(700, holder.clientWidth - 2 || panel.body.clientWidth - 2);
    const widths = [44, Math.round((room - 144) * 0.26), Math.round((room - 144) * 0.37), Math.round((room - 144) * 0.37), 100];
    const label = id => versions().find(version => version.id === id)?.label ?? "";
    const heads = ["", "case", label(before), label(after), "value"];
    const pairs = grid(panel, {
      label: `Answers that are ${which}`, columns: widths.map(width => ({ width })), count: first.count, rows: first.rows, rowHeight: PAIR_PX,
      drawHead: cells => cells.forEach((cell, at) => cell.replaceChildren(heads[at] || h("span.visually-hidden", {}, "verdict"))),
      drawRow: drawPair, load: async (start, n) => (await load(start, n)).rows,
    });
    pairs.element.style.height = `${Math.min(MAX_PAIRS_PX, first.count * PAIR_PX + 34)}px`;
    holder.replaceChildren(pairs.element);
    bindKeys(panel, pairs.element, [...pairs.keys.filter(([names]) => !/[[\]]/.test(names)),
      ["Escape", "", () => { panel.set({ which: null }); text.focus(); }]]);
    pairs.focus();
  }

  function drawPair([verdict, name, before, after, value], row) {
    for (const cell of [verdict, name, before, after, value]) cell.replaceChildren();
    if (!row) return;
    const [glyph, label] = VERDICTS[row.verdict];
    verdict.append(h(`span.${COLOURS[row.verdict] ?? "muted"}`, { title: label }, h("span", { "aria-hidden": "true" }, glyph),
      h("span.visually-hidden", {}, label)));
    name.append(h("div.clamp", { dir: "auto" }, row.case), h("div.muted.small", {}, row.setting));
    for (const [cell, text] of [[before, row.before], [after, row.after]]) {
      cell.append(text === null ? h("i.muted", {}, "no text") : h("div.clamp", { dir: "auto", title: "" }, text));
    }
    const { pair } = row;
    value.append(pair.by === null ? "" : h("div", {}, `${figure(pair.before_value)} → ${figure(pair.after_value)}`), h("div.muted.small", {}, pair.by ?? ""));
  }
  const figure = number => number === null ? "–" : String(Number(number.toPrecision(3)));

  async function load() {
    const { before, after } = get();
    if (diff && diff.before === before && diff.after === after) return drawAll();
    drawBar();
    const found = await ask("diff", { before, after }).catch(() => undefined);
    if (!found) return undefined;
    diff = found;
    panel.say("");
    return drawAll();
  }

  function drawAll() { drawBar(); drawText(); drawFacts(); drawEffect(); drawPairs(); }

  async function copyCode() {
    if (!diff) return;
    await copyText(diff.code, panel.root);
    panel.say(`copied ${diff.code}`);
  }

  bindKeys(panel, panel.body, [
    ["n", "next change", () => step(1)],
    ["p", "previous change", () => step(-1)],
    ["]", "later versions", () => walk(1)],
    ["[", "earlier versions", () => walk(-1)],
    ["s", "swap the two", swap],
    ["i", "side by side, or inline", () => panel.set({ layout: get().layout === "side" ? "inline" : "side" })],
    ["Enter", "the answers that changed", () => { if (diff?.effect.changed) panel.set({ which: get().which ? null : "changed" }); }],
    ["y", "copy the code of this", copyCode],
  ]);

  panel.watch(patch => {
    if (patch === null || "before" in patch || "after" in patch) load();
    else if ("layout" in patch) { drawBar(); drawText(); }
    else if ("which" in patch) { drawEffect(); drawPairs(); }
  });
  panel.body.append(bar, text, facts, effect, holder);
  load();
}

// The lines near a change; those far from one are gaps. A message that is the same is one gap.
function withGaps({ lines, change }) {
  const isChanged = lines.map(([before, after]) => !before || !after || [...before, ...after].some(([kind]) => kind !== "s"));
  const isNear = (at) => change !== "same" && isChanged.slice(Math.max(0, at - NEAR), at + NEAR + 1).some(Boolean);
  const items = [];
  lines.forEach((line, at) => {
    if (isNear(at) || (change === "same" && lines.length <= NEAR)) items.push({ line, isChanged: isChanged[at] });
    else if (items.at(-1)?.gap) items.at(-1).gap.push(line);
    else items.push({ gap: [line] });
  });
  return items;
}

// Two lines as one: what was removed before what was added.
function bothSides(before, after) {
  const old = [...before], now = [...after], found = [];
  while (old.length || now.length) {
    if (old[0]?.[0] === "r") found.push(old.shift());
    else if (now[0]?.[0] === "a") found.push(now.shift());
    else { found.push(old[0] ?? now[0]); old.shift(); now.shift(); }
  }
  return found;
}
