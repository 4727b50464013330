// The writes of a browser: sent in order, kept while the server cannot be reached, shown before they are confirmed and
// taken back when they are refused. All tabs share them.

import { isOnline, listen, load, orderedId, randomId, save } from './environment.js';
import { applyPatch, equal, mergeDifference, mergePatch } from './patch.js';
import { classify, executeWithRetry, RejoinError } from './retry.js';
import { openStore } from './store.js';

/** @typedef {import('./types.js').Write} Write */
/** @typedef {import('./types.js').Conflict} Conflict */
/** @typedef {import('./client.js').Rejoin} Rejoin */
/** @typedef {import('./documents.js').RejoinDocument} RejoinDocument */

/** Conflicts that are kept for a person, the newest. */
const CONFLICTS_MAX = 100;
/** How long another tab's write is shown without a word from it, in milliseconds. */
const FOREIGN_MS = 60_000;

/** What cannot be answered now is kept, and sent later with the same key. @param {unknown} error */
const isUnreachable = (error) => ['network', 'timeout'].includes(classify(error));

/** The unsent and unconfirmed writes of a scope. */
export class Writes {
  /** In the order in which they were made. `queued`: kept in the store. @type {Map<string, Write>} */
  #writes = new Map();
  /** @type {Map<string, Set<() => void>>} */
  #watchers = new Map();
  /** The last write of each document that was sent straight away. @type {Map<string, Promise<unknown>>} */
  #tails = new Map();
  /** @type {Conflict[]} */
  #conflicts = [];
  /** @type {Set<() => void>} */
  #listeners = new Set();
  /** @type {Promise<import('./store.js').WriteStore> | null} */
  #store = null;
  /** @type {Promise<void> | null} */
  #draining = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;
  #failures = 0;
  /** Who the server takes this page for; null: not known yet. @type {string | null} */
  #user = null;
  #rejoin;
  #stops;

  /** @param {Rejoin} rejoin */
  constructor(rejoin) {
    this.#rejoin = rejoin;
    const { hub } = rejoin;
    const onMessage = (/** @type {any} */ message) => this.#receive(message);
    const onLead = () => void this.drain();
    hub.onMessage.add(onMessage);
    hub.onLead.add(onLead);
    this.#stops = [
      () => hub.onMessage.delete(onMessage),
      () => hub.onLead.delete(onLead),
      listen(/** @type {any} */ (globalThis), {
        online: onLead,
        beforeunload: (/** @type {Event} */ event) => {
          if (this.#unsaved().length > 0) event.preventDefault();
        },
      }),
    ];
  }

