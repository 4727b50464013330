// Requests to one server: who asks, how long it may take, what a refusal means.

import { RejoinError, withTimeout } from './retry.js';

/** @typedef {{status: number, headers: Headers, body: any}} Answer */

/** How long an answer may take, in milliseconds. */
const TIMEOUT_MS = 10_000;
/** Most documents whose last answer is kept, for `If-None-Match`. */
const CACHED_MAX = 200;

/** Asks one server as one caller. */
export class Requests {
  /** @type {Map<string, Promise<Answer>>} */
  #inFlight = new Map();
  /** @type {Map<string, Answer>} */
  #cache = new Map();

  /** @param {string} base the server's origin; empty: the page's @param {string | null} token */
  constructor(base, token) {
    this.base = base;
    this.token = token;
  }

  /**
   * One request. Rejects with a `RejoinError` for what is not a success.
   * @param {string} method
   * @param {string} path
   * @param {{body?: unknown, headers?: Record<string, string>, timeout?: number}} [options]
   * @returns {Promise<Answer>}
   */
  async send(method, path, { body, headers = {}, timeout = TIMEOUT_MS } = {}) {
    /** @type {Record<string, string>} */
    const all = { accept: 'application/json', ...headers };
    if (body !== undefined) all['content-type'] ??= 'application/json';
    if (this.token) all.authorization = `Bearer ${this.token}`;
    // A page over plain HTTP says with it that it means a request that writes.
    else if (/connection-token/.test(path)) all['rejoin-request'] = '1';
    return withTimeout(async (signal) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const response = await fetch(this.base + path, {
        method, headers: all, body: text, signal, credentials: 'include', cache: 'no-store',
      }).catch((cause) => {
        throw new RejoinError(`${method} ${path}: the server cannot be reached`, { kind: 'network', cause });
      });
      const { status } = response;
      const answer = { status, headers: response.headers, body: await read(response) };
      if (response.ok || status === 304) return answer;
      const problem = answer.body;
      const after = response.headers.get('retry-after');
      throw new RejoinError(problem?.detail ?? `${method} ${path}: ${status}`, {
        status, problem, retryAfter: after === null ? undefined : Number(after),
      });
    }, timeout);
  }

  /**
   * Reads. Who asks for the same at the same time shares one request, and what has not changed is not sent again.
   * @param {string} path
   * @param {unknown} [epoch] only requests of the same epoch are shared
   * @returns {Promise<Answer>}
   */
  get(path, epoch = '') {
    const key = `${epoch} ${path}`;
    const running = this.#inFlight.get(key);
    if (running) return running;
    const asked = this.#get(path).finally(() => this.#inFlight.delete(key));
    this.#inFlight.set(key, asked);
    return asked;
  }

  /** @param {string} path */
  async #get(path) {
    const known = this.#cache.get(path);
    const etag = known?.headers.get('etag');
    const answer = await this.send('GET', path, { headers: etag ? { 'if-none-match': etag } : {} });
    if (answer.status === 304 && known) return known;
    this.#cache.delete(path);
    if (answer.headers.has('etag')) this.#cache.set(path, answer);
    if (this.#cache.size > CACHED_MAX) this.#cache.delete(/** @type {string} */ (this.#cache.keys().next().value));
    return answer;
  }
}

/** @param {Response} response */
async function read(response) {
  const text = await response.text();
  try {
    return text === '' ? null : JSON.parse(text);
  } catch {
    // A proxy's page.
    return null;
  }
}
