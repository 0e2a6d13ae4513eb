// How sure a model was of each token. Pure: the logprobs of a reply in, values out.
//
// Understood are the chat form {content: [{token, logprob, bytes, top_logprobs}]}, also of a refusal, its bare list,
// and the form of the older completions {tokens, token_logprobs, top_logprobs}.

export const UNLIKELY = 0.1; // below it a token is underlined
const SURE_STEPS = [0.1, 0.3, 0.6, 0.9]; // five steps of background, the least likely is step 0

// [{text, probability, step, isUnlikely, alternatives: [{text, probability, isChosen}]}], or null without logprobs.
// Tokens that are only together a character are one entry. A probability that is not told is null.
export function tokenList(logprobs) {
  const tokens = chatTokens(logprobs);
  return tokens?.length ? wholeCharacters(tokens).map(entryOf) : null;
}

// exp(-mean logprob): how many tokens the model hesitated between on average; null when it is not told of every token.
export function perplexity(logprobs) {
  const all = (chatTokens(logprobs) ?? []).map((token) => token.logprob);
  if (!all.length || !all.every(Number.isFinite)) return null;
  return Math.exp(-all.reduce((sum, one) => sum + one, 0) / all.length);
}

function chatTokens(logprobs) {
  const content = Array.isArray(logprobs) ? logprobs : logprobs?.content ?? logprobs?.refusal;
  if (Array.isArray(content)) return content.filter((token) => typeof token?.token === "string");
  if (!Array.isArray(logprobs?.tokens)) return null;
  const topOf = (place) => Object.entries(logprobs.top_logprobs?.[place] ?? {});
  return logprobs.tokens.map((token, place) => ({
    token: String(token),
    logprob: logprobs.token_logprobs?.[place] ?? null,
    top_logprobs: topOf(place).map(([text, logprob]) => ({ token: text, logprob })),
  }));
}

// Byte-level tokenizers cut characters apart: such tokens are joined until their bytes are text.
function wholeCharacters(tokens) {
  const found = [];
  let parts = [], bytes = [];
  for (const token of tokens) {
    parts.push(token);
    bytes.push(...(Array.isArray(token.bytes) ? token.bytes : []));
    const isText = !parts.every((part) => Array.isArray(part.bytes)) || decoded(bytes) !== null;
    if (!isText && bytes.length < 8) continue; // no character has more than 4 bytes
    found.push({ parts, bytes });
    parts = [];
    bytes = [];
  }
  if (parts.length) found.push({ parts, bytes });
  return found;
}

function entryOf({ parts, bytes }) {
  const text = (parts.length > 1 ? decoded(bytes) : null) ?? parts.map((part) => part.token).join("");
  const known = parts.every((part) => Number.isFinite(part.logprob));
  const probability = known ? Math.exp(parts.reduce((sum, part) => sum + part.logprob, 0)) : null;
  return {
    text,
    probability,
    step: probability === null ? null : SURE_STEPS.filter((bound) => probability >= bound).length,
    isUnlikely: probability !== null && probability < UNLIKELY,
    alternatives: parts.length > 1 ? [] : alternativesOf(parts[0]),
  };
}

function alternativesOf(token) {
  const top = Array.isArray(token.top_logprobs) ? token.top_logprobs : [];
  return top
    .filter((one) => typeof one?.token === "string" && Number.isFinite(one.logprob))
    .map((one) => ({ text: one.token, probability: Math.exp(one.logprob), isChosen: one.token === token.token }))
    .sort((one, other) => other.probability - one.probability);
}

function decoded(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
  } catch {
    return null;
  }
}
