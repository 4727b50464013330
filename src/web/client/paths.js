// Any stream of the server, shared by the browser's tabs.

import { acquireHub, releaseHub } from './hub.js';
import { fetchPage } from './polling.js';
import { seqOf } from './sse.js';

/** @typedef {import('./types.js').StreamEvent} StreamEvent */

/** After the present state could not be fetched, in milliseconds. */
const AGAIN_MS = 2_000;

/**
 * Follows a stream. Whoever joins one that another tab has open is told the present state first.
 * @param {string} path
 * @param {import('./types.js').StreamOptions & {url?: string}} options
 * @returns {import('./types.js').StreamHandle}
 */
export function followPath(path, { url = '', token = null, onEvent, onStatus }) {
  const hub = acquireHub(url, token);
  /** What came before the state that it belongs to. @type {StreamEvent[] | null} */
  let early = [];
  let open = true;
  /** @param {StreamEvent} event */
  const receive = (event) => {
    const begins = event.event === 'snapshot' || event.event === 'resumed' || !path.startsWith('/api/v1/');
    if (begins) early = null;
    // The end has no state to belong to.
    if (early && event.event !== 'bye') early.push(event);
    else onEvent?.(event);
  };
  let begun = false;
  const begin = async () => {
    if (!early || begun) return;
    begun = true;
    const { signal } = new AbortController();
    const page = await fetchPage({ base: url, path, position: null, wait: 0, signal, token }).catch(() => null);
    if (!early || !open) return;
    if (!page) {
      begun = false;
      setTimeout(begin, AGAIN_MS);
      return;
    }
    const events = early;
    early = null;
    for (const event of page.events) onEvent?.(event);
    const after = seqOf(page.position);
    for (const event of events) if (event.event !== 'change' || event.data.seq > after) onEvent?.(event);
  };
  const unfollow = hub.follow(path, { onEvent: receive, onStatus, onCovered: begin });
  return {
    get status() {
      return open ? hub.status(path) : 'closed';
    },
    reconnect: () => hub.reconnect(path),
    close() {
      if (!open) return;
      open = false;
      unfollow();
      releaseHub(hub);
    },
  };
}

/**
 * Follows a stream of the page's own server, or of another by its whole address.
 * @param {string} path
 * @param {import('./types.js').StreamOptions} options
 */
export function connectStream(path, options) {
  const [, url = '', rest = path] = /^(https?:\/\/[^/]+)(\/.*)$/.exec(path) ?? [];
  return followPath(rest, { ...options, url });
}
