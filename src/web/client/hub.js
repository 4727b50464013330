// One connection per browser: what the tabs follow together, and the leader's streams that bring it.

import { digest, listen, onFrame } from './environment.js';
import { Stream } from './streams.js';
import { Tabs } from './tabs.js';

/** @typedef {import('./types.js').ConnectionStatus} ConnectionStatus */
/** @typedef {import('./types.js').StreamEvent} StreamEvent */
/** @typedef {{onEvent: (event: StreamEvent) => void, onStatus?: (status: ConnectionStatus) => void,
 *   onCovered?: () => void}} Listener */

/** @type {ConnectionStatus[]} */
const WORST_FIRST = ['offline', 'polling-fallback', 'reconnecting', 'closed', 'connected'];

/** The stream of all documents and collections together. */
const DOCUMENTS = '';

/** All that a scope's tabs follow. `wanted` are `doc=<name>`, `collection=<name>` and paths. */
class Topic {
  /** @type {ConnectionStatus} */
  status = 'reconnecting';
  /** @type {string | null} */
  position = null;
  /** What the open connection brings. @type {Set<string>} */
  covered = new Set();
  /** @type {Stream | null} */
  stream = null;
  /** @type {Map<string, Set<Listener>>} */
  listeners = new Map();
}

/** @param {string} wanted */
const topicOf = (wanted) => (wanted.startsWith('/') ? wanted : DOCUMENTS);

/** What a page shares for one server and caller. Made by `acquireHub`. */
export class Hub {
  /** @type {Map<string, Topic>} */
  #topics = new Map();
  /** What other tabs want. @type {Map<string, Set<string>>} */
  #others = new Map();
  /** @type {any[]} */
  #outbox = [];
  /** @type {(() => void) | null} */
  #flushing = null;
  #updating = false;
  /** @type {Tabs | null} */
  tabs = null;
  /** Messages of other parts of the client in other tabs. @type {Set<(message: any) => void>} */
  onMessage = new Set();
  /** Told when the status of anything that is followed changes, and when what is followed does.
   * @type {Set<() => void>} */
  onStatus = new Set();
  /** Told when this page becomes the one that works for all. @type {Set<() => void>} */
  onLead = new Set();
  users = 0;
  /** @type {Set<{name: string, fn: (event: StreamEvent) => void}>} */
  #named = new Set();
  #unlisten = () => {};

  /** @param {string} base @param {string | null} token @param {string} scope */
  constructor(base, token, scope) {
    this.base = base;
    this.token = token;
    this.scope = scope;
    if (!Tabs.supported) return;
    this.tabs = new Tabs(scope, {
      onLead: (leads) => this.#lead(leads),
      onMessage: (message) => this.#receive(message),
    });
    this.tabs.post({ kind: 'hello' });
    // A page that comes back from the browser's cache has said that it was gone.
    this.#unlisten = listen(/** @type {any} */ (globalThis), { pageshow: () => this.#changed() });
  }

  get leads() {
    return this.tabs?.leads ?? true;
  }

