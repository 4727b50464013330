// Queries that the server's streams keep right.

import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useRef, useState } from 'react';

import { createInvalidator } from './react-invalidation.js';
import { useConnectionStatus, useRejoin } from './react-provider.js';
import { verdictProblems } from './verdicts.js';

/** @typedef {import('./verdicts.js').Verdict} Verdict */
/** @typedef {import('@tanstack/react-query').QueryClient} QueryClient */

/** Where the query cache has the verdicts in force, by service. */
export const VERDICTS_KEY = ['reconciliation', 'verdicts'];

/** @type {Record<string, Verdict>} */
const NONE = {};

/** How many components keep the verdicts of a query cache. @type {WeakMap<QueryClient, number>} */
const observers = new WeakMap();

/**
 * A query that says whether it can be relied on. While the component is mounted, what its key names is followed:
 * `['rejoin', collection]` or `['rejoin', collection, id, …]`; a change there has it fetched again.
 * @template [Data=unknown]
 * @param {import('@tanstack/react-query').UseQueryOptions<any, any, Data, any>} options of `useQuery`
 */
export function useReliableQuery(options) {
  const rejoin = useRejoin();
  const query = useQuery(options);
  const connectionStatus = useConnectionStatus();
  const [scope, collection, id] = /** @type {readonly unknown[]} */ (options.queryKey);
  const followed = scope === 'rejoin' && typeof collection === 'string' ? collection : null;
  const name = followed && typeof id === 'string' ? `${followed}/${id}` : followed;
  useEffect(() => {
    if (!name) return undefined;
    const opened = name.includes('/') ? rejoin.document(name) : rejoin.collection(name);
    return () => opened.close();
  }, [rejoin, name]);
  return {
    ...query,
    isStale: query.isStale || (connectionStatus !== null && connectionStatus !== 'connected'),
    lastUpdatedAt: query.dataUpdatedAt > 0 ? new Date(query.dataUpdatedAt) : null,
    connectionStatus,
  };
}

/**
 * Follows the verdicts of reconciliation and keeps them in the query cache; other queries whose key begins with
 * `reconciliation` are fetched again. One that is not what it should be is reported and left out.
 * @param {{onInvalid?: (problems: string[], data: unknown) => void}} [options]
 */
export function useReconciliationStream({ onInvalid } = {}) {
  const rejoin = useRejoin();
  const queries = useQueryClient();
  const told = useRef(onInvalid);
  told.current = onInvalid;
  const [status, setStatus] = useState(/** @type {import('./types.js').ConnectionStatus} */ ('reconnecting'));
  /** @type {import('react').RefObject<import('./types.js').StreamHandle | null>} */
  const stream = useRef(null);

  useEffect(() => {
    const invalidate = createInvalidator(queries);
    /** Problems that are reported already: a server that is wrong is wrong many times a second. @type {Set<string>} */
    const reported = new Set();
    /** @param {(verdicts: Record<string, Verdict>) => Record<string, Verdict>} change */
    const update = (change) => {
      /** @type {Record<string, Verdict> | undefined} */
      const found = queries.getQueryData(VERDICTS_KEY);
      queries.setQueryData(VERDICTS_KEY, change(found ?? NONE));
      for (const { queryKey } of queries.getQueryCache().findAll({ queryKey: ['reconciliation'] })) {
        if (queryKey[1] !== VERDICTS_KEY[1]) invalidate(queryKey, true);
      }
    };
    /** @param {import('./types.js').StreamEvent} event */
    const onEvent = ({ event, data }) => {
      if (event === 'snapshot') {
        // All verdicts in force follow: services that are not among them are no more.
        update(() => NONE);
      } else if (event === 'reconciliation.removed') {
        update(({ [data.service]: _, ...rest }) => rest);
      } else if (event === 'reconciliation.update') {
        const problems = verdictProblems(data);
        if (problems.length === 0) {
          update((verdicts) => ({ ...verdicts, [data.service]: data }));
          return;
        }
        told.current?.(problems, data);
        const message = `reconciliation.update: ${problems.join('; ')}`;
        if (reported.has(message)) return;
        reported.add(message);
        rejoin.reportError({ message });
      }
    };
    const others = observers.get(queries) ?? 0;
    observers.set(queries, others + 1);
    // What is left of an earlier observer may name services that were removed since.
    if (others === 0) queries.setQueryData(VERDICTS_KEY, NONE);
    const handle = rejoin.connectStream('/reconciliation/stream', { onEvent, onStatus: setStatus });
    stream.current = handle;
    setStatus(handle.status);
    return () => {
      observers.set(queries, (observers.get(queries) ?? 1) - 1);
      invalidate.stop();
      handle.close();
    };
  }, [rejoin, queries]);

  const { data: verdicts = NONE, dataUpdatedAt } = useQuery({
    queryKey: VERDICTS_KEY,
    queryFn: () => queries.getQueryData(VERDICTS_KEY) ?? NONE,
    initialData: NONE,
    initialDataUpdatedAt: 0,
    staleTime: Infinity,
    networkMode: 'always',
  });
  const reconnect = useCallback(() => stream.current?.reconnect(), []);
  return { verdicts, status, lastUpdatedAt: dataUpdatedAt > 0 ? new Date(dataUpdatedAt) : null, reconnect };
}
