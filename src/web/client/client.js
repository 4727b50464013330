// What a page holds: one server, one caller.

import { RejoinCollection } from './collections.js';
import { RejoinDocument } from './documents.js';
import { Flags } from './flags.js';
import { Games } from './games.js';
import { acquireHub, releaseHub } from './hub.js';
import { Notifications } from './notifications.js';
import { Writes } from './queue.js';
import { Requests } from './requests.js';
import { createErrorRecovery } from './retry.js';
import { followPath } from './paths.js';

/** @typedef {import('./types.js').RejoinOptions} RejoinOptions */
/** @typedef {import('./types.js').DocumentBody} DocumentBody */

/** Those of the page that are not closed, the oldest first. @type {Set<Rejoin>} */
const clients = new Set();

/** The first client that the page created and has not closed, else one for the page's own server. @returns {Rejoin} */
export function defaultRejoin() {
  for (const first of clients) return first;
  return new Rejoin();
}

/** One server as one caller sees it. */
export class Rejoin {
  /** @type {Map<string, {opened: RejoinDocument | RejoinCollection, users: number}>} */
  #open = new Map();
  /** Servers that documents have moved to. @type {Map<string, Requests>} */
  #moved = new Map();
  /** @type {Promise<boolean> | null} */
  #sees = null;
  #games;

  /** @param {RejoinOptions} [options] */
  constructor({ url = '', token = null, verifyChain = false, environment } = {}) {
    const base = url.replace(/\/+$/, '');
    this.url = base;
    this.token = token;
    this.verifyChain = verifyChain;
    this.requests = new Requests(base, token);
    this.hub = acquireHub(base, token);
    this.writes = new Writes(this);
    this.flags = new Flags(async () => (await this.requests.get('/api/v1/flags')).body, environment);
    this.errorRecovery = createErrorRecovery(this.writes);
    this.notifications = new Notifications(this.hub, this.requests);
    this.#games = new Games(this);
    clients.add(this);
  }

