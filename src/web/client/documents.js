// One document as a page sees it: what the server has said, and on top of it what this browser wants and is not yet
// told of.

import { onFrame } from './environment.js';
import { acquireHub, releaseHub } from './hub.js';
import { applyPatch, equal } from './patch.js';
import { seqOf } from './sse.js';
import { verify } from './verify.js';

/** @typedef {import('./types.js').StreamEvent} StreamEvent */
/** @typedef {import('./types.js').DocumentBody} DocumentBody */
/** @typedef {import('./types.js').ChangeEvent} ChangeEvent */
/** @typedef {import('./client.js').Rejoin} Rejoin */

/** Changes that came before the state did are kept up to this number; beyond it the state is simply asked for again. */
const EARLY_MAX = 1_000;
/** After a state could not be fetched, in milliseconds. */
const AGAIN_MS = 2_000;

/** A document that is followed for as long as it is open. */
export class RejoinDocument {
  /** @type {any} */
  #confirmed = null;
  /** Patches not yet applied: a state that nobody looks at is not computed. @type {import('./types.js').Operation[]} */
  #patches = [];
  /** What is shown; undefined: to be computed. @type {any} */
  #shown;
  #hash = '';
  #seq = 0;
  #loaded = false;
  #synced = false;
  #fetching = false;
  /** @type {StreamEvent[]} */
  #early = [];
  #epoch = 0;
  /** @type {Set<(document: RejoinDocument) => void>} */
  #subscribers = new Set();
  /** @type {Set<(event: StreamEvent) => void>} */
  #listeners = new Set();
  /** @type {(() => void) | null} */
  #frame = null;
  /** @type {Promise<unknown>} */
  #verified = Promise.resolve();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #again;
  #rejoin;
  #hub;
  #unfollow;
  #unqueue;

  /** The version of what the server has said last; 0: nothing yet, or there is no such document. */
  version = 0;
  /** Whether that is on disk there. */
  durable = false;
  /** Whether the server has said anything yet. */
  get loaded() {
    return this.#loaded;
  }
  /** Why the state could not be fetched. @type {any} */
  error = null;
  /** Who is connected or seated, as the server said last. @type {any[]} */
  players = [];

  /** @param {Rejoin} rejoin @param {string} name `collection/id` */
  constructor(rejoin, name) {
    this.name = name;
    this.#rejoin = rejoin;
    this.#unqueue = rejoin.writes.watch(name, () => this.#changed());
    this.#hub = rejoin.hub;
    this.#unfollow = this.#follow();
  }

