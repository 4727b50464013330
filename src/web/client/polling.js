// What a stream would have said, fetched as pages: for networks that let no stream through.

import { RejoinError, withTimeout } from './retry.js';
import { seqOf } from './sse.js';

/** @typedef {import('./types.js').StreamEvent} StreamEvent */
/** @typedef {{events: StreamEvent[], position: string | null, more: boolean}} Page */

/** Most events of a page. */
const PAGE_MAX = 500;
/** How long a page may take beyond the time that the server was asked to wait, in milliseconds. */
const PATIENCE_MS = 10_000;

/**
 * @param {object} what
 * @param {string} what.base
 * @param {string} what.path of the stream
 * @param {string | null} what.position
 * @param {number} what.wait seconds that the server may wait for something to say
 * @param {AbortSignal} what.signal
 * @param {string | null} [what.token]
 * @returns {Promise<Page>}
 */
export async function fetchPage({ base, path, position, wait, signal, token }) {
  /** @param {string} url @param {number} [seconds] */
  const get = (url, seconds = 0) =>
    withTimeout((late) => {
      const both = new AbortController();
      for (const one of [late, signal]) one.addEventListener('abort', () => both.abort());
      /** @type {Record<string, string>} */
      const headers = { accept: 'application/json' };
      if (token) headers.authorization = `Bearer ${token}`;
      return fetch(base + url, { headers, signal: both.signal, cache: 'no-store', credentials: 'include' });
    }, PATIENCE_MS + seconds * 1000);
  const [, collection, id] = /^\/api\/v1\/([^/?]+)\/([^/?]+)\/events/.exec(path) ?? [];
  const waiting = wait && position ? `&wait=${wait}` : '';
  if (path.startsWith('/reconciliation/')) return verdicts(await get('/reconciliation/status'), position);
  if (!collection) {
    const after = position ? `${path.includes('?') ? '&' : '?'}lastEventId=${position}` : '';
    return pageOfStream(await get(path + after + waiting, wait));
  }
  const document = `/api/v1/${collection}/${id}`;
  if (position) {
    const response = await get(`${document}/events?after=${position}&limit=${PAGE_MAX}${waiting}`, wait);
    // Gone: the position is of another history. Then the state is all there is.
    if (response.status !== 410) return pageOfHistory(response, position);
  }
  return stateOf(await get(document));
}

/** @param {Response} response */
async function body(response) {
  const text = await response.json().catch(() => null);
  if (response.ok && text) return text;
  const { status } = response;
  throw new RejoinError(text?.detail ?? `the server answered ${status}`, { status, problem: text });
}

/** @param {Response} response @param {string} position @returns {Promise<Page>} */
async function pageOfHistory(response, position) {
  if (response.status === 204) return { events: [], position, more: false };
  const { items, nextCursor } = await body(response);
  const events = items.map((/** @type {any} */ data) => ({
    event: 'change',
    id: `${data.seq}-${data.hash.slice(0, 12)}`,
    data,
    text: '',
  }));
  return { events, position: events.at(-1)?.id ?? position, more: nextCursor !== undefined };
}

/** @param {Response} response @returns {Promise<Page>} */
async function stateOf(response) {
  const document = await body(response);
  const position = response.headers.get('rejoin-position');
  const data = { reason: 'start', documents: [document] };
  const event = { event: 'snapshot', id: position ?? '', data, text: '' };
  return { events: [event], position, more: false };
}

/**
 * The verdicts in force, all of them: which services were removed meanwhile is told by nothing else.
 * @param {Response} response
 * @param {string | null} position
 * @returns {Promise<Page>}
 */
async function verdicts(response, position) {
  const { items } = await body(response);
  const updates = items
    .map((/** @type {any} */ data) => ({ event: 'reconciliation.update', id: data.eventId, data, text: '' }))
    .sort((/** @type {StreamEvent} */ one, /** @type {StreamEvent} */ other) => seqOf(one.id) - seqOf(other.id));
  const events = [{ event: 'snapshot', id: '', data: { reason: 'polled' }, text: '' }, ...updates];
  return { events, position: updates.at(-1)?.id ?? position, more: false };
}

/** @param {Response} response @returns {Promise<Page>} */
async function pageOfStream(response) {
  if (response.status === 204) return { events: [], position: null, more: false };
  const { events, position, more } = await body(response);
  return { events: events.map((/** @type {any} */ one) => ({ id: '', text: '', ...one })), position, more };
}