  /** @param {string} key */
  #topic(key) {
    let topic = this.#topics.get(key);
    if (!topic) this.#topics.set(key, (topic = new Topic()));
    return topic;
  }

  /**
   * Follows `doc=<name>`, `collection=<name>` or a path. Gives a function that ends it.
   * @param {string} wanted
   * @param {Listener} listener
   */
  follow(wanted, listener) {
    const topic = this.#topic(topicOf(wanted));
    const listeners = topic.listeners.get(wanted) ?? new Set();
    topic.listeners.set(wanted, listeners.add(listener));
    if (listeners.size === 1) this.#changed();
    if (topic.covered.has(wanted)) queueMicrotask(() => listeners.has(listener) && listener.onCovered?.());
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0 || topic.listeners.get(wanted) !== listeners) return;
      topic.listeners.delete(wanted);
      this.#changed();
    };
  }

  /** Listens for events of one name on the documents' stream, whatever they are about. @param {string} name
   * @param {(event: StreamEvent) => void} fn */
  listen(name, fn) {
    const one = { name, fn };
    this.#named.add(one);
    return () => void this.#named.delete(one);
  }

  /** The status of what `wanted` comes by. @param {string} wanted */
  status(wanted) {
    return this.#topic(topicOf(wanted)).status;
  }

  /** The worst status of all that is followed here; null where nothing is. @returns {ConnectionStatus | null} */
  get worstStatus() {
    const followed = [...this.#topics.values()].filter((topic) => topic.listeners.size > 0);
    return WORST_FIRST.find((status) => followed.some((topic) => topic.status === status)) ?? null;
  }

  /** The position of what `wanted` comes by. @param {string} wanted */
  position(wanted) {
    return this.#topic(topicOf(wanted)).position;
  }

  /** @param {string} wanted */
  reconnect(wanted) {
    const key = topicOf(wanted);
    const { stream } = this.#topic(key);
    if (stream && stream.status !== 'closed') stream.reconnect();
    else if (this.leads) {
      this.#topic(key).stream = null;
      this.#update();
    } else this.tabs?.post({ kind: 'reconnect', wanted });
  }

  /** Opens everything that is followed anew, at once. */
  reconnectAll() {
    for (const key of [...this.#topics.keys()]) this.reconnect(key);
  }

  /** Tells the same part of the client in other tabs. @param {object} message */
  post(message) {
    this.tabs?.post(message);
  }

  close() {
    for (const topic of this.#topics.values()) topic.stream?.close();
    this.#flushing?.();
    this.#unlisten();
    this.tabs?.close();
  }

  /** What this page follows has changed. A page that opens ten documents at once is told of once. */
  #changed() {
    if (this.#updating) return;
    this.#updating = true;
    queueMicrotask(() => {
      this.#updating = false;
      this.tabs?.post({ kind: 'want', wanted: this.#own() });
      if (this.leads) this.#update();
      for (const fn of this.onStatus) fn();
    });
  }

  /** @returns {string[]} */
  #own() {
    return [...this.#topics.values()].flatMap((topic) => [...topic.listeners.keys()]);
  }

  /** Opens, changes and closes streams so that they bring what all tabs want. */
  #update() {
    /** @type {Map<string, Set<string>>} */
    const wanted = new Map();
    for (const one of [this.#own(), ...this.#others.values()].flatMap((some) => [...some])) {
      const key = topicOf(one);
      wanted.set(key, (wanted.get(key) ?? new Set()).add(one));
    }
    for (const [key, topic] of this.#topics) {
      if (wanted.has(key)) continue;
      topic.stream?.close();
      topic.stream = null;
      topic.covered.clear();
      topic.position = null;
      if (topic.listeners.size === 0) this.#topics.delete(key);
    }
    for (const [key, names] of wanted) this.#adjust(key, names);
  }

  /** @param {string} key @param {Set<string>} names */
  #adjust(key, names) {
    const topic = this.#topic(key);
    const path = key === DOCUMENTS ? `/api/v1/stream?${[...names].sort().join('&')}` : key;
    if (topic.stream) {
      const missing = [...names].some((name) => !topic.stream?.path.split(/[?&]/).includes(name));
      // What nobody wants any more is let go with the next change.
      if (key !== DOCUMENTS || !missing) return;
      if (topic.stream.status !== 'closed') {
        topic.stream.setPath(path);
        return;
      }
      topic.position = null;
    }
    topic.stream = new Stream(path, {
      base: this.base,
      token: this.token,
      position: topic.position,
      onEvent: (event) => {
        topic.position = topic.stream?.position ?? (event.id || topic.position);
        if (this.#others.size > 0) {
          this.#relay([key, event.event, event.id, event.text || JSON.stringify(event.data)]);
        }
        this.#dispatch(key, event);
      },
      onStatus: (status) => {
        this.#relay({ kind: 'status', key, status });
        this.#flush();
        this.#setStatus(key, status);
      },
      onCovered: (path) => {
        const covered = key === DOCUMENTS ? path.slice(path.indexOf('?') + 1).split('&') : [key];
        this.#relay({ kind: 'covered', key, covered, position: topic.stream?.position });
        this.#cover(key, covered);
      },
    });
    this.#setStatus(key, topic.stream.status);
  }

  /** @param {string} key @param {ConnectionStatus} status */
  #setStatus(key, status) {
    const topic = this.#topic(key);
    if (topic.status === status) return;
    topic.status = status;
    for (const listener of [...topic.listeners.values()].flatMap((some) => [...some])) listener.onStatus?.(status);
    for (const fn of this.onStatus) fn();
  }

  /** @param {string} key @param {string[]} covered */
  #cover(key, covered) {
    const topic = this.#topic(key);
    topic.covered = new Set(covered);
    for (const name of covered) for (const listener of topic.listeners.get(name) ?? []) listener.onCovered?.();
  }

  /** @param {string} key @param {StreamEvent} event */
  #dispatch(key, event) {
    const topic = this.#topics.get(key);
    if (!topic) return;
    if (key === DOCUMENTS) for (const { name, fn } of this.#named) if (name === event.event) fn(event);
    const { collection, id } = event.data ?? {};
    const everyone = key !== DOCUMENTS || !collection;
    const names = everyone ? [...topic.listeners.keys()] : [`doc=${collection}/${id}`, `collection=${collection}`];
    for (const name of names) for (const listener of [...(topic.listeners.get(name) ?? [])]) listener.onEvent(event);
  }

  /** Tells the other tabs, at most once a frame. @param {any} message an event is `[key, name, id, text]` */
  #relay(message) {
    if (!this.tabs || this.#others.size === 0) return;
    this.#outbox.push(message);
    this.#flushing ??= onFrame(() => this.#flush());
  }

  #flush() {
    this.#flushing?.();
    this.#flushing = null;
    const messages = this.#outbox;
    this.#outbox = [];
    if (messages.length > 0) this.tabs?.post({ kind: 'relay', messages });
  }

  /** @param {boolean} leads */
  #lead(leads) {
    if (leads) {
      this.tabs?.post({ kind: 'hello' });
      this.#update();
      for (const fn of this.onLead) fn();
      return;
    }
    this.#flush();
    for (const topic of this.#topics.values()) {
      topic.stream?.close();
      topic.stream = null;
    }
  }

  /** @param {any} message */
  #receive(message) {
    const { kind, from } = message;
    if (kind === 'hello') {
      this.tabs?.post({ kind: 'want', wanted: this.#own() });
      if (this.leads) this.#tell();
    } else if (kind === 'want') {
      this.#others.set(from, new Set(message.wanted));
      if (!this.leads) return;
      this.#update();
      this.#tell();
    } else if (kind === 'gone') {
      this.#others.delete(from);
      if (this.leads) this.#update();
    } else if (kind === 'reconnect') {
      if (this.leads) this.reconnect(message.wanted);
    } else if (kind === 'relay') {
      if (!this.leads) for (const one of message.messages) this.#relayed(one);
    } else {
      for (const fn of this.onMessage) fn(message);
    }
  }

  /** Tells the other tabs how things are. */
  #tell() {
    for (const [key, topic] of this.#topics) {
      if (!topic.stream) continue;
      this.#relay({ kind: 'status', key, status: topic.stream.status });
      if (topic.covered.size > 0) {
        this.#relay({ kind: 'covered', key, covered: [...topic.covered], position: topic.stream.position });
      }
    }
    this.#flush();
  }

  /** @param {any} message */
  #relayed(message) {
    const [key, event, id, text] = Array.isArray(message) ? message : [message.key];
    const topic = this.#topics.get(key);
    if (!topic) return;
    if (event) {
      if (id) topic.position = id;
      this.#dispatch(key, { event, id, text, data: JSON.parse(text) });
    } else if (message.kind === 'status') {
      this.#setStatus(key, message.status);
    } else {
      topic.position = message.position ?? topic.position;
      this.#cover(key, message.covered);
    }
  }
}

/** @type {Map<string, Hub>} */
const hubs = new Map();

/**
 * What this page shares for a server and a caller. To be given back with `releaseHub`.
 * @param {string} base
 * @param {string | null} token
 */
export function acquireHub(base, token) {
  const origin = base || globalThis.location?.origin || '';
  const scope = digest(`${origin} ${token ?? ''}`);
  const hub = hubs.get(scope) ?? new Hub(base, token, scope);
  hubs.set(scope, hub);
  hub.users += 1;
  return hub;
}

/** @param {Hub} hub */
export function releaseHub(hub) {
  hub.users -= 1;
  if (hub.users > 0) return;
  hub.close();
  hubs.delete(hub.scope);
}
