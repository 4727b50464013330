// Documents, collections, notifications and conflicts as components see them.

import { useMemo, useSyncExternalStore } from 'react';

import { useRejoin } from './react-context.js';

/** @typedef {import('./client.js').Rejoin} Rejoin */
/** @typedef {import('./types.js').DocumentBody} DocumentBody */
/** @typedef {import('./types.js').ConnectionStatus} ConnectionStatus */

/**
 * What is open while a component is mounted, as an external store of React.
 * @template Opened, Value
 * @param {{open: () => Opened & {subscribe: (fn: () => void) => () => void, close: () => void}, empty: Value,
 *   read: (opened: Opened) => Value}} how
 */
function storeOf({ open, empty, read }) {
  /** @type {Opened | null} */
  let opened = null;
  let value = empty;
  return {
    get: () => value,
    /** @param {() => void} fn */
    subscribe(fn) {
      const mine = open();
      opened = mine;
      value = read(mine);
      const stop = mine.subscribe(() => {
        value = read(mine);
        fn();
      });
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
    const store = storeOf({
      open: () => rejoin.document(name),
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
  const store = useMemo(() => storeOf({
    open: () => rejoin.collection(name),
    empty: NO_COLLECTION,
    read: ({ items, loaded, error, status }) => ({ items, loaded, error, status }),
  }), [rejoin, name]);
  return useSyncExternalStore(store.subscribe, store.get, store.get);
}

/** What a person should notice, the newest first. */
export function useNotifications() {
  const { notifications } = useRejoin();
  const get = () => notifications.list;
  const list = useSyncExternalStore((fn) => notifications.subscribe(fn), get, get);
  return useMemo(() => ({
    notifications: list,
    unread: list.filter((one) => !one.read).length,
    markRead: (/** @type {string} */ id) => notifications.markRead(id),
  }), [notifications, list]);
}

/** This browser's writes that a person has to look at. */
export function useConflicts() {
  const { writes } = useRejoin();
  const get = () => writes.conflicts;
  const conflicts = useSyncExternalStore((fn) => writes.subscribe(fn), get, get);
  return useMemo(() => ({
    conflicts,
    dismiss: (/** @type {string} */ id) => writes.dismissConflict(id),
  }), [writes, conflicts]);
}
