import { useLiveInteraction } from 'rejoin-client/react';

import { words } from '../../../lib/words.js';

export function LiveInteractionList() {
  const { interactions, current, choose } = useLiveInteraction((all) => ({
    interactions: all.activeInteractions,
    current: all.currentInteractionId,
    choose: all.setCurrentInteraction,
  }));
  if (interactions.length === 0) return <p className="quiet">None is going on. Create one, and it appears here.</p>;
  return (
    <ul className="list">
      {interactions.map(({ id, state }) => (
        <li key={id}>
          <button type="button" aria-pressed={id === current} onClick={() => choose(id)}>
            {state.title ?? id}{' '}
            <small>
              {words(state.status)}, {state.participants?.length ?? 0} at the table
            </small>
          </button>
        </li>
      ))}
    </ul>
  );
}
