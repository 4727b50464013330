// Stands in for what a browser has and Node has not, with timers that the test moves on.

import { mock } from 'node:test';

/** An `EventSource` that does what the test says. */
export class FakeEventSource extends EventTarget {
  /** All that were made, the oldest first. @type {FakeEventSource[]} */
  static all = [];
  /** @type {(() => void) | null} */
  onopen = null;
  /** @type {((event: Event) => void) | null} */
  onerror = null;
  closed = false;

  /** @param {string} url */
  constructor(url) {
    super();
    this.url = url;
    FakeEventSource.all.push(this);
  }

  static get last() {
    return FakeEventSource.all[FakeEventSource.all.length - 1];
  }

  close() {
    this.closed = true;
  }

  open() {
    this.onopen?.();
  }

  fail() {
    this.onerror?.(new Event('error'));
  }

  /** @param {string} event @param {unknown} data @param {string} [id] */
  say(event, data, id = '') {
    this.dispatchEvent(new MessageEvent(event, { data: JSON.stringify(data), lastEventId: id }));
  }
}

/** A page's events: `online`, `offline`, `visibilitychange`. */
export const page = new EventTarget();

/** @param {string} name */
export const happen = (name) => page.dispatchEvent(new Event(name));

let user = 'ann';
/** Who the server takes the page for from now on. @param {string} name */
export const logIn = (name) => void (user = name);

/** @typedef {{method: string, path: string, headers: Record<string, string>, body: any}} Request */

/** All requests so far. @type {Request[]} */
export const requests = [];
/** @type {(request: Request) => {status?: number, body?: unknown, headers?: Record<string, string>} | null} */
let answer = () => null;

/**
 * Answers requests from now on; null: no answer, as without a network.
 * @param {typeof answer} fn
 */
export function answers(fn) {
  answer = fn;
}

/** @param {string} url @param {any} [init] */
async function fakeFetch(url, { method = 'GET', headers = {}, body, signal } = {}) {
  signal?.throwIfAborted();
  if (String(url).endsWith('/api/v1/me')) return Response.json({ user });
  const request = { method, path: String(url), headers, body: body === undefined ? undefined : JSON.parse(body) };
  requests.push(request);
  const found = answer(request);
  if (!found) throw new TypeError('fetch failed');
  const { status = 200, body: content, headers: more = {} } = found;
  const text = content === undefined ? null : JSON.stringify(content);
  return new Response(text, { status, headers: { 'content-type': 'application/json', ...more } });
}

/** Makes Node look like a page, with time at a standstill. */
export function pretendPage() {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 1_800_000_000_000 });
  mock.method(Math, 'random', () => 0.5);
  FakeEventSource.all = [];
  requests.length = 0;
  user = 'ann';
  answer = () => null;
  setOnline(true);
  Object.assign(globalThis, {
    EventSource: FakeEventSource,
    fetch: fakeFetch,
    addEventListener: page.addEventListener.bind(page),
    removeEventListener: page.removeEventListener.bind(page),
  });
}

export function endPage() {
  mock.timers.reset();
  mock.restoreAll();
}

/** @param {boolean} onLine */
export function setOnline(onLine) {
  Object.defineProperty(globalThis, 'navigator', { value: { onLine }, configurable: true, writable: true });
}

/** Lets everything that waits for nothing but its turn go on. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Moves time on. @param {number} ms */
export async function pass(ms) {
  await settle();
  mock.timers.tick(ms);
  await settle();
}

/** @param {number} seq */
export const positionOf = (seq) => `${seq}-${hashOf(seq).slice(0, 12)}`;
/** @param {number} seq */
export const hashOf = (seq) => String(seq).padStart(64, 'a');

/**
 * A change of `games/g1` whose version is its place in the log.
 * @param {number} seq
 * @param {object} [more]
 */
export function change(seq, more = {}) {
  return {
    seq, collection: 'games', id: 'g1', version: seq, type: 'raise', actor: 'ann', at: '2026-01-01T00:00:00.000Z',
    payload: {}, patch: [{ op: 'add', path: '/pot', value: seq }], hash: hashOf(seq), ...more,
  };
}

/** @param {number} version @param {object} [state] */
export function document(version, state = { pot: version }) {
  return { collection: 'games', id: 'g1', version, hash: hashOf(version), state, durable: true };
}
