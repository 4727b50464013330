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
  /** Whether another tab has the stream open, so that its beginning was missed. */
  let joins = false;
  let fetching = false;
  /** @param {StreamEvent} event */
  const receive = (event) => {
    const begins = event.event === 'snapshot' || event.event === 'resumed' || (!path.startsWith('/api/v1/') && !joins);
    if (begins) early = null;
    // The end has no state to belong to.
    if (early && event.event !== 'bye') early.push(event);
    else onEvent?.(event);
  };
  const begin = async () => {
    if (!early || fetching) return;
    joins = fetching = true;
    const { signal } = new AbortController();
    const page = await fetchPage({ base: url, path, position: null, wait: 0, signal, token }).catch(() => null);
    fetching = false;
    if (!early || !open) return;
    if (!page) {
      setTimeout(begin, AGAIN_MS);
      return;
    }
    const events = early;
    early = null;
    const after = seqOf(page.position);
    const isNewer = (/** @type {StreamEvent} */ { event, data, id }) =>
      event === 'change' ? data.seq > after : event !== 'reconciliation.update' || seqOf(id) > after;
    for (const event of [...page.events, ...events.filter(isNewer)]) onEvent?.(event);
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
