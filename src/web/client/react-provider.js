// What React components share: the client, and in the query cache how the server is reached and what has changed.

import { useQuery, useQueryClient } from '@tanstack/react-query';
import { createContext, createElement, useContext, useEffect, useRef, useState } from 'react';

import { createInvalidator } from './react-invalidation.js';
import { createRejoin } from './rejoin.js';

/** @typedef {import('./client.js').Rejoin} Rejoin */
/** @typedef {import('./types.js').ConnectionStatus} ConnectionStatus */
/** @typedef {import('./types.js').RejoinOptions} RejoinOptions */
/** @typedef {import('@tanstack/react-query').QueryClient} QueryClient */
/** @typedef {import('react').ReactNode} ReactNode */

/** Where the query cache has the status of the connection. */
export const STATUS_KEY = ['rejoin', 'status'];

export const RejoinContext = createContext(/** @type {Rejoin | null} */ (null));

/** The client of the nearest `RejoinProvider`. */
export function useRejoin() {
  const rejoin = useContext(RejoinContext);
  if (!rejoin) throw new Error('there is no RejoinProvider around this component');
  return rejoin;
}

/**
 * Gives the components below a client: the one that is passed, or one of its own that is closed with it.
 * @param {{rejoin?: Rejoin, children?: ReactNode} & RejoinOptions} properties
 */
export function RejoinProvider({ rejoin, children, ...options }) {
  return rejoin
    ? createElement(SharedClient, { rejoin }, children)
    : createElement(OwnClient, { options }, children);
}

/**
 * Makes a client when it is mounted and closes it when it is unmounted; the components below are there in between.
 * @param {{options: RejoinOptions, children?: ReactNode}} properties
 */
function OwnClient({ options, children }) {
  const [rejoin, setRejoin] = useState(/** @type {Rejoin | null} */ (null));
  // A build's environment stays the same, whatever object it is in.
  const { url, token, verifyChain } = options;
  const latest = useRef(options);
  latest.current = options;
  useEffect(() => {
    const own = createRejoin(latest.current);
    setRejoin(own);
    return () => own.close();
  }, [url, token, verifyChain]);
  return rejoin && createElement(SharedClient, { rejoin }, children);
}

/** @param {{rejoin: Rejoin, children?: ReactNode}} properties */
function SharedClient({ rejoin, children }) {
  const queries = useQueryClient();
  useEffect(() => syncQueryCache(rejoin, queries), [rejoin, queries]);
  return createElement(RejoinContext.Provider, { value: rejoin }, children);
}

/**
 * Writes the status into the query cache, and has queries about what changed fetched again. Gives what ends it.
 * @param {Rejoin} rejoin
 * @param {QueryClient} queries
 */
function syncQueryCache({ hub }, queries) {
  const invalidate = createInvalidator(queries);
  const writeStatus = () => {
    if (queries.getQueryData(STATUS_KEY) !== hub.worstStatus) queries.setQueryData(STATUS_KEY, hub.worstStatus);
  };
  /** @param {string} collection @param {string} id */
  const changed = (collection, id) => {
    invalidate(['rejoin', collection, id]);
    invalidate(['rejoin', collection], true);
  };
  writeStatus();
  hub.onStatus.add(writeStatus);
  const stops = [
    () => hub.onStatus.delete(writeStatus),
    hub.listen('change', ({ data }) => changed(data.collection, data.id)),
    hub.listen('snapshot', ({ data }) => {
      for (const { collection, id } of data.documents) changed(collection, id);
      for (const name of data.gone ?? []) changed(...splitName(name));
    }),
    () => invalidate.stop(),
  ];
  return () => stops.forEach((stop) => stop());
}

/** @param {string} name `collection/id` @returns {[collection: string, id: string]} */
function splitName(name) {
  const [collection, id] = name.split('/');
  return [collection, id];
}

/**
 * How the server is reached: the worst status of all that the page follows; null while it follows nothing.
 * @returns {ConnectionStatus | null}
 */
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
