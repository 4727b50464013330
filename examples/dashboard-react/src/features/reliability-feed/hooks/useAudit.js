import { useReliableQuery, useRejoin } from 'rejoin-client/react';

import { readAudit } from '../api/audit.js';

/** The newest comparisons, fetched again when a verdict comes. */
export function useAudit(limit = 8) {
  const rejoin = useRejoin();
  return useReliableQuery({
    queryKey: ['reconciliation', 'audit', limit],
    queryFn: () => readAudit(rejoin, limit),
    staleTime: Infinity,
  });
}
