// The hash chain of a document's history, recomputed.

/** @param {string} hex */
const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));

/**
 * Whether an event's hash is SHA-256 over the hash before it and the event's own bytes, which are those of its JSON
 * without `seq` in front and `hash` at the end. Null: cannot be told here.
 * @param {string} previous hash
 * @param {{hash: string}} event
 * @param {string} text as it came
 * @returns {Promise<boolean | null>}
 */
export async function verify(previous, event, text) {
  const subtle = globalThis.crypto?.subtle;
  if (!subtle || previous.length !== 64) return null;
  const [, body, hash] = /^\{"seq":\d+,(.*),"hash":"([0-9a-f]{64})"\}$/s.exec(text) ?? [];
  if (!body || hash !== event.hash) return false;
  const stored = new TextEncoder().encode(`{${body}}`);
  const input = new Uint8Array(32 + stored.length);
  input.set(bytes(previous));
  input.set(stored, 32);
  const digest = new Uint8Array(await subtle.digest('SHA-256', input));
  return bytes(hash).every((byte, at) => byte === digest[at]);
}
