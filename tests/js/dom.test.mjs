// Text from outside as pieces, and figures as people read them. (Elements are tested in a browser.)

import assert from "node:assert/strict";
import { test } from "node:test";
import { count, duration, percent, pieces, usd } from "../../promptlab/panels/static/dom.js";

const HIDDEN = [
  ["bidirectional override", "admin\u202egnp.exe", [["text", "admin"], ["hidden", "RLO"], ["text", "gnp.exe"]]],
  ["escape sequence", "\u001b[31mred", [["hidden", "ESC"], ["text", "[31mred"]]],
  ["NUL", "a\u0000b", [["text", "a"], ["hidden", "NUL"], ["text", "b"]]],
  ["zero-width space", "a\u200bb", [["text", "a"], ["hidden", "ZWSP"], ["text", "b"]]],
  ["tag characters", "a\u{e0041}", [["text", "a"], ["hidden", "E0041"]]],
  ["half a surrogate pair", "a\ud800b", [["text", "a"], ["hidden", "D800"], ["text", "b"]]],
  ["lone carriage return", "a\rb", [["text", "a"], ["hidden", "CR"], ["text", "b"]]],
  ["zero-width joiner between letters", "a\u200db", [["text", "a"], ["hidden", "ZWJ"], ["text", "b"]]],
];
for (const [name, text, expected] of HIDDEN) {
  test(`${name} becomes visible`, () => assert.deepEqual(pieces(text), expected));
}

const PLAIN = ["", "two\nlines\tand a tab", "Windows\r\nline", "日本語 עברית العربية", "👩‍👩‍👧 and 🏳️‍🌈", "<b>$5 & $6</b>"];
for (const text of PLAIN) {
  test(`${JSON.stringify(text)} is text as it stands`, () =>
    assert.equal(pieces(text).map(([kind, piece]) => (kind === "text" ? piece : `<${piece}>`)).join(""), text));
}

test("what is unknown is a dash, never 0", () => {
  assert.deepEqual([null, undefined].flatMap(v => [count(v), usd(v), duration(v), percent(v)]), Array(8).fill("–"));
});

test("money keeps two figures that say something", () => {
  assert.deepEqual([0, 0.000123, 0.0045, 0.12, 4.711, 1234.5].map(usd),
    ["$0", "$0.00012", "$0.0045", "$0.12", "$4.71", "$1234.50"]);
});

test("durations change their unit", () => {
  assert.deepEqual([0.0004, 0.82, 2.13, 59.96, 61, 3599.6, 7260].map(duration),
    ["0 ms", "820 ms", "2.1 s", "1 min 00 s", "1 min 01 s", "1 h 00 min", "2 h 01 min"]);
});