  /**
   * A document, followed until each of its users has closed it.
   * @param {string} name `collection/id`
   * @returns {RejoinDocument}
   */
  document(name) {
    if (!/^[a-z][a-z0-9-]*\/[A-Za-z0-9][\w-]*$/.test(name)) throw new TypeError(`not a document's name: ${name}`);
    return /** @type {RejoinDocument} */ (this.#share(name, () => new RejoinDocument(this, name)));
  }

  /**
   * All documents of a collection, followed until each of its users has closed it.
   * @param {string} name
   * @returns {RejoinCollection}
   */
  collection(name) {
    if (!/^[a-z][a-z0-9-]*$/.test(name)) throw new TypeError(`not a collection's name: ${name}`);
    return /** @type {RejoinCollection} */ (this.#share(name, () => new RejoinCollection(this, name)));
  }

  /** @param {string} name @param {() => RejoinDocument | RejoinCollection} make */
  #share(name, make) {
    const entry = this.#open.get(name) ?? { opened: make(), users: 0 };
    entry.users += 1;
    this.#open.set(name, entry);
    return entry.opened;
  }

  /** A document that is open, if it is. @param {string} name @returns {RejoinDocument | undefined} */
  open(name) {
    return /** @type {RejoinDocument | undefined} */ (this.#open.get(name)?.opened);
  }

  /** A collection that is open, if it is. @param {string} name @returns {RejoinCollection | undefined} */
  openCollection(name) {
    return /** @type {RejoinCollection | undefined} */ (this.#open.get(name)?.opened);
  }

  /** One of its users has closed it. Gives whether it was the last. @param {{name: string}} opened */
  release({ name }) {
    const entry = this.#open.get(name);
    if (!entry) return true;
    entry.users -= 1;
    if (entry.users > 0) return false;
    this.#open.delete(name);
    return true;
  }

  /**
   * Follows any stream of the server, shared by the browser's tabs.
   * @param {string} path
   * @param {import('./types.js').StreamOptions} options
   */
  connectStream(path, options) {
    return followPath(path, { ...options, url: this.url, token: options.token ?? this.token });
  }

  /** How documents and collections are reached. @returns {import('./types.js').ConnectionStatus} */
  get status() {
    return this.hub.status('doc=');
  }

  /** Opens every stream that is followed anew, at once. */
  reconnect() {
    this.hub.reconnectAll();
  }

  /**
   * A page of a collection.
   * @param {string} collection
   * @param {Record<string, string | number>} [query] `limit`, `cursor`, `include: 'state'`
   * @returns {Promise<{items: DocumentBody[], nextCursor?: string}>}
   */
  async list(collection, query = {}) {
    const text = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)])).toString();
    return (await this.requests.get(`/api/v1/${collection}${text && `?${text}`}`)).body;
  }

  /** All pages of a collection. @param {string} collection @param {Record<string, string | number>} [query] */
  async *pages(collection, query = {}) {
    /** @type {string | undefined} */
    let cursor;
    do {
      const page = await this.list(collection, cursor ? { ...query, cursor } : query);
      yield page.items;
      cursor = page.nextCursor;
    } while (cursor);
  }

  /** Creates a document. @param {string} collection @param {{id?: string, state: object, [more: string]: any}} body */
  async create(collection, body) {
    return /** @type {DocumentBody} */ ((await this.requests.send('POST', `/api/v1/${collection}`, { body })).body);
  }

  /** Conflicts that a person has to look at. */
  get conflicts() {
    return this.writes.conflicts;
  }

  /** Whether a flag is on; false until the flags are loaded. @param {string} name */
  isFeatureEnabled(name) {
    return this.flags.isEnabled(name);
  }

  // -- sessions

  /**
   * Opens a session. The browser keeps its cookie, and sends it to servers of the page's own host, whatever their port;
   * for another host the answer's `token` goes into `createRejoin`.
   * @param {{device?: {name: string, kind?: string, os?: string}, user?: string}} [body]
   */
  async openSession(body = {}) {
    const { body: session } = await this.requests.send('POST', '/api/v1/sessions', { body });
    if (!body.user) this.reconnect();
    return session;
  }

  /** The caller's sessions. */
  async sessions() {
    return (await this.requests.send('GET', '/api/v1/sessions')).body.items;
  }

  /** Ends all of the caller's sessions but the current one. */
  async endOthers() {
    await this.requests.send('DELETE', '/api/v1/sessions');
  }

  /** Ends one of the caller's sessions; left out: the current one. @param {string} [id] */
  async endSession(id = 'current') {
    await this.requests.send('DELETE', `/api/v1/sessions/${id}`);
    // What it left belongs to nobody who comes after.
    if (id === 'current') await this.writes.clear();
  }

  // -- games

  /** Takes a seat. @param {string} id @param {{playerId: string, seat?: number}} who */
  joinGame(id, who) {
    return this.#games.join(id, who);
  }

  /** Takes back the seat that this browser had. Null: it has none. @param {string} id */
  resumeGame(id) {
    return this.#games.resume(id);
  }

  /**
   * Tells the server what went wrong in the page. Resolves also where that cannot be told.
   * @param {{message: string, stack?: string, url?: string, appVersion?: string}} error
   */
  async reportError(error) {
    const body = { url: globalThis.location?.href, ...error };
    await this.requests.send('POST', '/audit/client-error', { body }).catch(() => {});
  }

  /** Stops everything. */
  close() {
    clients.delete(this);
    for (const { opened } of [...this.#open.values()]) opened.end();
    this.#open.clear();
    this.writes.close();
    this.notifications.close();
    releaseHub(this.hub);
  }

  // -- for the other parts of the client

  /** Who answers for a document. @param {string} name */
  requestsFor(name) {
    return this.#moved.get(name) ?? this.requests;
  }

  /** A document goes on at another server. @param {string} name @param {string} url */
  moved(name, url) {
    this.#moved.set(name, new Requests(url.replace(/\/+$/, ''), this.token));
  }

  /** Whether the caller is shown every event as it was stored. */
  seesEverything() {
    this.#sees ??= this.requests.get('/api/v1/me').then(({ body }) => body.viewer === 'owner', () => false);
    return this.#sees;
  }
}
