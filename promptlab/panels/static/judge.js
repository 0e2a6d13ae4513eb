// Blind pairwise rating: two texts of one size, four answers, and not a word of where the texts came from.
//
// A vote is saved before the next pair is drawn: the kernel's answer to it brings that pair along. One that cannot be
// saved waits here, for this panel or for the one that the cell draws when it is run again.

import { copyText, h, percent, putText } from "./dom.js";
import { wordDiff } from "./diff.js";
import { HOME, bindKeys, dialog } from "./keys.js";
import { KernelError } from "./rpc.js";

const VOTE_MS = 8_000, SLOW_MS = 1_000, RETRY_MS = 3_000, SCROLL_PX = 80;
const CHOICES = [["left", "Left is better", "1"], ["tie", "Tie", "3"], ["bad", "Both bad", "4"], ["right", "Right is better", "2"]];
const VOTED = { left: "left is better", right: "right is better", tie: "a tie", bad: "both bad", skip: "skipped" };
const SLOW = "not saved yet: waiting for the kernel";
const WAITING = "not saved yet: the kernel does not answer. The vote is kept in this page and sent when it does"
  + " (after a restart: when the cell is run again); closing or reloading the page loses it";

export function view(panel) {
  // Votes that wait, by session; of the page, since a cell that is run again draws a new panel.
  const waiting = globalThis[Symbol.for("promptlab.votes")] ??= new Map();
  const look = judgeElements({ vote, undo, skip: () => vote("skip"), finish: askToFinish, mark: toggleMarks, showAll });
  const watch = stopwatch(panel.signal);
  let state = panel.first, shownToken, isMarked = false, sawDifferences = false, isBusy = false;

  panel.body.append(look.element);
  scrollTogether(look.left, look.right, panel.signal);

  function apply(next) {
    const isShown = next.pair && next.pair.token === shownToken;
    state = isShown ? { ...next, pair: state.pair } : next; // all of a shown pair may be here
    look.drawHead(state);
    if (state.result) { drawResult(); return; }
    if (isShown) return;
    shownToken = state.pair?.token;
    sawDifferences = isMarked;
    look.drawPair(state, isMarked);
    watch.restart();
  }

  function drawResult() {
    const hadFocus = panel.body.contains(panel.root.getRootNode().activeElement);
    const verdict = verdictView(panel, state);
    panel.body.replaceChildren(verdict);
    if (hadFocus) verdict.focus();
  }

  async function vote(choice, isMuchBetter = false) {
    if (!state.pair || isBusy || isAsking()) return;
    waiting.set(state.session, { token: state.pair.token, choice, strength: isMuchBetter ? 2 : 1, ...look.why(),
      saw_differences: sawDifferences, ms: watch.ms() });
    await sendWaiting();
  }

  async function sendWaiting({ isAgain = false } = {}) {
    const sent = waiting.get(state.session);
    if (!sent || panel.signal.aborted) return;
    busy(true);
    const slow = setTimeout(() => { if (!isAgain) panel.say(SLOW); }, SLOW_MS);
    try {
      const next = await panel.call("cast", sent, { timeoutMs: VOTE_MS });
      waiting.delete(state.session);
      busy(false);
      apply(next);
      const much = sent.strength === 2 && ["left", "right"].includes(sent.choice) ? ", by much" : "";
      panel.say(`saved: ${VOTED[sent.choice]}${much}`);
    } catch (error) {
      if (error instanceof KernelError) { // it said why, and would say so again
        waiting.delete(state.session);
        busy(false);
        panel.hello().then(now => { if (now) apply(now); }); // what it knows better
      } else if (!panel.signal.aborted) {
        panel.say(WAITING, { isError: true });
        setTimeout(() => sendWaiting({ isAgain: true }), RETRY_MS);
      }
    } finally { clearTimeout(slow); }
  }

  async function ask(operation, said) {
    if (isBusy || isAsking()) return;
    busy(true);
    try {
      apply(await panel.call(operation));
      panel.say(said);
    } catch { /* the panel has said why */ } finally { busy(false); }
  }

  function busy(is) {
    isBusy = is;
    panel.root.classList.toggle("sending", is);
  }

  // Whether something stands over the panel: no key votes on a pair behind it.
  const isAsking = () => panel.root.querySelector(":scope > .dialog") !== null;

  function undo() { if (!state.result) ask("take_back", "the last vote is taken back"); }

  function askToFinish() {
    if (state.result || state.gone || isAsking()) return;
    if (state.done >= state.total) { ask("reveal", "finished"); return; }
    const end = () => { box.close(); ask("reveal", "finished"); };
    const box = dialog(panel, "Finish now?",
      h("p", {}, `${state.done} of ${state.total} are judged. The end reveals the variants; no vote can follow.`),
      h("div.bar", {}, h("button.primary", { onclick: end }, "Finish"), h("button", { onclick: () => box.close() }, "Go on")));
    box.element.querySelector(".primary").focus();
  }

  function toggleMarks() {
    if (!state.pair || isAsking()) return;
    isMarked = !isMarked;
    sawDifferences ||= isMarked;
    look.drawTexts(state.pair, isMarked);
    panel.say(isMarked ? "what differs is marked; the vote will say that you saw it" : "nothing is marked");
  }

  async function showAll() {
    const { token } = state.pair;
    try {
      const pair = await panel.call("whole", { token });
      if (state.pair?.token !== token) return;
      state = { ...state, pair };
      look.drawContext(pair, { isWhole: true });
      look.drawTexts(pair, isMarked);
      look.element.focus();
    } catch { /* the panel has said why */ }
  }

  const strong = choice => event => vote(choice, event.shiftKey && event.key.startsWith("Arrow"));
  bindKeys(panel, panel.root, [
    ["1 ArrowLeft", "left is better", strong("left")],
    ["2 ArrowRight", "right is better", strong("right")],
    ["Shift", "with either: much better", () => {}],
    ["3", "a tie", () => vote("tie")],
    ["4", "both are bad", () => vote("bad")],
    ["x", "skip", () => vote("skip")],
    ["u", "take the last vote back", undo],
    ["n", "reasons and a note", () => look.note.focus()],
    ["Space", "mark what differs (is noted with the vote)", toggleMarks],
    ["j ArrowDown", "scroll down", () => look.left.scrollBy(0, SCROLL_PX)],
    ["k ArrowUp", "scroll up", () => look.left.scrollBy(0, -SCROLL_PX)],
    ["f", "finish", askToFinish],
  ]);
  panel.root.addEventListener("keydown", event => shiftedDigit(event, vote), { signal: panel.signal });
  look.note.addEventListener("keydown", event => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    look.element.focus();
  }, { signal: panel.signal });

  panel.on(apply);
  apply(state);
  panel.hello().then(now => { if (now) apply(now); sendWaiting(); });
}

