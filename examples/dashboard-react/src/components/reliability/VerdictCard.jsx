import { time } from '../../lib/dates.js';

const SIGNS = { verified: '✓', stale: '…', discrepancy: '!' };

export function VerdictCard({ verdict }) {
  const { service, status, counts, checksum, latencyMs, at } = verdict;
  return (
    <article className={`card ${status}`}>
      <h3>{service}</h3>
      <p className="verdict">
        <span aria-hidden="true">{SIGNS[status]}</span> {status}
      </p>
      <dl>
        {Object.entries(counts).map(([name, count]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{count.toLocaleString()}</dd>
          </div>
        ))}
        <div>
          <dt>checksum</dt>
          <dd>
            <code title={checksum}>{checksum.slice(0, 12)}</code>
          </dd>
        </div>
        <div>
          <dt>took</dt>
          <dd>{latencyMs.toFixed(1)} ms</dd>
        </div>
        <div>
          <dt>at</dt>
          <dd>{time(at)}</dd>
        </div>
      </dl>
      {verdict.discrepancyDetails && <Details {...verdict.discrepancyDetails} />}
    </article>
  );
}

function Details({ expected, actual, missingJobIds }) {
  const names = [...new Set([...Object.keys(expected), ...Object.keys(actual)])];
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">count</th>
          <th scope="col">expected</th>
          <th scope="col">actual</th>
        </tr>
      </thead>
      <tbody>
        {names.map((name) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td>{expected[name] ?? '–'}</td>
            <td>{actual[name] ?? '–'}</td>
          </tr>
        ))}
      </tbody>
      {missingJobIds.length > 0 && <caption>Missing: {missingJobIds.join(', ')}</caption>}
    </table>
  );
}
