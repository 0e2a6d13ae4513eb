import assert from "node:assert/strict";
import { test } from "node:test";
import { MOST_EDITS, jsonDiff, lineDiff, shareChanged, wordDiff } from "../../promptlab/panels/static/diff.js";
import { milliseconds, seeded } from "./seeded.mjs";

const side = (pieces, kind) => pieces.filter((piece) => piece[0] !== kind).map((piece) => piece[1]).join("");

test("words that differ stand between words that are kept", () => {
  assert.deepEqual(wordDiff("Your order ships today.", "Your order leaves today."), {
    pieces: [[0, "Your order "], [-1, "ships"], [1, "leaves"], [0, " today."]],
    isCoarse: false,
  });
});

test("neighbouring words that all differ are one change", () => {
  assert.deepEqual(wordDiff("one red fox ran", "one blue dog ran").pieces, [
    [0, "one "], [-1, "red fox"], [1, "blue dog"], [0, " ran"],
  ]);
});

test("a short word between two long changes belongs to them, one between short ones stays", () => {
  assert.deepEqual(wordDiff("Refunds go to the card you paid with", "Thanks for writing to us at once").pieces, [
    [-1, "Refunds go to the card you paid with"], [1, "Thanks for writing to us at once"],
  ]);
  assert.deepEqual(wordDiff("a to b", "c to d").pieces, [[-1, "a"], [1, "c"], [0, " to "], [-1, "b"], [1, "d"]]);
});

test("signs of scripts without spaces are compared one by one", () => {
  assert.deepEqual(wordDiff("東京は雨です", "東京は雪です").pieces, [[0, "東京は"], [-1, "雨"], [1, "雪"], [0, "です"]]);
});

test("equal texts are one kept piece, and two empty ones none", () => {
  assert.deepEqual(wordDiff("same", "same").pieces, [[0, "same"]]);
  assert.deepEqual(wordDiff("", "").pieces, []);
  assert.deepEqual(wordDiff("", "new").pieces, [[1, "new"]]);
});

test("lines are compared whole", () => {
  assert.deepEqual(lineDiff("a\nb\nc", "a\nx\nc"), { pieces: [[0, "a\n"], [-1, "b\n"], [1, "x\n"], [0, "c"]], isCoarse: false });
});

for (const [name, diff] of [["words", wordDiff], ["lines", lineDiff]]) {
  test(`kept and deleted ${name} are the old text, kept and inserted the new one`, () => {
    const random = seeded(7), alphabet = ["a", "b", "the ", " ", "\n", "é", "😀", "\ud800", "\u202e", "日", ",", "x1"];
    for (let round = 0; round < 2000; round++) {
      const before = random.text(alphabet, 40);
      const after = random.below(2) ? random.text(alphabet, 40) : before.replace(/a/g, () => random.pick(alphabet));
      const { pieces } = diff(before, after);
      assert.equal(side(pieces, 1), before);
      assert.equal(side(pieces, -1), after);
      assert.ok(pieces.every((piece, place) => piece[1] && piece[0] !== pieces[place + 1]?.[0]));
    }
  });
}

test("texts too different for words are compared by lines, and it is said", () => {
  const words = (word) => Array.from({ length: MOST_EDITS }, (_, place) => `${word}${place}`).join(" ");
  const { pieces, isCoarse } = wordDiff(`${words("a")}\nkept line\n${words("b")}`, `${words("c")}\nkept line\n${words("d")}`);
  assert.equal(isCoarse, true);
  assert.deepEqual(pieces.map((piece) => piece[0]), [-1, 1, 0, -1, 1]);
  assert.equal(pieces[2][1], "kept line\n");
});

test("a megabyte of unrelated text takes no seconds", () => {
  const random = seeded(3);
  const texts = [1, 2].map(() => Array.from({ length: 150_000 }, () => random.below(99999).toString(36)).join(" "));
  const took = milliseconds(() => assert.equal(wordDiff(...texts).isCoarse, true));
  assert.ok(took < 3000, `${took} ms`);
});

test("paths of JSON that differ, whatever the order of keys and the spelling of numbers", () => {
  const before = '{"a": 1, "b": {"c": [1, 2]}, "d e": "x", "gone": null}';
  const after = '{"d e": "y", "b": {"c": [1, 3, 4]}, "a": 1.0}';
  assert.deepEqual(jsonDiff(before, after), [
    { path: "$.b.c[1]", kind: "changed", before: "2", after: "3" },
    { path: "$.b.c[2]", kind: "added", after: "4" },
    { path: '$["d e"]', kind: "changed", before: '"x"', after: '"y"' },
    { path: "$.gone", kind: "removed", before: "null" },
  ]);
});

test("long numbers that JavaScript would round are told apart", () => {
  assert.deepEqual(jsonDiff("[9007199254740993]", "[9007199254740992]"), [
    { path: "$[0]", kind: "changed", before: "9007199254740993", after: "9007199254740992" },
  ]);
});

test("a text that is not JSON has no JSON diff, and equal JSON an empty one", () => {
  assert.equal(jsonDiff("{}", "no"), null);
  assert.equal(jsonDiff("no", "{}"), null);
  assert.deepEqual(jsonDiff('{"__proto__": 1}', '{"__proto__":1}'), []);
});

test("how much changed goes from nothing to all", () => {
  assert.equal(shareChanged(wordDiff("same", "same").pieces), 0);
  assert.equal(shareChanged(wordDiff("one", "two").pieces), 1);
  assert.equal(shareChanged([]), 0);
  assert.equal(shareChanged([[0, "ab"], [-1, "cd"], [1, "ef"]]), 0.5);
});