// Shift and a digit is another character, a different one on every keyboard; and some need Shift for the digit itself.
function shiftedDigit(event, vote) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || /^\d$/.test(event.key)) return;
  if (event.composedPath()[0]?.matches?.("input")) return;
  const choice = { Digit1: "left", Digit2: "right", Digit3: "tie", Digit4: "bad" }[event.code];
  if (!choice) return;
  event.preventDefault();
  vote(choice, event.shiftKey);
}

// What is on the screen while votes are cast, made once and filled anew for every pair.
function judgeElements({ vote, undo, skip, finish, mark, showAll }) {
  const criterion = h("b.criterion"), progress = h("span.muted"), meter = h("div.meter-fill");
  const left = textSide("Left"), right = textSide("Right");
  const inputs = h("dl.inputs"), cutNote = h("span.muted");
  const all = h("button.quiet", { onclick: showAll }, "Show all");
  const cut = h("div.bar.cut", { hidden: true }, cutNote, all);
  const system = h("details.system", { hidden: true }, h("summary", {}, "System prompt, the same on both sides"));
  const systemText = h("div.text", { dir: "auto" });
  system.append(systemText);
  const much = h("button.chip", { "aria-pressed": "false", onclick: () => press(much) }, "much better");
  const chips = h("div.chips", { role: "group", "aria-label": "Why" });
  const note = h("input.note", { placeholder: "note", "aria-label": "Note", maxlength: 10000 });
  const marks = h("button.quiet", { "aria-pressed": "false", onclick: mark, title: "is noted with the vote" },
    h("kbd", {}, "space"), "Mark differences");
  const choices = CHOICES.map(([choice, label, key]) => h(`button.choice.choice-${choice}`,
    { onclick: event => vote(choice, (choice === "left" || choice === "right") && (event.shiftKey || isPressed(much))) },
    h("kbd", {}, key), h("span", {}, label)));
  const rating = h("div.rating", {}, inputs, system, h("div.pair", {}, left.side, right.side), cut,
    h("div.choices", { role: "group", "aria-label": "Your verdict" }, choices),
    h("div.bar.why", {}, much, chips, h("label", {}, h("kbd", {}, "n"), note), h("span.push", {}, marks)));
  const whyNone = h("p"), end = h("button.primary", { onclick: finish }, h("kbd", {}, "f"), "Finish and see what came out");
  const allJudged = h("div.all-judged", { hidden: true }, whyNone, end);
  const element = h("div.judging", { tabIndex: 0, [HOME]: true, role: "group", "aria-label": "Blind rating, ? shows the keys" },
    h("div.bar", {}, criterion, h("span.push", {}, progress)),
    h("div.meter", { "aria-hidden": "true" }, meter),
    rating, allJudged,
    h("div.bar.after", {},
      h("button.quiet", { onclick: undo }, h("kbd", {}, "u"), "Undo"),
      h("button.quiet.skip", { onclick: skip }, h("kbd", {}, "x"), "Skip"),
      h("span.muted.push", {}, h("kbd", {}, "⇧"), "much better ", h("kbd", {}, "?"), "keys"),
      h("button.quiet.finish", { onclick: finish }, h("kbd", {}, "f"), "Finish")));

  function drawHead(state) {
    criterion.replaceChildren();
    putText(criterion, state.criterion);
    progress.textContent = `${state.done} of ${state.total} judged${timeLeft(state)}`;
    meter.style.width = `${100 * (state.total ? state.done / state.total : 1)}%`;
    if (!state.pair && rating.contains(element.getRootNode().activeElement)) element.focus();
    rating.hidden = !state.pair;
    allJudged.hidden = !!state.pair;
    whyNone.textContent = state.gone ?? "Everything is judged.";
    end.hidden = !!state.gone;
    for (const button of element.querySelectorAll(".skip, .finish")) button.hidden = !state.pair;
  }

  function drawPair({ pair, reasons }, isMarked) {
    press(much, false);
    note.value = "";
    chips.replaceChildren(...reasons.map(reason => {
      const chip = h("button.chip", { "aria-pressed": "false", onclick: () => press(chip) }, reason);
      return chip;
    }));
    if (!pair) return;
    drawContext(pair);
    drawTexts(pair, isMarked);
    left.text.scrollTop = right.text.scrollTop = 0;
  }

  function drawContext(pair, { isWhole = false } = {}) {
    inputs.hidden = !pair.inputs.length;
    inputs.replaceChildren(...pair.inputs.flatMap(([name, text]) => [h("dt", {}, name), h("dd.text", { dir: "auto" }, text)]));
    system.hidden = pair.system === null;
    systemText.replaceChildren();
    putText(systemText, pair.system ?? "");
    cut.hidden = !pair.is_cut;
    all.hidden = isWhole;
    cutNote.textContent = `Long texts are cut, both answers at the same length.${isWhole ? " judge.pair has all of them." : ""}`;
  }

  // Each side has its own text whole; what the other has not is marked in the same way on both.
  function drawTexts(pair, isMarked) {
    marks.setAttribute("aria-pressed", isMarked);
    const pieces = isMarked ? wordDiff(pair.left, pair.right).pieces : null;
    drawSide(left.text, pair.left, pieces?.filter(([kind]) => kind <= 0));
    drawSide(right.text, pair.right, pieces?.filter(([kind]) => kind >= 0));
  }

  const why = () => ({ note: note.value.trim(),
    reasons: [...chips.children].filter(isPressed).map(chip => chip.textContent) });
  return { element, left: left.text, right: right.text, note, why, drawHead, drawPair, drawContext, drawTexts };
}

