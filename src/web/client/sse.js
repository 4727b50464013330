// One connection to a stream of server-sent events: the browser's `EventSource`, or the same over `fetch` where a token
// has to be shown.

/** What the server's streams say. `EventSource` hands over only events that are listened for by name. */
export const EVENTS = [
  'snapshot', 'resumed', 'change', 'durable', 'presence', 'notification', 'conflict', 'message', 'moved', 'left',
  'reconciliation.update', 'reconciliation.removed', 'heartbeat', 'bye',
];

/** The place in the log that a position names. @param {string | null} position */
export const seqOf = (position) => Number(position?.split('-')[0] ?? 0);

/** Reads the text of a stream as it comes. */
export class EventParser {
  #rest = '';
  #event = '';
  /** @type {string[]} */
  #data = [];
  #id = '';
  #begun = false;
  /** The server's own word on when to come back, in milliseconds. */
  retry = 0;

  /** @param {(event: string, data: string, id: string) => void} onEvent */
  constructor(onEvent) {
    this.onEvent = onEvent;
  }

  /** @param {string} text */
  push(text) {
    if (!this.#begun && text) {
      this.#begun = true;
      if (text.charCodeAt(0) === 0xfeff) text = text.slice(1);
    }
    text = this.#rest + text;
    // A CR at the end may be half of a line's end.
    const held = text.endsWith('\r') ? '\r' : '';
    const lines = (held ? text.slice(0, -1) : text).split(/\r\n|\n|\r/);
    this.#rest = lines.pop() + held;
    for (const line of lines) this.#line(line);
  }

  /** @param {string} line */
  #line(line) {
    if (line === '') {
      if (this.#data.length > 0) this.onEvent(this.#event || 'message', this.#data.join('\n'), this.#id);
      this.#event = '';
      this.#data = [];
      return;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'event') this.#event = value;
    else if (field === 'data') this.#data.push(value);
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    else if (field === 'retry' && /^\d+$/.test(value)) this.retry = Number(value);
  }
}

/**
 * @typedef {object} Handlers
 * @property {() => void} onOpen headers came
 * @property {(event: string, data: string, id: string) => void} onEvent
 * @property {(why: {status?: number, problem?: any, retry?: number}) => void} onLost at most once, never after `close`
 */

/**
 * Opens a connection. Nothing retries here. Gives a function that closes it.
 * @param {string} url
 * @param {{token?: string | null, events?: string[]}} options
 * @param {Handlers} handlers
 * @returns {() => void}
 */
export function openConnection(url, { token, events = [] }, handlers) {
  return token || !globalThis.EventSource ? openFetch(url, token, handlers) : openSource(url, events, handlers);
}

/** @param {string} url @param {string[]} events @param {Handlers} handlers */
function openSource(url, events, { onOpen, onEvent, onLost }) {
  const source = new EventSource(url, { withCredentials: true });
  source.onopen = onOpen;
  source.onerror = (event) => {
    // An event of the server's with this name would have data.
    if (event instanceof MessageEvent) return;
    // It would try again by itself, with delays of its own.
    source.close();
    onLost({});
  };
  for (const name of new Set([...EVENTS, ...events])) {
    source.addEventListener(name, (event) => onEvent(name, event.data, event.lastEventId));
  }
  return () => source.close();
}

/** @param {string} url @param {string | null | undefined} token @param {Handlers} handlers */
function openFetch(url, token, { onOpen, onEvent, onLost }) {
  const controller = new AbortController();
  /** @type {Record<string, string>} */
  const headers = { accept: 'text/event-stream' };
  if (token) headers.authorization = `Bearer ${token}`;
  const read = async () => {
    const { signal } = controller;
    const response = await fetch(url, { headers, signal, cache: 'no-store', credentials: 'include' });
    const { status } = response;
    if (status !== 200 || !response.headers.get('content-type')?.startsWith('text/event-stream') || !response.body) {
      return { status, problem: await response.json().catch(() => null) };
    }
    onOpen();
    const decoder = new TextDecoder();
    const parser = new EventParser((...event) => controller.signal.aborted || onEvent(...event));
    const reader = response.body.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        parser.push(decoder.decode(value, { stream: true }));
      }
    } catch {
      // The connection broke: the same as its end.
    }
    return { retry: parser.retry };
  };
  read()
    .catch(() => ({}))
    .then((why) => {
      if (!controller.signal.aborted) onLost(why);
    });
  return () => controller.abort();
}