  /** Reads what earlier pages left, and sends it, once the page uses anything. */
  open() {
    if (!this.#store) this.#conflicts = load(this.#conflictsKey) ?? [];
    this.#store ??= openStore(this.#rejoin.hub.scope).then(async (store) => {
      for (const write of await store.all()) this.#set({ ...write, queued: true });
      this.#schedule(0);
      return store;
    });
    return this.#store;
  }

  close() {
    clearTimeout(this.#retryTimer);
    for (const stop of this.#stops) stop();
  }

  // -- what is shown

  /** @param {string} name @param {() => void} fn */
  watch(name, fn) {
    void this.open();
    const watchers = this.#watchers.get(name) ?? new Set();
    this.#watchers.set(name, watchers.add(fn));
    return () => void watchers.delete(fn);
  }

  /** The writes to a document that `version` does not have yet. @param {string} name @param {number} version */
  pending(name, version) {
    const found = [];
    for (const write of this.#ordered()) {
      if (write.document !== name) continue;
      if (write.confirmed && write.confirmed <= version) this.#writes.delete(write.id);
      else found.push(write);
    }
    return found;
  }

  /** The state as it will be when all pending writes are through. @param {string} name @param {any} state
   * @param {number} version */
  predict(name, state, version) {
    for (const write of this.pending(name, version)) if (!write.seen) state = predictOne(state, write);
    return state;
  }

  /** An event came from the stream: it may be one's own write, whose answer is still on its way. @param {string} name
   * @param {import('./types.js').ChangeEvent} event */
  seen(name, event) {
    const write = this.#ordered().find(
      (one) => one.document === name && one.kind === 'act' && one.sent && !one.seen && !one.confirmed &&
        one.body.type === event.type && equal(one.body.payload ?? {}, event.payload ?? {}),
    );
    if (write) write.seen = true;
  }

  // -- conflicts and counts, as data

  get conflicts() {
    return this.#conflicts;
  }

  /** Everything that waits. @returns {Write[]} */
  get operations() {
    return this.#ordered().filter((write) => !write.confirmed);
  }

  /** @param {() => void} fn */
  subscribe(fn) {
    void this.open();
    this.#listeners.add(fn);
    return () => void this.#listeners.delete(fn);
  }

  /** @param {string} id */
  dismissConflict(id) {
    this.#setConflicts(this.#conflicts.filter((one) => one.id !== id));
    this.#rejoin.hub.post({ kind: 'dismissed', id });
  }

  size() {
    return this.#queue().length;
  }

  async clear() {
    const store = await this.open();
    for (const write of this.#queue()) {
      await store.remove(write.id);
      this.#drop(write.id);
    }
  }

  // -- writing

  /**
   * @param {RejoinDocument} document
   * @param {'act' | 'patch' | 'put'} kind
   * @param {any} body
   * @param {any} [optimistic]
   * @returns {Promise<any>}
   */
  async submit(document, kind, body, optimistic) {
    if (typeof optimistic === 'function') optimistic = mergeDifference(document.state, optimistic(document.state));
    /** @type {Write} */
    const write = {
      id: orderedId(), key: randomId(), document: document.name, kind, body, optimistic, tab: this.#rejoin.hub.tabs?.id,
      at: new Date().toISOString(), base: document.version, baseHash: document.hash, user: this.#user,
    };
    this.#set(write);
    this.#rejoin.hub.post({ kind: 'write', write });
    await null;
    if (!isOnline() || this.#queue().length > 0) return this.#enqueue(write);
    const before = this.#tails.get(write.document);
    const sent = Promise.resolve(before).catch(() => {}).then(() => this.#sendNow(write));
    this.#tails.set(write.document, sent);
    return sent;
  }

  /** @param {Write} write */
  async #sendNow(write) {
    if (this.#queue().length > 0) return this.#enqueue(write);
    try {
      return this.#confirm(write, await executeWithRetry(() => this.#request(write)));
    } catch (error) {
      if (isUnreachable(error)) return this.#enqueue(write);
      this.#drop(write.id);
      throw error;
    }
  }

  /** @param {Write} write */
  async #enqueue(write) {
    write.queued = true;
    const store = await this.open();
    await store.put({ ...write, sent: undefined, seen: undefined });
    this.#rejoin.hub.post({ kind: 'write', write });
    this.#tell();
    this.#schedule(0);
    return { queued: true };
  }

  /** Sends what waits, in order, if this tab is the one that does so. @returns {Promise<void>} */
  drain() {
    if (!this.#rejoin.hub.leads) {
      this.#rejoin.hub.post({ kind: 'drain' });
      return this.#learnUser();
    }
    this.#draining ??= this.#drain().finally(() => (this.#draining = null));
    return this.#draining;
  }

  async #drain() {
    clearTimeout(this.#retryTimer);
    const store = await this.open();
    if (this.#queue().length > 0) this.#user = null;
    await this.#learnUser();
    for (let write = this.#queue()[0]; write; write = this.#queue()[0]) {
      try {
        if (this.#user && write.user && write.user !== this.#user) {
          throw new RejoinError(`it was made by ${write.user}`, { status: 403 });
        }
        const body = this.#confirm(write, await this.#sendQueued(write));
        this.#failures = 0;
        // What was done on top of it was done on top of what it became.
        for (const later of this.#queue()) {
          if (later.document !== write.document || !body?.version) continue;
          [later.base, later.baseHash] = [body.version, body.hash];
          await store.put(later);
        }
      } catch (error) {
        const kind = classify(error);
        // Whoever is logged out can log in again.
        if ((kind !== 'conflict' && kind !== 'rejection') || /** @type {any} */ (error).status === 401) {
          this.#failures += 1;
          const asked = 1000 * (/** @type {any} */ (error).retryAfter ?? 0);
          this.#schedule(Math.max(asked, Math.min(30_000, 1000 * 2 ** (this.#failures - 1))));
          return;
        }
        this.#drop(write.id);
        this.#conflict(write, /** @type {any} */ (error));
      }
      await store.remove(write.id);
      this.#tell();
    }
  }

  /** A browser's cookie may become another user's; what one has queued is not sent in the name of the other. */
  async #learnUser() {
    const { requests, token } = this.#rejoin;
    if (token || this.#user) return;
    const answer = await requests.send('GET', '/api/v1/me').catch(() => null);
    this.#user = answer?.body?.user ?? null;
  }

  /** @param {Write} write @returns {Promise<any>} */
  async #sendQueued(write) {
    if (write.kind === 'act' || !write.base) return this.#request(write);
    try {
      // As it was meant, if nobody has changed the document since.
      return await this.#request(write, { 'if-match': `"${write.base}-${write.baseHash.slice(0, 12)}"` });
    } catch (error) {
      const { status } = /** @type {any} */ (error);
      if (status !== 412 && status !== 404) throw error;
      return this.#merge(write, error);
    }
  }

  /** Brings an edit to a document that went on meanwhile. @param {Write} write @param {unknown} refusal */
  async #merge(write, refusal) {
    const edit = write.kind === 'put' ? { state: write.body } : { patch: write.body };
    const body = { baseVersion: write.base, baseHash: write.baseHash, ...edit, deviceAt: write.at };
    try {
      const merged = await this.#call(write, 'POST', '/sync', body, { 'idempotency-key': `${write.key}-merged` });
      for (const conflict of merged.conflicts ?? []) this.#conflict(write, null, conflict);
      return merged.document ?? merged;
    } catch (error) {
      const { status, problem } = /** @type {any} */ (error);
      // A server that cannot merge: parts are put on what is there now, a whole state is not.
      const cannot = status === 405 || (status === 404 && problem?.detail === 'there is nothing at this path');
      if (!cannot) throw error;
      if (write.kind === 'put') throw refusal;
      return this.#request(write, { 'idempotency-key': `${write.key}-again` });
    }
  }

  /** @param {Write} write @param {Record<string, string>} [headers] */
  #request(write, headers) {
    write.sent = true;
    const { kind, body } = write;
    if (kind === 'act') return this.#call(write, 'POST', '/actions', body, headers);
    if (kind === 'put') return this.#call(write, 'PUT', '', { state: body }, headers);
    const type = `application/${Array.isArray(body) ? 'json' : 'merge'}-patch+json`;
    return this.#call(write, 'PATCH', '', body, { 'content-type': type, ...headers });
  }

  /** @param {Write} write @param {string} method @param {string} path @param {any} body
   * @param {Record<string, string>} [headers] */
  async #call(write, method, path, body, headers = {}) {
    const all = { 'idempotency-key': write.key, ...headers };
    const address = `/api/v1/${write.document}${path}`;
    return (await this.#rejoin.requestsFor(write.document).send(method, address, { body, headers: all })).body;
  }

  // -- what became of it

  /** @param {Write} write @param {any} body */
  #confirm(write, body) {
    write.confirmed = body?.version ?? 1;
    write.queued = false;
    this.#rejoin.hub.post({ kind: 'confirmed', id: write.id, version: write.confirmed });
    // Nobody may look at the document any more.
    setTimeout(() => this.#writes.delete(write.id), FOREIGN_MS);
    this.#rejoin.open(write.document)?.take(body);
    this.#changed(write.document);
    return body;
  }

  /** @param {Write} write @param {RejoinError | null} error @param {any} [found] as the server keeps it */
  #conflict(write, error, found) {
    /** @type {Conflict} */
    const conflict = {
      id: found?.id ?? write.id, document: write.document, at: write.at, kind: error?.kind ?? 'conflict', write,
      status: error?.status ?? 0, problem: error?.problem ?? null, ...found,
    };
    this.#addConflict(conflict);
    this.#rejoin.hub.post({ kind: 'conflict', conflict });
  }

  /** @param {Conflict} conflict */
  #addConflict(conflict) {
    this.#setConflicts([...this.#conflicts.filter((one) => one.id !== conflict.id), conflict].slice(-CONFLICTS_MAX));
  }

  get #conflictsKey() {
    return `rejoin:conflicts:${this.#rejoin.hub.scope}`;
  }

  /** @param {Conflict[]} conflicts */
  #setConflicts(conflicts) {
    this.#conflicts = conflicts;
    save(this.#conflictsKey, conflicts.length > 0 ? conflicts : null);
    this.#tell();
  }

  /** @param {string} id */
  #drop(id) {
    this.#remove(id);
    this.#rejoin.hub.post({ kind: 'dropped', id });
  }

  /** @param {Write} write */
  #set(write) {
    this.#writes.set(write.id, write);
    this.#changed(write.document);
  }

  /** @param {string} id */
  #remove(id) {
    const write = this.#writes.get(id);
    this.#writes.delete(id);
    if (write) this.#changed(write.document);
  }

  /** @param {string} name */
  #changed(name) {
    for (const fn of this.#watchers.get(name) ?? []) fn();
    this.#tell();
  }

  #tell() {
    for (const fn of this.#listeners) fn();
  }

  #ordered() {
    return [...this.#writes.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
  }

  #queue() {
    return this.#ordered().filter((write) => write.queued);
  }

  /** What would be lost, or not known to be done, if this page went away now. */
  #unsaved() {
    const { tabs } = this.#rejoin.hub;
    return this.#ordered().filter((one) => !one.confirmed && (one.queued || one.tab === tabs?.id));
  }

  /** @param {number} ms */
  #schedule(ms) {
    clearTimeout(this.#retryTimer);
    if (this.#queue().length > 0) this.#retryTimer = setTimeout(() => void this.drain(), ms);
  }

  /** @param {any} message of another tab */
  #receive(message) {
    const { kind, id } = message;
    if (kind === 'write') {
      const { write } = message;
      this.#set({ ...write, sent: true });
      if (write.queued) this.#schedule(0);
      else setTimeout(() => this.#writes.get(write.id)?.queued || this.#remove(write.id), FOREIGN_MS);
    } else if (kind === 'confirmed') {
      const write = this.#writes.get(id);
      if (write) this.#set({ ...write, queued: false, confirmed: message.version });
    } else if (kind === 'dropped') {
      this.#remove(id);
    } else if (kind === 'conflict') {
      this.#addConflict(message.conflict);
    } else if (kind === 'dismissed') {
      this.#setConflicts(this.#conflicts.filter((one) => one.id !== id));
    } else if (kind === 'drain' && this.#rejoin.hub.leads) {
      void this.drain();
    }
  }
}

/** @param {any} state @param {Write} write */
function predictOne(state, { kind, body, optimistic }) {
  if (kind === 'put') return body;
  const patch = optimistic ?? (kind === 'act' ? body.patch : body);
  if (patch === undefined) return state;
  try {
    return Array.isArray(patch) ? applyPatch(state, patch) : mergePatch(state, patch);
  } catch {
    // It fits no more; the server will say what becomes of it.
    return state;
  }
}
