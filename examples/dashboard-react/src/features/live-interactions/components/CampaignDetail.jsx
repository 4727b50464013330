import { time } from '../../../lib/dates.js';

export function CampaignDetail({ campaign }) {
  const { id, version, state, updatedAt } = campaign;
  return (
    <p>
      <strong>{state.name ?? id}</strong> {state.description}
      <small className="quiet">
        {' '}
        version {version}
        {updatedAt && `, ${time(updatedAt)}`}
      </small>
    </p>
  );
}
