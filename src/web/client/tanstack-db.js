// A collection of the server as a collection of TanStack DB.

import { equal } from './patch.js';
import { defaultRejoin } from './rejoin.js';

/** @typedef {import('./client.js').Rejoin} Rejoin */
/** @typedef {import('./types.js').DocumentBody} DocumentBody */
/** @typedef {{id: string, [member: string]: any}} Item */

/** How long a change that the server has taken may take to come back by the stream, in milliseconds. */
const RETURN_MS = 10_000;

/** @param {DocumentBody} document @returns {Item} */
const itemOf = ({ id, state }) => ({ ...state, id });

/** What makes one item of another, as a JSON Patch of its members. @param {Item} before @param {Item} after */
function patchOf(before, after) {
  const escape = (/** @type {string} */ name) => name.replaceAll('~', '~0').replaceAll('/', '~1');
  const patch = [];
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const path = `/${escape(name)}`;
    if (name === 'id') continue;
    if (after[name] === undefined) {
      if (before[name] !== undefined) patch.push({ op: 'remove', path });
    } else if (before[name] === undefined || !equal(before[name], after[name])) {
      patch.push({ op: 'add', path, value: after[name] });
    }
  }
  return patch;
}

/** The documents that the stream has brought, and who waits for more of them. */
class Synced {
  /** @type {Set<() => void>} */
  #waiting = new Set();
  /** @type {Map<string, DocumentBody>} */
  known = new Map();

  /**
   * Waits until the stream has brought a write's version of a document, or a later one.
   * @param {{id: string, version: number, hash: string}} written
   */
  untilSynced({ id, version, hash }) {
    return this.until((known) => {
      const one = known.get(id);
      return one !== undefined && (one.version > version || (one.version === version && one.hash === hash));
    });
  }

  /** @param {(known: Map<string, DocumentBody>) => boolean} arrived @returns {Promise<void>} */
  until(arrived) {
    return new Promise((resolve) => {
      const timer = setTimeout(() => end(), RETURN_MS);
      const end = () => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve();
      };
      const look = () => void (arrived(this.known) && end());
      this.#waiting.add(look);
      look();
    });
  }

  look() {
    for (const look of [...this.#waiting]) look();
  }
}

/**
 * Options for `createCollection` of `@tanstack/db`: items are `{id, ...state}`, their key is `id`. Inserting, updating
 * and deleting become POST, PATCH and DELETE, and last until their change comes back by the stream.
 * @param {{collection: string, rejoin?: Rejoin}} options `rejoin`: left out, the page's own server
 */
export function rejoinCollectionOptions({ collection, rejoin = defaultRejoin() }) {
  const synced = new Synced();
  /** @param {string} id */
  const path = (id) => `/api/v1/${collection}/${id}`;
  /** @typedef {{transaction: {mutations: {original: any, modified: any, key: any}[]}}} Changes */
  return {
    id: `rejoin:${rejoin.url}:${collection}`,
    /** @param {Item} item */
    getKey: (item) => item.id,
    sync: {
      rowUpdateMode: /** @type {const} */ ('full'),
      /** @param {{begin: () => void, write: (message: any) => void, commit: () => void, markReady: () => void}} to */
      sync({ begin, write, commit, markReady }) {
        const opened = rejoin.collection(collection);
        const { known } = synced;
        known.clear();
        const look = () => {
          if (!opened.loaded) return;
          begin();
          for (const one of opened.items) {
            const before = known.get(one.id);
            if (before === one || (before?.version === one.version && before.hash === one.hash)) continue;
            write({ type: before ? 'update' : 'insert', value: itemOf(one) });
            known.set(one.id, one);
          }
          for (const [id, one] of known) {
            if (opened.get(id)) continue;
            write({ type: 'delete', value: itemOf(one) });
            known.delete(id);
          }
          commit();
          markReady();
          synced.look();
        };
        const stop = opened.subscribe(look);
        look();
        return () => {
          stop();
          opened.close();
        };
      },
    },
    /** @param {Changes} changes */
    async onInsert({ transaction }) {
      for (const { modified } of transaction.mutations) {
        const { id, ...state } = modified;
        await synced.untilSynced(await rejoin.create(collection, { id, state }));
      }
    },
    /** @param {Changes} changes */
    async onUpdate({ transaction }) {
      for (const { original, modified } of transaction.mutations) {
        const body = patchOf(original, modified);
        const headers = { 'content-type': 'application/json-patch+json' };
        const { body: document } = await rejoin.requests.send('PATCH', path(original.id), { body, headers });
        await synced.untilSynced(document);
      }
    },
    /** @param {Changes} changes */
    async onDelete({ transaction }) {
      for (const { key } of transaction.mutations) {
        await rejoin.requests.send('DELETE', path(String(key)));
        await synced.until((known) => !known.has(String(key)));
      }
    },
  };
}
