// A collection as a page sees it: its documents, followed together.

import { onFrame } from './environment.js';
import { applyPatch, equal } from './patch.js';

/** @typedef {import('./types.js').DocumentBody} DocumentBody */
/** @typedef {import('./types.js').StreamEvent} StreamEvent */
/** @typedef {import('./client.js').Rejoin} Rejoin */

const PAGE_MAX = 500;
/** After a list could not be fetched, in milliseconds. */
const AGAIN_MS = 2_000;

/** All documents of a collection, for as long as it is open. */
export class RejoinCollection {
  /** @type {Map<string, DocumentBody>} */
  #documents = new Map();
  /** @type {DocumentBody[] | undefined} */
  #items;
  #fetching = false;
  /** @type {StreamEvent[]} */
  #early = [];
  /** @type {Set<(collection: RejoinCollection) => void>} */
  #subscribers = new Set();
  /** @type {Set<(event: StreamEvent) => void>} */
  #listeners = new Set();
  /** @type {(() => void) | null} */
  #frame = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #again;
  #epoch = 0;
  #rejoin;
  #unfollow;

  /** Whether `items` are what the server has. */
  loaded = false;
  /** Why they could not be fetched. @type {any} */
  error = null;

  /** @param {Rejoin} rejoin @param {string} name */
  constructor(rejoin, name) {
    this.name = name;
    this.#rejoin = rejoin;
    void rejoin.writes.open();
    this.#unfollow = rejoin.hub.follow(`collection=${name}`, {
      onEvent: (event) => this.#receive(event),
      onStatus: (status) => {
        if (status === 'connected') void rejoin.writes.drain();
        this.#changed();
      },
      onCovered: () => this.loaded || this.#fetch(),
    });
  }

  /** The documents, by id; the same array as long as nothing changes. */
  get items() {
    return (this.#items ??= [...this.#documents.values()].sort((one, other) => (one.id < other.id ? -1 : 1)));
  }

  /** How the server is reached. @returns {import('./types.js').ConnectionStatus} */
  get status() {
    return this.#rejoin.hub.status(`collection=${this.name}`);
  }

  /** @param {string} id */
  get(id) {
    return this.#documents.get(id);
  }

  /** Calls `fn` after changes, at most once a frame. @param {(collection: RejoinCollection) => void} fn */
  subscribe(fn) {
    this.#subscribers.add(fn);
    return () => void this.#subscribers.delete(fn);
  }

  /** Calls `fn` with each event about these documents, in order. @param {(event: StreamEvent) => void} fn */
  onEvent(fn) {
    this.#listeners.add(fn);
    return () => void this.#listeners.delete(fn);
  }

  /** Asks for all of it again. */
  refresh() {
    this.loaded = false;
    return this.#fetch();
  }

  /** One of its users needs it no more; after the last one it is not followed any longer. */
  close() {
    if (this.#rejoin.release(this)) this.end();
  }

  /** Stops following, whoever uses it. */
  end() {
    this.#unfollow();
    this.#frame?.();
    clearTimeout(this.#again);
  }

  /** @param {StreamEvent} event */
  #receive(event) {
    const { data } = event;
    if (event.event === 'snapshot' && data.reason !== 'returned' && data.reason !== 'entered') {
      this.#replace(data.documents);
    } else if (event.event === 'snapshot') {
      for (const one of data.documents) if (one.collection === this.name) this.#documents.set(one.id, one);
    } else if (event.event === 'change') {
      if (this.loaded) this.#change(data);
      else this.#early.push(event);
    } else if (event.event === 'left' || event.event === 'moved') {
      this.#documents.delete(data.id);
    }
    for (const fn of this.#listeners) fn(event);
    this.#changed();
  }

  /** @param {import('./types.js').ChangeEvent} event */
  #change(event) {
    const { id, version, hash, at } = event;
    const known = this.#documents.get(id);
    const from = known?.version ?? 0;
    if (known && version <= from) return;
    const whole = event.patch[0]?.path === '' && event.patch.length === 1;
    if (!whole && version !== from + 1) {
      void this.refresh();
      this.#early.push({ event: 'change', data: event, id: '', text: '' });
      return;
    }
    const state = applyPatch(known?.state ?? null, event.patch);
    if (state === null) this.#documents.delete(id);
    else {
      const createdAt = known?.createdAt ?? at;
      this.#documents.set(id, { collection: this.name, id, version, hash, state, createdAt, updatedAt: at });
    }
  }

  /** @param {DocumentBody[]} documents */
  #replace(documents) {
    this.#epoch += 1;
    const own = documents.filter((one) => one.collection === this.name);
    this.#documents = new Map(own.map((one) => [one.id, this.#kept(one)]));
    this.loaded = true;
    this.error = null;
    const early = this.#early;
    this.#early = [];
    for (const { data } of early) if (this.loaded) this.#change(data);
    this.#changed();
  }

  /** What is equal stays the same object, so that nobody draws it again. @param {DocumentBody} one */
  #kept(one) {
    const known = this.#documents.get(one.id);
    const same = known?.version === one.version && known.hash === one.hash && equal(known.state, one.state);
    return same ? known : one;
  }

  async #fetch() {
    if (this.#fetching) return;
    this.#fetching = true;
    clearTimeout(this.#again);
    const epoch = this.#epoch;
    try {
      const documents = [];
      const pages = this.#rejoin.pages(this.name, { include: 'state', limit: PAGE_MAX });
      for await (const page of pages) documents.push(...page);
      this.#fetching = false;
      if (epoch === this.#epoch) this.#replace(documents);
    } catch (error) {
      this.#fetching = false;
      this.error = error;
      if (epoch === this.#epoch) this.#again = setTimeout(() => this.loaded || this.#fetch(), AGAIN_MS);
      this.#changed();
    }
  }

  #changed() {
    this.#items = undefined;
    if (this.#subscribers.size === 0) return;
    this.#frame ??= onFrame(() => {
      this.#frame = null;
      for (const fn of [...this.#subscribers]) fn(this);
    });
  }
}
