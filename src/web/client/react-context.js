// What React components share: the client, and in the query cache how the server is reached and what has changed.

import { useQuery, useQueryClient } from '@tanstack/react-query';
import { createContext, createElement, useContext, useEffect, useState } from 'react';

import { createRejoin } from './rejoin.js';

/** @typedef {import('./client.js').Rejoin} Rejoin */
/** @typedef {import('./types.js').ConnectionStatus} ConnectionStatus */
/** @typedef {import('@tanstack/react-query').QueryClient} QueryClient */

/** Where the query cache has the status of the connection. */
export const STATUS_KEY = ['rejoin', 'status'];
/** Queries about what changes all the time are fetched again at most this often, in milliseconds. */
const INVALIDATE_MS = 100;

const Context = createContext(/** @type {Rejoin | null} */ (null));

/** The client of the nearest `RejoinProvider`. */
export function useRejoin() {
  const rejoin = useContext(Context);
  if (!rejoin) throw new Error('there is no RejoinProvider around this component');
  return rejoin;
}

/**
 * Gives the components below a client: the one that is passed, or one of its own that ends with it.
 * @param {{rejoin?: Rejoin, children?: import('react').ReactNode} & import('./types.js').RejoinOptions} properties
 */
export function RejoinProvider({ rejoin, children, ...options }) {
  const [own, setOwn] = useState(() => rejoin ?? createRejoin(options));
  const shared = rejoin ?? own;
  const queries = useQueryClient();

  useEffect(() => {
    if (rejoin) return undefined;
    // In strict mode effects end and begin again at once, which must not end the client.
    /** @type {any} */ (own).closing = clearTimeout(/** @type {any} */ (own).closing);
    if (own.closed) setOwn(createRejoin(options));
    return () => void (/** @type {any} */ (own).closing = setTimeout(() => own.close()));
  }, [rejoin, own]);

  useEffect(() => keepCache(shared, queries), [shared, queries]);
  return createElement(Context.Provider, { value: shared }, children);
}

/** Writes the status into the query cache, and has queries about what changed fetched again. Gives what ends it.
 * @param {Rejoin} rejoin @param {QueryClient} queries */
function keepCache(rejoin, queries) {
  const { hub } = rejoin;
  const showStatus = () => void queries.setQueryData(STATUS_KEY, hub.worstStatus);
  const invalidate = invalidator(queries);
  /** @param {any} one */
  const changed = ({ collection, id }) => {
    invalidate(['rejoin', collection, id]);
    invalidate(['rejoin', collection], true);
  };
  showStatus();
  hub.onStatus.add(showStatus);
  const stops = [
    () => hub.onStatus.delete(showStatus),
    hub.listen('change', ({ data }) => changed(data)),
    hub.listen('snapshot', ({ data }) => data.documents.forEach(changed)),
    () => invalidate.stop(),
  ];
  return () => stops.forEach((stop) => stop());
}

/**
 * A function that has queries fetched again: once for many calls, and never while they are being fetched, so that a
 * document which changes all the time does not keep its query from ever ending.
 * @param {QueryClient} queries
 */
export function invalidator(queries) {
  /** @type {Map<string, {queryKey: readonly unknown[], exact: boolean}>} */
  const waiting = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const flush = () => {
    timer = undefined;
    for (const [name, filter] of waiting) {
      if (queries.isFetching(filter) > 0) continue;
      waiting.delete(name);
      void queries.invalidateQueries(filter);
    }
    if (waiting.size > 0) timer = setTimeout(flush, INVALIDATE_MS);
  };
  /** @param {readonly unknown[]} queryKey @param {boolean} [exact] */
  const invalidate = (queryKey, exact = false) => {
    waiting.set(JSON.stringify([queryKey, exact]), { queryKey, exact });
    timer ??= setTimeout(flush, INVALIDATE_MS);
  };
  invalidate.stop = () => clearTimeout(timer);
  return invalidate;
}

/** How the server is reached: the worst of all that the page follows. @returns {ConnectionStatus} */
export function useConnectionStatus() {
  const { hub } = useRejoin();
  const { data } = useQuery({
    queryKey: STATUS_KEY,
    queryFn: () => hub.worstStatus,
    initialData: () => hub.worstStatus,
    staleTime: Infinity,
    gcTime: Infinity,
    networkMode: 'always',
  });
  return data;
}