function timeLeft({ left_s: seconds, done, total }) {
  if (seconds === null || done >= total) return "";
  return seconds < 60 ? ", less than a minute left" : `, about ${Math.round(seconds / 60)} min left`;
}

function textSide(name) {
  const text = h("div.text.answer", { dir: "auto", tabIndex: 0, role: "region", "aria-label": `${name} answer` });
  return { text, side: h("div.side", {}, h("div.side-name", { "aria-hidden": "true" }, name), text) };
}

function drawSide(element, text, pieces) {
  element.replaceChildren();
  if (!text) element.append(h("span.muted", {}, "(empty)"));
  for (const [kind, piece] of pieces ?? [[0, text]]) {
    if (!kind) { putText(element, piece); continue; }
    const mark = h("mark");
    putText(mark, piece);
    element.append(mark);
  }
}

const isPressed = button => button.getAttribute("aria-pressed") === "true";

function press(button, isOn = !isPressed(button)) {
  button.setAttribute("aria-pressed", isOn);
}

function scrollTogether(one, other, signal) {
  for (const [from, to] of [[one, other], [other, one]]) {
    from.addEventListener("scroll", () => { to.scrollTop = from.scrollTop; }, { passive: true, signal });
  }
}

// The time that a pair was in sight.
function stopwatch(signal) {
  let before = 0, since = performance.now();
  const ms = () => Math.round(before + (document.hidden ? 0 : performance.now() - since));
  const restart = () => { before = 0; since = performance.now(); };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) before += performance.now() - since; else since = performance.now();
  }, { signal });
  return { ms, restart };
}

