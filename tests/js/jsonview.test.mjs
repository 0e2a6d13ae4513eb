import assert from "node:assert/strict";
import { test } from "node:test";
import { firstOpen, jsonRows, jsonText, jsonTree } from "../../promptlab/panels/static/jsonview.js";
import { milliseconds, seeded } from "./seeded.mjs";

function madeUp(random, depth) {
  const kind = random.below(depth > 4 ? 5 : 7);
  if (kind < 5) return [random.below(1000) / 8, random.text(["a", '"', "\\", "\n", "é", "\u0007", "😀"], 6), null, true, -1e300][kind];
  const items = Array.from({ length: random.below(5) }, () => madeUp(random, depth + 1));
  return kind === 5 ? items : Object.fromEntries(items.map((item) => [random.text(["k", '"', "1", " "], 3), item]));
}

test("any JSON is read as the browser reads it, and written again the same", () => {
  const random = seeded(5);
  for (let round = 0; round < 500; round++) {
    const value = madeUp(random, 0);
    for (const indent of [0, 2]) {
      const { root } = jsonTree(JSON.stringify(value, null, indent));
      assert.deepEqual(JSON.parse(jsonText(root)), value);
      assert.equal(jsonText(root, 2), JSON.stringify(value, null, 2));
    }
  }
});

test("what the browser refuses is refused, and what it accepts is accepted", () => {
  const random = seeded(6), alphabet = ["{", "}", "[", "]", ":", ",", '"a"', "1", "-", ".5", "e3", "true", " ", "\n", "0", '"', "\\"];
  const isJson = (text) => { try { JSON.parse(text); return true; } catch { return false; } };
  let good = 0;
  for (let round = 0; round < 20000; round++) {
    const text = random.text(alphabet, 8);
    assert.equal(!jsonTree(text).error, isJson(text), JSON.stringify(text));
    good += isJson(text);
  }
  assert.ok(good > 100, `only ${good} texts were JSON`);
});

test("long numbers, repeated keys and the order of keys stay as they were written", () => {
  const text = '{"b":12345678901234567890,"2":1e400,"b":1.50,"__proto__":0}';
  assert.equal(jsonText(jsonTree(text).root), text);
});

for (const [text, line, column, message] of [
  ['{"a": 1,\n "b": }', 2, 7, "} where a value has to stand"],
  ['{"a": 1,}', 1, 9, "} where a key in quotes has to stand"],
  ["[1, 2", 1, 6, "the text ends where , or an end has to stand"],
  ["[1 2]", 1, 4, "2 where , or an end has to stand"],
  ["{'a': 1}", 1, 2, "' where a key in quotes or } has to stand"],
  ['{"a" 1}', 1, 6, "1 where : has to stand"],
  ['["a\nb"]', 1, 2, "a string that is not closed, or holds a wrong escape or a line break"],
  ["Sure! Here is", 1, 1, "S where a value has to stand"],
  ["{} and more", 1, 4, "a where nothing more has to stand"],
  ["", 1, 1, "the text ends where a value has to stand"],
  ['```json\n{"a": tru}\n```', 2, 7, "t where a value has to stand"],
]) {
  test(`${JSON.stringify(text)} breaks at line ${line}, column ${column}`, () => {
    assert.deepEqual(jsonTree(text), { error: { message, line, column } });
  });
}

test("a fence around the whole text is left out", () => {
  assert.equal(jsonText(jsonTree('```json\n{"a": [1]}\n```\n').root), '{"a":[1]}');
});

test("rows are those of the open paths only", () => {
  const { root } = jsonTree('{"a": [1, "x"], "b": {}}');
  const row = (path, depth, key, kind, text, count, isOpen) => ({ path, depth, key, kind, text, count, isOpen });
  assert.deepEqual(jsonRows(root, new Set()), [row("", 0, null, "object", "", 2, false)]);
  assert.deepEqual(jsonRows(root, new Set(["", ".0"])), [
    row("", 0, null, "object", "", 2, true),
    row(".0", 1, "a", "array", "", 2, true),
    row(".0.0", 2, 0, "number", "1", 0, false),
    row(".0.1", 2, 1, "string", '"x"', 0, false),
    row(".1", 1, "b", "object", "", 0, false),
  ]);
});

test("a long list shows its beginning and how many follow", () => {
  const rows = jsonRows(jsonTree(JSON.stringify(Array(1000).fill(0))).root, new Set([""]), 10);
  assert.equal(rows.length, 12);
  assert.deepEqual(rows.at(-1), { path: ".rest", depth: 1, key: null, kind: "rest", text: "", count: 990, isOpen: false });
});

test("at first as many levels are open as fit", () => {
  const { root } = jsonTree('{"a": [1, 2], "b": [1, 2, 3, 4, 5, 6, 7, 8, 9], "c": {"d": {"e": 1}}}');
  assert.deepEqual([...firstOpen(root, 8)], ["", ".0", ".2", ".2.0"]);
});

test("depth and length are no danger", () => {
  const deep = "[".repeat(100_000) + "]".repeat(100_000);
  const long = `{"text": ${JSON.stringify("x\\\n".repeat(200_000))}}`;
  const took = milliseconds(() => {
    assert.equal(jsonText(jsonTree(deep).root), deep);
    assert.equal(jsonTree(long).root.items.length, 1);
    assert.equal(jsonTree("[".repeat(100_000)).error.column, 100_001);
    assert.equal(jsonTree(`"${"a".repeat(100_000)}`).error.column, 1);
    firstOpen(jsonTree(deep).root);
  });
  assert.ok(took < 3000, `${took} ms`);
});
