import assert from "node:assert/strict";
import { test } from "node:test";
import { perplexity, tokenList } from "../../promptlab/panels/static/tokens.js";

const utf8 = (text) => [...new TextEncoder().encode(text)];
const chat = (...pairs) => ({ content: pairs.map(([token, p]) => ({ token, logprob: Math.log(p), bytes: utf8(token), top_logprobs: [] })) });

test("probabilities fall into five steps, the least likely underlined", () => {
  const found = tokenList(chat(["a", 1], ["b", 0.7], ["c", 0.4], ["d", 0.2], ["e", 0.05]));
  assert.deepEqual(found.map(({ text, step, isUnlikely }) => [text, step, isUnlikely]), [
    ["a", 4, false], ["b", 3, false], ["c", 2, false], ["d", 1, false], ["e", 0, true],
  ]);
});

test("alternatives come the likeliest first, with the chosen one marked", () => {
  const top = [{ token: "Rome", logprob: Math.log(0.25) }, { token: "Paris", logprob: Math.log(0.5) }, { token: 7 }];
  const [entry] = tokenList([{ token: "Rome", logprob: Math.log(0.25), bytes: utf8("Rome"), top_logprobs: top }]);
  assert.deepEqual(entry.alternatives.map(({ text, isChosen }) => [text, isChosen]), [["Paris", false], ["Rome", true]]);
  assert.ok(Math.abs(entry.alternatives[0].probability - 0.5) < 1e-12);
});

test("tokens that are only together a character are one", () => {
  const [first, second, third, fourth] = utf8("😀");
  const part = (bytes, token) => ({ token, bytes, logprob: Math.log(0.5), top_logprobs: [] });
  const found = tokenList([part(utf8("a"), "a"), part([first, second], "\\xf0\\x9f"), part([third, fourth], "\\x98\\x80")]);
  assert.deepEqual(found.map((entry) => entry.text), ["a", "😀"]);
  assert.ok(Math.abs(found[1].probability - 0.25) < 1e-12);
});

test("bytes that never become text are shown as the server wrote them", () => {
  const found = tokenList([{ token: "\\xf0", bytes: [240], logprob: 0 }, { token: "a", bytes: utf8("a"), logprob: 0 }]);
  assert.equal(found.map((entry) => entry.text).join(""), "\\xf0a");
});

test("the form of the older completions is read too", () => {
  const found = tokenList({ tokens: ["a", "b"], token_logprobs: [null, Math.log(0.5)], top_logprobs: [null, { b: Math.log(0.5) }] });
  assert.deepEqual(found.map(({ text, step }) => [text, step]), [["a", null], ["b", 2]]);
  assert.equal(found[0].probability, null);
  assert.equal(found[1].alternatives[0].isChosen, true);
});

test("what a model refuses with has tokens too", () => {
  const refusal = { content: null, refusal: [{ token: "No", logprob: 0, bytes: utf8("No"), top_logprobs: [] }] };
  assert.deepEqual(tokenList(refusal).map((entry) => entry.text), ["No"]);
});

test("perplexity is the exponential of the mean", () => {
  assert.ok(Math.abs(perplexity(chat(["a", 0.5], ["b", 0.125])) - 4) < 1e-9);
});

test("a token whose probability is too small for a number still counts", () => {
  const found = perplexity({ content: [{ token: "a", logprob: 0 }, { token: "b", logprob: -800 }] });
  assert.ok(Math.abs(Math.log(found) - 400) < 1e-9);
});

test("without logprobs there is nothing, not zero", () => {
  for (const none of [null, undefined, {}, { content: null }, { content: [] }, [], "x"]) {
    assert.equal(tokenList(none), null);
    assert.equal(perplexity(none), null);
  }
  assert.equal(perplexity({ content: [{ token: "a", logprob: null }] }), null);
});
