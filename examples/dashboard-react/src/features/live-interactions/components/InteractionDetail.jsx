import { useDocument, useLiveInteraction } from 'rejoin-client/react';
import { useState } from 'react';

import { words } from '../../../lib/words.js';

/** What the dungeon master can do next. */
const NEXT = {
  idle: ['open'],
  'waiting-for-players': ['start', 'cancel'],
  'in-progress': ['nextTurn', 'pause', 'complete'],
  'waiting-for-dm': [],
  paused: ['resume', 'complete'],
};

export function InteractionDetail({ id }) {
  const { state, version, pending, act } = useDocument(`interactions/${id}`);
  const close = useLiveInteraction((all) => all.clearCurrentInteraction);
  const [problem, setProblem] = useState(null);
  if (!state) return <p className="quiet">Loading</p>;
  const say = (type, payload = {}) => {
    setProblem(null);
    act({ type, payload }).catch((error) => setProblem(error.message));
  };
  return (
    <article className="card">
      <h3>{state.title ?? id}</h3>
      <p>
        {words(state.status)}, round {state.round ?? 0}
        {state.turn && `, turn of ${state.turn}`}
        <small className="quiet">
          {' '}
          version {version}
          {pending > 0 && `, ${pending} not yet saved`}
        </small>
      </p>
      <p>{(state.participants ?? []).map((one) => one.name).join(', ') || 'Nobody has joined.'}</p>
      {state.pending && (
        <p>
          <strong>{state.pending.playerId}</strong>: {JSON.stringify(state.pending.action)}
          <button type="button" onClick={() => say('reviewAction', { decision: 'approve' })}>
            Approve
          </button>
          <button type="button" onClick={() => say('reviewAction', { decision: 'reject' })}>
            Reject
          </button>
        </p>
      )}
      <p className="choices actions">
        {(NEXT[state.status] ?? []).map((type) => (
          <button type="button" key={type} onClick={() => say(type)}>
            {words(type)}
          </button>
        ))}
        <button type="button" className="plain" onClick={close}>
          Close
        </button>
      </p>
      {problem && <p role="alert" className="problem">{problem}</p>}
    </article>
  );
}
