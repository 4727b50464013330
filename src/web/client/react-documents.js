// Documents, collections, notifications and conflicts as components see them.

import { useCallback, useMemo, useSyncExternalStore } from 'react';

import { useRejoin } from './react-provider.js';

/** @typedef {import('./client.js').Rejoin} Rejoin */
/** @typedef {import('./types.js').DocumentBody} DocumentBody */
/** @typedef {import('./types.js').ConnectionStatus} ConnectionStatus */

/** Whether two values are the same, or objects with the same members. @param {any} one @param {any} other */
export function shallowEqual(one, other) {
  if (Object.is(one, other)) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || !one || !other) return false;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => Object.is(one[name], other[name]));
}

/**
 * A value of something that tells its subscribers of changes. `read` gives the same object until the value changes.
 * @template Source, Value
 * @param {Source & {subscribe: (fn: () => void) => () => void}} source
 * @param {(source: Source) => Value} read
 */
export function useSubscribed(source, read) {
  const subscribe = useCallback((/** @type {() => void} */ fn) => source.subscribe(fn), [source]);
  const get = () => read(source);
  return useSyncExternalStore(subscribe, get, get);
}

/**
 * What is open while a component is mounted, as an external store of React. Begins with what is open already.
 * @template Opened, Value
 * @param {object} how
 * @param {() => Opened & {subscribe: (fn: () => void) => () => void, close: () => void}} how.open
 * @param {Opened | undefined} how.already
 * @param {Value} how.empty
 * @param {(opened: Opened) => Value} how.read
 */
function createStore({ open, already, empty, read }) {
  /** @type {Opened | null} */
  let opened = null;
  let value = already ? read(already) : empty;
  /** Gives whether anything is different now. @param {Opened} from */
  const update = (from) => {
    const next = read(from);
    if (shallowEqual(value, next)) return false;
    value = next;
    return true;
  };
  return {
    get: () => value,
    /** @param {() => void} fn */
    subscribe(fn) {
      const mine = open();
      opened = mine;
      update(mine);
      const stop = mine.subscribe(() => void (update(mine) && fn()));
      return () => {
        stop();
        mine.close();
        if (opened === mine) opened = null;
      };
    },
    /** While the component is mounted. */
    current() {
      if (!opened) throw new Error('the component is not mounted');
      return opened;
    },
  };
}

/** @type {{state: any, version: number, durable: boolean, pending: number, loaded: boolean, error: any, players: any[],
 *   status: ConnectionStatus}} */
const NO_DOCUMENT = {
  state: null, version: 0, durable: false, pending: 0, loaded: false, error: null, players: [], status: 'reconnecting',
};

/**
 * A document, followed while the component is mounted.
 * @param {string} name `collection/id`
 */
export function useDocument(name) {
  const rejoin = useRejoin();
  const { store, acts } = useMemo(() => {
    const store = createStore({
      open: () => rejoin.document(name),
      already: rejoin.open(name),
      empty: NO_DOCUMENT,
      read: ({ state, version, durable, pending, loaded, error, players, status }) =>
        ({ state, version, durable, pending, loaded, error, players, status }),
    });
    const acts = {
      /** @type {import('./documents.js').RejoinDocument['act']} */
      act: async (...all) => store.current().act(...all),
      /** @type {import('./documents.js').RejoinDocument['patch']} */
      patch: async (patch) => store.current().patch(patch),
      /** @type {import('./documents.js').RejoinDocument['put']} */
      put: async (state) => store.current().put(state),
      refresh: async () => void (await store.current().refresh()),
    };
    return { store, acts };
  }, [rejoin, name]);
  return { ...useSyncExternalStore(store.subscribe, store.get, store.get), ...acts };
}

/** @type {{items: DocumentBody[], loaded: boolean, error: any, status: ConnectionStatus}} */
const NO_COLLECTION = { items: [], loaded: false, error: null, status: 'reconnecting' };

/**
 * All documents of a collection, followed while the component is mounted.
 * @param {string} name
 */
export function useCollection(name) {
  const rejoin = useRejoin();
  const store = useMemo(() => createStore({
    open: () => rejoin.collection(name),
    already: rejoin.openCollection(name),
    empty: NO_COLLECTION,
    read: ({ items, loaded, error, status }) => ({ items, loaded, error, status }),
  }), [rejoin, name]);
  return useSyncExternalStore(store.subscribe, store.get, store.get);
}

/** What a person should notice, the newest first. */
export function useNotifications() {
  const { notifications } = useRejoin();
  const list = useSubscribed(notifications, (source) => source.list);
  return useMemo(() => ({
    notifications: list,
    unread: list.filter((one) => !one.read).length,
    markRead: (/** @type {string} */ id) => notifications.markRead(id),
  }), [notifications, list]);
}

/** This browser's writes that a person has to look at. */
export function useConflicts() {
  const { writes } = useRejoin();
  const conflicts = useSubscribed(writes, (source) => source.conflicts);
  return useMemo(() => ({
    conflicts,
    dismiss: (/** @type {string} */ id) => writes.dismissConflict(id),
  }), [writes, conflicts]);
}
