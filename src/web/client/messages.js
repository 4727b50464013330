// Messages without history: what people who follow a document tell each other beside its changes. A module of its own,
// so that pages without them do not load it.

/** @typedef {import('./client.js').Rejoin} Rejoin */
/** @typedef {import('./types.js').TransientMessage} TransientMessage */

/**
 * Tells those who follow a document now, this page included. Nothing is repeated: what fails is over.
 * @param {Rejoin} rejoin
 * @param {string} name `collection/id`
 * @param {{type: string, payload?: unknown, to?: string[]}} message `to`: who alone is told, and the document's host
 * @returns {Promise<void>}
 */
export async function sendMessage(rejoin, name, message) {
  await rejoin.requests.send('POST', `/api/v1/${name}/messages`, { body: message });
}

/**
 * Tells of each message of a document from now on, which is followed until the returned function is called.
 * @param {Rejoin} rejoin
 * @param {string} name `collection/id`
 * @param {(message: TransientMessage) => void} fn
 * @returns {() => void}
 */
export function onMessage(rejoin, name, fn) {
  return rejoin.hub.follow(`doc=${name}`, { onEvent: ({ event, data }) => event === 'message' && fn(data) });
}
