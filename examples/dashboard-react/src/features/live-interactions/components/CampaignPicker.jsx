import { useCollection } from 'rejoin-client/react';

import { CampaignDetail } from './CampaignDetail.jsx';

export function CampaignPicker({ campaignId, onChoose }) {
  const { items, loaded } = useCollection('campaigns');
  const chosen = items.find((one) => one.id === campaignId);
  return (
    <section aria-labelledby="campaign">
      <h2 id="campaign">Campaign</h2>
      <select aria-label="Campaign" value={campaignId ?? ''} onChange={({ target }) => onChoose(target.value || null)}>
        <option value="">All campaigns</option>
        {items.map(({ id, state }) => (
          <option key={id} value={id}>
            {state.name ?? id}
          </option>
        ))}
      </select>
      {loaded && items.length === 0 && <p className="quiet">There is no campaign yet.</p>}
      {chosen && <CampaignDetail campaign={chosen} />}
    </section>
  );
}
