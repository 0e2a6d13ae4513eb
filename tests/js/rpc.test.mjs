// Questions to the kernel: answered, refused, or given up.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, debounce, KernelError, newest, Unreachable } from "../../promptlab/panels/static/rpc.js";

function fakeModel() {
  const listeners = new Set();
  return {
    sent: [],
    on: (_, listener) => listeners.add(listener),
    off: (_, listener) => listeners.delete(listener),
    send(message) { this.sent.push(message); },
    hear(message) { for (const listener of [...listeners]) listener(message); },
    get listeners() { return listeners.size; },
  };
}

test("an answer resolves the question it belongs to", async () => {
  const model = fakeModel(), { call } = connect(model);
  const first = call("page", { start: 0 }), second = call("page", { start: 32 });
  model.hear({ re: model.sent[1].re, answer: "second" });
  model.hear({ re: model.sent[0].re, answer: "first" });
  assert.deepEqual([await first, await second], ["first", "second"]);
  assert.deepEqual(model.sent.map(({ op, args }) => [op, args.start]), [["page", 0], ["page", 32]]);
});

test("a refusal rejects with the kernel's words", async () => {
  const model = fakeModel(), { call } = connect(model);
  const asked = call("rate");
  model.hear({ re: model.sent[0].re, error: "no such output" });
  await assert.rejects(asked, error => error instanceof KernelError && error.message === "no such output");
});

test("silence rejects after the time-out, and a late answer changes nothing", async () => {
  const model = fakeModel(), { call } = connect(model);
  const asked = call("page", {}, { timeoutMs: 5 });
  await assert.rejects(asked, Unreachable);
  model.hear({ re: model.sent[0].re, answer: "late" });
});

test("an answer to another page's question is not ours", async () => {
  const model = fakeModel(), { call } = connect(model);
  const asked = call("page", {}, { timeoutMs: 5 });
  model.hear({ re: "1.other", answer: "theirs" });
  await assert.rejects(asked, Unreachable);
});

test("what the kernel tells by itself reaches every listener until it is taken off", () => {
  const model = fakeModel(), { on } = connect(model), heard = [];
  const off = on(content => heard.push(["a", content.n]));
  on(content => heard.push(["b", content.n]));
  model.hear({ push: { n: 1 } });
  off();
  model.hear({ push: { n: 2 } });
  assert.deepEqual(heard, [["a", 1], ["b", 1], ["b", 2]]);
});

test("a panel that goes takes its listener and its open questions with it", async () => {
  const model = fakeModel(), ending = new AbortController(), { call } = connect(model, ending.signal);
  const asked = call("page");
  ending.abort();
  await assert.rejects(asked, Unreachable);
  assert.equal(model.listeners, 0);
});

test("of several questions only the newest is answered", async () => {
  const answers = [];
  const ask = newest((op, { n }) => new Promise((resolve, reject) => answers.push(n === 2 ? reject : resolve)));
  const asked = [ask("page", { n: 1 }), ask("page", { n: 2 }), ask("page", { n: 3 })];
  answers[2]("third"); answers[1](new Error("overtaken")); answers[0]("first");
  assert.deepEqual(await Promise.all(asked), [undefined, undefined, "third"]);
});

test("the newest question's error is not swallowed", async () => {
  await assert.rejects(newest(() => Promise.reject(new KernelError("no")))("page"), KernelError);
});

test("debounce calls once, with the last arguments", async () => {
  const calls = await new Promise(resolve => {
    const made = [], fn = debounce(value => { made.push(value); setTimeout(() => resolve(made), 5); }, 2);
    fn(1); fn(2); fn(3);
  });
  assert.deepEqual(calls, [3]);
});