  #follow() {
    return this.#hub.follow(`doc=${this.name}`, {
      onEvent: (event) => this.#receive(event),
      onStatus: (status) => {
        if (status === 'connected') void this.#rejoin.writes.drain();
        this.#notify();
      },
      onCovered: () => this.#synced || this.#fetch(),
    });
  }

  /** What is shown: the server's state with this browser's own changes on top. Null: not loaded, or not there. */
  get state() {
    if (this.#shown === undefined) {
      this.#apply();
      this.#shown = this.#rejoin.writes.predict(this.name, this.#confirmed, this.version);
    }
    return this.#shown;
  }

  /** The state as the server has said it. */
  get confirmed() {
    this.#apply();
    return this.#confirmed;
  }

  /** How many of this browser's changes the server has not confirmed. */
  get pending() {
    return this.#rejoin.writes.pending(this.name, this.version).length;
  }

  /** The hash of the history up to `version`. */
  get hash() {
    return this.#hash;
  }

  /**
   * How the server is reached: `connected`, `reconnecting`, `polling-fallback`, `offline`; `closed` at the end.
   * @returns {import('./types.js').ConnectionStatus}
   */
  get status() {
    return this.#hub.status(`doc=${this.name}`);
  }

  /**
   * Calls `fn` after changes of anything here, at most once a frame.
   * @param {(document: RejoinDocument) => void} fn
   * @returns {() => void} ends it
   */
  subscribe(fn) {
    this.#subscribers.add(fn);
    return () => void this.#subscribers.delete(fn);
  }

  /**
   * Calls `fn` with each event of the stream that is about this document, in order.
   * @param {(event: StreamEvent) => void} fn
   * @returns {() => void} ends it
   */
  onEvent(fn) {
    this.#listeners.add(fn);
    return () => void this.#listeners.delete(fn);
  }

  /**
   * Says what happens. Rules decide; without rules `patch` is applied.
   * @param {import('./types.js').ActionBody} action
   * @param {{optimistic?: object | ((state: any) => any)}} [options] what it is expected to change: a merge patch, or a
   *   function from the old state to the new
   * @returns {Promise<any>} the event, or `{queued: true}` when it is kept for later
   */
  act(action, options = {}) {
    return this.#rejoin.writes.submit(this, 'act', action, options.optimistic);
  }

  /**
   * Changes parts.
   * @param {object} patch a merge patch; an array is a JSON Patch
   * @returns {Promise<any>} the document, or `{queued: true}`
   */
  patch(patch) {
    return this.#rejoin.writes.submit(this, 'patch', patch);
  }

  /**
   * Replaces the state, or creates the document.
   * @param {object} state
   * @returns {Promise<any>} the document, or `{queued: true}`
   */
  put(state) {
    return this.#rejoin.writes.submit(this, 'put', state);
  }

  /** Asks for the whole state again. */
  refresh() {
    this.#synced = false;
    return this.#fetch();
  }

  /** One of its users needs it no more; after the last one it is not followed any longer. */
  close() {
    if (this.#rejoin.release(this)) this.end();
  }

  /** Stops following, whoever uses it. */
  end() {
    this.#unfollow();
    this.#unqueue();
    this.#frame?.();
    clearTimeout(this.#again);
    if (this.#hub !== this.#rejoin.hub) releaseHub(this.#hub);
    this.#hub = this.#rejoin.hub;
  }

  /**
   * Takes what a write was answered with.
   * @param {any} body an event or a document
   */
  take(body) {
    if (!body || body.version <= this.version || !this.#synced) return;
    if (body.patch) {
      if (body.version === this.version + 1) this.#change(body, '');
    } else if ('state' in body) {
      this.#replace(body, 0);
    }
    this.durable = body.durable ?? this.durable;
  }

  /** @param {StreamEvent} event */
  #receive(event) {
    const { data } = event;
    if (event.event === 'snapshot') {
      const found = data.documents.find((/** @type {any} */ one) => `${one.collection}/${one.id}` === this.name);
      if (found) this.#replace(found, data.documents.length === 1 ? seqOf(event.id) : 0);
      else if (data.gone?.includes(this.name)) this.#gone();
      else return;
    } else if (event.event === 'change') {
      if (!this.#synced) {
        this.#early.push(event);
        if (this.#early.length > EARLY_MAX) this.#early.shift();
      } else {
        this.#change(data, event.text);
      }
    } else if (event.event === 'durable') {
      if (data.seq >= this.#seq) this.durable = true;
    } else if (event.event === 'presence') {
      this.players = data.players;
    } else if (event.event === 'moved') {
      this.#moved(data.to);
    }
    for (const fn of this.#listeners) fn(event);
    this.#changed();
  }

  /** It goes on at another server. @param {string} url */
  #moved(url) {
    this.#unfollow();
    if (this.#hub !== this.#rejoin.hub) releaseHub(this.#hub);
    this.#rejoin.moved(this.name, url);
    this.#hub = acquireHub(url.replace(/\/+$/, ''), this.#rejoin.token);
    this.#synced = false;
    this.#unfollow = this.#follow();
  }

  /** @param {ChangeEvent} event @param {string} text */
  #change(event, text) {
    if (event.version <= this.version) {
      // The same version of another history: what is shown is not what is there.
      if (event.version === this.version && event.hash !== this.#hash) this.refresh();
      return;
    }
    if (event.version > this.version + 1) {
      this.refresh();
      this.#early.push({ event: 'change', data: event, id: '', text });
      return;
    }
    if (this.#rejoin.verifyChain && text) this.#verify(this.#hash, event, text);
    this.version = event.version;
    this.#hash = event.hash;
    this.#seq = event.seq;
    for (const operation of event.patch) this.#patches.push(operation);
    this.#rejoin.writes.seen(this.name, event);
  }

  /** @param {string} previous @param {ChangeEvent} event @param {string} text */
  #verify(previous, event, text) {
    const epoch = this.#epoch;
    this.#verified = this.#verified.then(async () => {
      if (epoch !== this.#epoch || (await verify(previous, event, text)) !== false || epoch !== this.#epoch) return;
      if (!(await this.#rejoin.seesEverything())) return;
      this.#listeners.forEach((fn) => fn({ event: 'broken-chain', data: event, id: '', text }));
      await this.refresh();
    });
  }

  #apply() {
    if (this.#patches.length === 0) return;
    const patches = this.#patches;
    this.#patches = [];
    try {
      this.#confirmed = applyPatch(this.#confirmed, patches);
    } catch (error) {
      // It was made for another state than this one.
      this.error = error;
      this.refresh();
    }
  }

  /** @param {DocumentBody} body @param {number} seq 0: unknown */
  #replace(body, seq) {
    this.#patches = [];
    this.#epoch += 1;
    this.#confirmed = this.#loaded && equal(this.#confirmed, body.state) ? this.#confirmed : body.state;
    this.version = body.version;
    this.#hash = body.hash;
    this.#seq = seq;
    this.durable = body.durable ?? true;
    this.#settle();
  }

  #gone() {
    this.#patches = [];
    this.#epoch += 1;
    this.#confirmed = null;
    this.#settle();
  }

  #settle() {
    this.#loaded = true;
    this.#synced = true;
    this.error = null;
    const early = this.#early;
    this.#early = [];
    for (const { data, text } of early) if (this.#synced) this.#change(data, text);
    this.#changed();
  }

  /** Fetches the state, and applies what came meanwhile. */
  async #fetch() {
    if (this.#fetching) return;
    this.#fetching = true;
    clearTimeout(this.#again);
    const epoch = this.#epoch;
    try {
      const requests = this.#rejoin.requestsFor(this.name);
      const { body, headers } = await requests.get(`/api/v1/${this.name}`, `${this.name} ${epoch}`);
      this.#fetching = false;
      // A snapshot that came meanwhile is newer.
      if (epoch === this.#epoch) this.#replace(body, seqOf(headers.get('rejoin-position')));
    } catch (error) {
      this.#fetching = false;
      if (epoch !== this.#epoch) return;
      const { status, problem } = /** @type {any} */ (error);
      this.error = error;
      if (status === 404 || status === 410) {
        this.version = problem?.lastVersion ?? 0;
        this.#gone();
      } else {
        this.#again = setTimeout(() => this.#synced || this.#fetch(), AGAIN_MS);
      }
      this.#notify();
    }
  }

  #changed() {
    this.#shown = undefined;
    this.#notify();
  }

  #notify() {
    if (this.#subscribers.size === 0) return;
    this.#frame ??= onFrame(() => {
      this.#frame = null;
      for (const fn of [...this.#subscribers]) fn(this);
    });
  }
}
