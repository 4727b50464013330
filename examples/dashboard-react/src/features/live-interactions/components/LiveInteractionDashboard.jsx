import { useLiveInteraction } from 'rejoin-client/react';

import { time } from '../../../lib/dates.js';
import { InteractionDetail } from './InteractionDetail.jsx';
import { LiveInteractionList } from './LiveInteractionList.jsx';

export function LiveInteractionDashboard() {
  const { isLoading, error, lastUpdate, currentInteractionId, refreshInteractions } = useLiveInteraction();
  return (
    <section aria-labelledby="interactions">
      <h2 id="interactions">Live interactions</h2>
      <p className="quiet">
        Last change {time(lastUpdate)}{' '}
        <button type="button" onClick={refreshInteractions}>
          Refresh
        </button>
      </p>
      {error && <p role="alert" className="problem">They could not be fetched: {error.message}</p>}
      {isLoading ? <p className="quiet">Loading</p> : <LiveInteractionList />}
      {currentInteractionId && <InteractionDetail id={currentInteractionId} />}
    </section>
  );
}
