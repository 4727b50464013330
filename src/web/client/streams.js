// A stream that keeps itself alive: its own delays, a watch on silence, polling where nothing else works.

import { isOnline, watchPage } from './environment.js';
import { fetchPage } from './polling.js';
import { Requests } from './requests.js';
import { openConnection, seqOf } from './sse.js';

/** @typedef {import('./types.js').ConnectionStatus} ConnectionStatus */
/** @typedef {import('./types.js').StreamEvent} StreamEvent */

/** The longest delay between two attempts, in milliseconds. */
const DELAY_MAX_MS = 30_000;
/** Without a word for so long a connection is taken for dead. The server says something every 15 s. */
const SILENCE_MS = 30_000;
/** Servers speak at once. Headers and nothing after them for so long: a proxy keeps back what comes. */
const FIRST_BYTES_MS = 5_000;
/** How long headers may take. */
const HEADERS_MS = 10_000;
/** Failures in a row after which polling begins. */
const FAILURES_MAX = 5;
const POLL_MS = 10_000;
const LONG_POLL_SECONDS = 25;

/**
 * How long to wait after so many failures in a row, in milliseconds: 1 s, 2, 4, 8, 16, at most 30 s, ±20 %.
 * @param {number} failures at least 1
 * @param {number} [random] from 0 to 1
 */
export function retryDelay(failures, random = Math.random()) {
  return Math.min(DELAY_MAX_MS, Math.round(1000 * 2 ** (failures - 1) * (0.8 + 0.4 * random)));
}

/** One stream of one server, until `close`. */
export class Stream {
  /** @type {ConnectionStatus} */
  status = isOnline() ? 'reconnecting' : 'offline';
  /** What was seen last: `<seq>-<short hash>`. @type {string | null} */
  position = null;
  /** Why the last attempt failed, where that is known. @type {any} */
  problem = null;

  /** @type {(() => void) | null} */
  #disconnect = null;
  /** The position that the open connection began from. @type {string | null} */
  #from = null;
  #heard = false;
  #heardAt = 0;
  #failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #watchTimer;
  /** @type {AbortController | null} */
  #polling = null;
  #buffered = false;
  #unwatch;
  #options;

