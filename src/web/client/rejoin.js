// The client of Rejoin: live state that survives lost connections, restarts and closed tabs.

import { defaultRejoin, Rejoin } from './client.js';

export { connectStream } from './paths.js';
export { createErrorRecovery, errorRecovery, RejoinError } from './retry.js';
export { defaultRejoin, Rejoin };
export { applyPatch, mergePatch } from './patch.js';

/**
 * A server as one caller sees it. Makes no request until it is used.
 * @param {import('./types.js').RejoinOptions} [options]
 */
export const createRejoin = (options) => new Rejoin(options);

/**
 * Whether a flag of the `defaultRejoin()`'s server is on; false until the flags are loaded.
 * @param {string} name `AI_DELEGATION` or `aiDelegation`
 */
export const isFeatureEnabled = (name) => defaultRejoin().isFeatureEnabled(name);
