import { useErrorHandler, useReconciliationStream, useRejoin } from 'rejoin-client/react';

import { VerdictCard } from '../../../components/reliability/VerdictCard.jsx';
import { time } from '../../../lib/dates.js';
import { compareNow } from '../api/audit.js';
import { sorted, summary } from '../data/summary.js';
import { useAudit } from '../hooks/useAudit.js';

export function ReliabilityFeed() {
  const rejoin = useRejoin();
  const { verdicts, lastUpdatedAt } = useReconciliationStream();
  const handle = useErrorHandler();
  return (
    <section aria-labelledby="reliability">
      <h2 id="reliability">Reliability</h2>
      <p className="lead">{summary(verdicts)}</p>
      <p className="quiet">
        Last verdict {time(lastUpdatedAt)}{' '}
        <button type="button" onClick={() => compareNow(rejoin).catch(handle)}>
          Compare now
        </button>
      </p>
      <div className="cards">
        {sorted(verdicts).map((one) => (
          <VerdictCard key={one.service} verdict={one} />
        ))}
      </div>
      <Audit />
    </section>
  );
}

function Audit() {
  const { data = [], isStale } = useAudit();
  return (
    <details>
      <summary>Latest comparisons {isStale && <em className="quiet">(may be old)</em>}</summary>
      <ul>
        {data.map((one) => (
          <li key={one.eventId}>
            {time(one.at)} <strong>{one.service}</strong> {one.status} × {one.count}
          </li>
        ))}
      </ul>
    </details>
  );
}
