// Where unsent writes are kept: IndexedDB, or localStorage where there is none, or memory.

import { load, save, storage } from './environment.js';

/** @typedef {import('./types.js').Write} Write */
/** @typedef {{all: () => Promise<Write[]>, put: (write: Write) => Promise<void>,
 *   remove: (id: string) => Promise<void>}} WriteStore */

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** @param {string} scope @returns {Promise<WriteStore>} */
async function openDatabase(scope) {
  const opening = indexedDB.open(`rejoin:${scope}`, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore('writes', { keyPath: 'id' });
  const database = await done(opening);
  /** @param {IDBTransactionMode} mode */
  const writes = (mode) => database.transaction('writes', mode).objectStore('writes');
  return {
    all: () => done(writes('readonly').getAll()),
    put: async (write) => void (await done(writes('readwrite').put(write))),
    remove: async (id) => void (await done(writes('readwrite').delete(id))),
  };
}

/** One entry per write, so that two tabs never overwrite each other's. @param {string} scope @returns {WriteStore} */
function openStorage(scope) {
  const prefix = `rejoin:write:${scope}:`;
  const kept = /** @type {Storage} */ (storage());
  return {
    async all() {
      const keys = Array.from({ length: kept.length }, (_, at) => kept.key(at) ?? '');
      return keys.filter((key) => key.startsWith(prefix)).sort().map((key) => load(key)).filter(Boolean);
    },
    put: async (write) => save(prefix + write.id, write),
    remove: async (id) => save(prefix + id, null),
  };
}

/** @returns {WriteStore} */
function openMemory() {
  return { all: async () => [], put: async () => {}, remove: async () => {} };
}

/** @param {string} scope @returns {Promise<WriteStore>} */
export async function openStore(scope) {
  if (globalThis.indexedDB) {
    try {
      return await openDatabase(scope);
    } catch {
      // Forbidden, as in some private windows.
    }
  }
  return storage() ? openStorage(scope) : openMemory();
}
