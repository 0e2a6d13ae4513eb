// A seeded generator (mulberry32): the same made-up texts in every run.
export function seeded(seed) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const below = (most) => Math.floor(next() * most);
  const pick = (choices) => choices[below(choices.length)];
  const text = (alphabet, most) => Array.from({ length: below(most + 1) }, () => pick(alphabet)).join("");
  return { next, below, pick, text };
}

// The milliseconds that a call takes, the best of three: a hostile input must not take seconds.
export function milliseconds(call) {
  return Math.min(...[1, 2, 3].map(() => {
    const start = performance.now();
    call();
    return performance.now() - start;
  }));
}