// After the end

function verdictView(panel, { result, criterion }) {
  const code = "judge.result()\njudge.frame()\njudge.to_jsonl(\"preferences.jsonl\")";
  const copy = h("button", { onclick: () => copyText(code, panel.root).then(() => panel.say("copied")) }, "Copy");
  return h("div.verdict", { tabIndex: 0, [HOME]: true, role: "group", "aria-label": "What came out" },
    h("div.muted", {}, criterion),
    result.rate ? rateView(result) : h("div.rate", {}, result.facts.find(([what]) => what === "result")?.[1] ?? ""),
    h("dl.inputs", {}, result.facts.filter(([what]) => what !== "criterion" && what !== "result")
      .flatMap(([what, said]) => [h("dt", {}, what), h("dd", {}, said)])),
    variantTable(result.rows),
    h("div.bar.code", {}, h("pre", {}, code), h("span.push", {}, copy)));
}

// The share that the preferred one won; of equals, that of the first.
function rateView({ rate: told, labels }) {
  const isFirst = told.estimate >= 0.5, [one, other] = isFirst ? labels : [labels[1], labels[0]];
  const rate = isFirst ? told : { estimate: 1 - told.estimate, low: 1 - told.high, high: 1 - told.low };
  const at = value => `${100 * value}%`;
  return h("div.reveal", {},
    h("div.rate", {}, h("b", {}, percent(rate.estimate)), h("span.muted", {}, " won by "), one,
      h("span.muted", {}, ` against ${other}, ties counting half`)),
    h("div.scale", { role: "img", "aria-label": `95 % interval ${percent(rate.low)} to ${percent(rate.high)}` },
      h("div.scale-line"), h("div.scale-half"),
      h("div.scale-span", { style: { left: at(rate.low), width: at(rate.high - rate.low) } }),
      h("div.scale-dot", { style: { left: at(rate.estimate) } })),
    h("div.scale-ends", {}, h("span", {}, other, " always"), h("span", {}, "even"), h("span", {}, one, " always")),
    h("div.muted", {}, `95 % interval ${percent(rate.low)} to ${percent(rate.high)}`));
}

function variantTable(rows) {
  const most = Math.max(0.1, ...rows.flatMap(row => [Math.abs(row.strength_low ?? 0), Math.abs(row.strength_high ?? 0)]));
  const at = value => `${50 + 50 * value / most}%`;
  const figure = value => value === null ? "–" : value.toFixed(2);
  const numbers = ["wins", "ties", "losses"];
  return h("table.variants", {},
    h("thead", {}, h("tr", {}, ["variant", ...numbers, "win rate", "strength", "with interval"].map(name => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map(row => h("tr", {},
      h("th", { scope: "row" }, row.variant),
      numbers.map(name => h("td.number", {}, String(row[name]))),
      h("td.number", {}, percent(row.win_rate)),
      h("td.number", { title: `${figure(row.strength_low)} to ${figure(row.strength_high)}` }, figure(row.strength)),
      h("td.strength", {}, row.strength === null ? null : h("div.scale", { "aria-hidden": "true" },
        h("div.scale-line"), h("div.scale-half"),
        h("div.scale-span", { style: { left: at(row.strength_low), width: `${50 * (row.strength_high - row.strength_low) / most}%` } }),
        h("div.scale-dot", { style: { left: at(row.strength) } })))))));
}
