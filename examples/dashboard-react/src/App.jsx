import { ErrorBoundary, LiveInteractionProvider } from 'rejoin-client/react';
import { useState } from 'react';

import { Layout } from './components/layout/Layout.jsx';
import { CampaignPicker } from './features/live-interactions/components/CampaignPicker.jsx';
import { LiveInteractionDashboard } from './features/live-interactions/components/LiveInteractionDashboard.jsx';
import { ReliabilityFeed } from './features/reliability-feed/components/ReliabilityFeed.jsx';
import { rejoin } from './lib/client.js';

export function App() {
  const [campaignId, setCampaignId] = useState(() => new URLSearchParams(location.search).get('campaign'));
  const choose = (id) => {
    history.replaceState(null, '', id ? `?campaign=${encodeURIComponent(id)}` : location.pathname);
    setCampaignId(id);
  };
  return (
    <Layout>
      <ErrorBoundary rejoin={rejoin}>
        <ReliabilityFeed />
      </ErrorBoundary>
      <ErrorBoundary rejoin={rejoin}>
        <CampaignPicker campaignId={campaignId} onChoose={choose} />
        <LiveInteractionProvider campaignId={campaignId}>
          <LiveInteractionDashboard />
        </LiveInteractionProvider>
      </ErrorBoundary>
    </Layout>
  );
}
