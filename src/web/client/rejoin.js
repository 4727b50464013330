// The client of Rejoin: live state that survives lost connections, restarts and closed tabs.

import { Rejoin } from './client.js';

export { connectStream } from './paths.js';
export { createErrorRecovery, errorRecovery, RejoinError } from './retry.js';
export { Rejoin };
export { applyPatch, mergePatch } from './patch.js';

/** @type {Rejoin | null} */
let first = null;

/**
 * A server as one caller sees it. Makes no request until it is used.
 * @param {import('./types.js').RejoinOptions} [options]
 */
export function createRejoin(options) {
  const rejoin = new Rejoin(options);
  first ??= rejoin;
  return rejoin;
}

/**
 * Whether a flag of the first server that the page created is on, else of the page's own; false until the flags are
 * loaded.
 * @param {string} name `AI_DELEGATION` or `aiDelegation`
 */
export function isFeatureEnabled(name) {
  first ??= new Rejoin();
  return first.isFeatureEnabled(name);
}