  /**
   * @param {string} path with its query
   * @param {object} options
   * @param {string} options.base the server's origin; empty: the page's
   * @param {string | null} [options.token]
   * @param {string | null} [options.position] to continue from
   * @param {string[]} [options.events] further names to listen for
   * @param {(event: StreamEvent) => void} options.onEvent
   * @param {(status: ConnectionStatus) => void} [options.onStatus]
   * @param {(path: string) => void} [options.onCovered] from here on nothing is missed of what `path` names
   */
  constructor(path, options) {
    this.path = path;
    this.base = options.base;
    this.position = options.position ?? null;
    this.#options = options;
    this.#unwatch = watchPage({
      onOnline: () => {
        this.#failures = 0;
        this.reconnect();
      },
      onOffline: () => this.#lost({}),
      onAwake: () => this.#awake(),
    });
    this.#open();
  }

  /** Tries at once, whatever the state. */
  reconnect() {
    if (this.status === 'closed') return;
    this.#open();
  }

  /** Follows another path of the same log from the same position on. @param {string} path */
  setPath(path) {
    if (this.path === path) return;
    this.path = path;
    if (this.#disconnect) this.#open();
  }

  close() {
    this.#drop();
    this.#stopPolling();
    clearTimeout(this.#retryTimer);
    this.#unwatch();
    this.#setStatus('closed');
  }

  #open() {
    this.#drop();
    clearTimeout(this.#retryTimer);
    this.#from = this.position;
    this.#heard = false;
    const mark = this.position ? `${this.path.includes('?') ? '&' : '?'}lastEventId=${this.position}` : '';
    this.#watch(HEADERS_MS, () => this.#lost({}));
    let current = true;
    const close = openConnection(this.base + this.path + mark, this.#options, {
      onOpen: () => {
        if (!current) return;
        this.#watch(FIRST_BYTES_MS, () => {
          this.#buffered = true;
          this.#lost({});
        });
      },
      onEvent: (event, text, id) => {
        if (current) this.#receive(event, text, id);
      },
      onLost: (why) => {
        if (current) this.#lost(why);
      },
    });
    this.#disconnect = () => {
      current = false;
      close();
    };
    this.#showTrouble();
  }

  #drop() {
    this.#disconnect?.();
    this.#disconnect = null;
    clearTimeout(this.#watchTimer);
  }

  /** @param {number} ms @param {() => void} fn */
  #watch(ms, fn) {
    clearTimeout(this.#watchTimer);
    this.#watchTimer = setTimeout(fn, ms);
  }

  /** @param {string} event @param {string} text @param {string} id */
  #receive(event, text, id) {
    this.#heardAt = Date.now();
    this.#watch(SILENCE_MS, () => this.#silent());
    const data = parse(text);
    if (event === 'resumed' && data?.from !== this.#from) {
      // It goes on from a place where we were not: begin anew, with the whole state.
      this.position = null;
      this.#open();
      return;
    }
    const first = event !== 'bye' && !this.#heard;
    if (first) {
      this.#heard = true;
      this.#failures = 0;
      this.#buffered = false;
      this.problem = null;
      this.#stopPolling();
      this.#setStatus('connected');
    }
    this.#deliver({ event, data, id, text });
    if (first) this.#options.onCovered?.(this.path);
    if (event === 'bye') this.#bye(data);
    if (event === 'moved' && `/api/v1/${data?.collection}/${data?.id}/events` === this.path.split('?')[0]) {
      this.base = data.to;
      this.#open();
    }
  }

  /** @param {StreamEvent} event */
  #deliver(event) {
    // What polling has brought already.
    if (event.event === 'change' && event.data?.seq <= seqOf(this.position)) return;
    if (event.id) this.position = event.id;
    this.#options.onEvent(event);
  }

  /** @param {any} data */
  #bye(data) {
    if (!this.#disconnect && !this.#polling) return;
    if (data?.reason !== 'access-ended') this.#lost({});
    else if (/\/stream\?.*(&|collection=)/.test(this.path)) void this.#begin();
    else this.close();
  }

  /** One of several things that are followed may not be read any more, or none: the server says which. */
  async #begin() {
    this.#drop();
    this.#stopPolling();
    this.#setStatus('reconnecting');
    const { base } = this;
    const { token } = this.#options;
    const { status } = await new Requests(base, token ?? null).send('GET', '/api/v1/me').catch((error) => error);
    this.position = null;
    if (status === 401 || status === 403) this.close();
    else this.#lost({});
  }

  #silent() {
    this.#setStatus(isOnline() ? 'reconnecting' : 'offline');
    this.#open();
  }

  #awake() {
    if (this.status === 'closed') return;
    if (this.status !== 'connected' || Date.now() - this.#heardAt > SILENCE_MS) this.reconnect();
  }

  /** @param {{status?: number, problem?: any, retry?: number}} why */
  #lost({ status, problem, retry = 0 }) {
    if (this.status === 'closed') return;
    this.#drop();
    if (problem) this.problem = problem;
    if (status === 401 || status === 403) {
      this.#deliver({ event: 'bye', data: { reason: 'access-ended', status, problem }, id: '', text: '' });
      this.close();
      return;
    }
    this.#failures += 1;
    if ((this.#failures >= FAILURES_MAX || this.#buffered) && !this.#polling) this.#startPolling();
    this.#showTrouble();
    clearTimeout(this.#retryTimer);
    // A proxy that keeps back what comes will do so again; a server that asks for patience has its reason.
    const delay = this.#buffered ? DELAY_MAX_MS : Math.max(retryDelay(this.#failures), status === 429 ? retry : 0);
    this.#retryTimer = setTimeout(() => this.#open(), delay);
  }

  /** While no connection works. */
  #showTrouble() {
    if (this.#heard && this.#disconnect) return;
    if (this.status === 'connected' && this.#disconnect) return;
    this.#setStatus(!isOnline() ? 'offline' : this.#polling ? 'polling-fallback' : 'reconnecting');
  }

  /** @param {ConnectionStatus} status */
  #setStatus(status) {
    if (this.status === status || this.status === 'closed') return;
    this.status = status;
    this.#options.onStatus?.(status);
  }

  #stopPolling() {
    this.#polling?.abort();
    this.#polling = null;
  }

  async #startPolling() {
    const polling = (this.#polling = new AbortController());
    const { signal } = polling;
    let wait = POLL_MS;
    while (!signal.aborted) {
      try {
        await this.#poll(signal);
        // A long poll waits at the server.
        wait = this.#buffered ? 0 : POLL_MS;
      } catch (error) {
        if (signal.aborted) return;
        this.problem = /** @type {any} */ (error).problem ?? this.problem;
        if (/** @type {any} */ (error).status === 401) {
          this.#lost({ status: 401, problem: this.problem });
          return;
        }
        wait = POLL_MS;
      }
      if (wait > 0) await sleep(wait, signal);
    }
  }

  /** Fetches what came since the last position. @param {AbortSignal} signal */
  async #poll(signal) {
    for (let more = true; more && !signal.aborted; ) {
      const { base, path, position } = this;
      const wait = this.#buffered ? LONG_POLL_SECONDS : 0;
      const page = await fetchPage({ base, path, position, wait, signal, token: this.#options.token });
      if (signal.aborted) return;
      for (const event of page.events) {
        this.#deliver(event);
        if (event.event === 'bye') this.#bye(event.data);
      }
      if (page.position) this.position = page.position;
      this.#options.onCovered?.(path);
      more = page.more;
    }
  }
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
function sleep(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
