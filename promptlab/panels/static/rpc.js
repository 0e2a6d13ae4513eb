// Questions to the kernel over the widget's channel. Every one is answered, refused, or given up; none hangs for ever.

export const TIMEOUT_MS = 15_000;

// Return {call, on}. `call(op, args)` resolves to the answer; `on(fn)` hears what the kernel tells by itself.
export function connect(model, signal) {
  const open = new Map();
  const listeners = new Set();
  let last = 0;

  const hear = message => {
    if (message.push !== undefined) {
      for (const listener of [...listeners]) listener(message.push);
      return;
    }
    const asked = open.get(message.re);
    if (!asked) return; // given up, or asked by another page
    open.delete(message.re);
    clearTimeout(asked.timer);
    if (message.error !== undefined) asked.reject(new KernelError(message.error)); else asked.resolve(message.answer);
  };
  model.on("msg:custom", hear);
  signal?.addEventListener("abort", () => {
    model.off("msg:custom", hear);
    for (const { reject, timer } of open.values()) { clearTimeout(timer); reject(new Unreachable("the panel is gone")); }
    open.clear();
  });

  const call = (op, args = {}, { timeoutMs = TIMEOUT_MS } = {}) => new Promise((resolve, reject) => {
    const re = `${++last}.${Math.random().toString(36).slice(2, 8)}`; // other pages number theirs too
    const timer = setTimeout(() => {
      open.delete(re);
      reject(new Unreachable(`no answer from the kernel in ${timeoutMs / 1000} s`));
    }, timeoutMs);
    open.set(re, { resolve, reject, timer });
    model.send({ op, re, args });
  });
  const on = listener => { listeners.add(listener); return () => listeners.delete(listener); };
  return { call, on };
}

// The kernel said no; the message is for the person at the panel.
export class KernelError extends Error {}

// The kernel said nothing.
export class Unreachable extends Error {}

// Hand on only the newest of several questions: an answer that a newer question has overtaken is dropped (undefined).
export function newest(call) {
  let generation = 0;
  return async (op, args, options) => {
    const mine = ++generation;
    try {
      const answer = await call(op, args, options);
      return mine === generation ? answer : undefined;
    } catch (error) {
      if (mine === generation) throw error;
      return undefined;
    }
  };
}

// Call `fn` with the newest arguments once nothing was asked for `ms`.
export function debounce(fn, ms) {
  let timer = 0;
  return (...args) => { clearTimeout(timer); timer = setTimeout(() => fn(...args), ms); };
}
