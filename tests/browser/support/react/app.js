// A page with every binding, whose parts the tests look at. Bundled for the browser by the tests.

import { createCollection } from '@tanstack/db';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { createElement as h, StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';

import {
  ConnectionStatusBadge, ErrorBoundary, LiveInteractionProvider, LiveUpdatesPausedBanner, RejoinProvider,
  RootErrorBoundary, useDocument, useErrorHandler, useLiveInteraction, useLiveInteractionNotifications,
  useReconciliationStream, useReliableQuery, withErrorBoundary,
} from '../../../../src/web/client/react.js';
import { createRejoin } from '../../../../src/web/client/rejoin.js';
import { rejoinCollectionOptions } from '../../../../src/web/client/tanstack-db.js';

/** How often each component was drawn. @type {Record<string, number>} */
const drawn = {};
/** What components returned last. @type {Record<string, any>} */
const seen = {};
const rejoin = createRejoin();
const queries = new QueryClient();
Object.assign(globalThis, { app: { drawn, seen, rejoin, queries, db: null } });

/** @param {string} name @param {any} value */
function note(name, value) {
  drawn[name] = (drawn[name] ?? 0) + 1;
  seen[name] = value;
}

function Game() {
  note('game', useDocument('games/g1'));
  return h('output', { id: 'pot' }, String(seen.game.state?.pot));
}

function Query() {
  const query = useReliableQuery({
    queryKey: ['rejoin', 'games', 'g1'],
    queryFn: async () => (await rejoin.requests.send('GET', '/api/v1/games/g1')).body,
    staleTime: Infinity,
  });
  note('query', query);
  return null;
}

function Verdicts() {
  const [problems, setProblems] = useState(/** @type {string[]} */ ([]));
  const stream = useReconciliationStream({ onInvalid: setProblems });
  note('verdicts', { ...stream, problems });
  return null;
}

function Interactions() {
  note('interactions', useLiveInteraction());
  return null;
}

function CurrentOnly() {
  note('current', useLiveInteraction((all) => all.currentInteractionId));
  return null;
}

function Count() {
  note('count', useLiveInteraction(({ activeInteractions }) => ({ count: activeInteractions.length })));
  return null;
}

function Notices() {
  const [updates, setUpdates] = useState(/** @type {any[]} */ ([]));
  const notices = useLiveInteractionNotifications({ onUpdate: (one) => setUpdates((all) => [...all, one]) });
  note('notices', { ...notices, updates });
  return null;
}

/** Fails when its button was pressed, until it is drawn anew. @param {{name: string}} properties */
function Fragile({ name }) {
  const [broken, setBroken] = useState(false);
  const handle = useErrorHandler();
  if (broken) throw new Error(`${name} broke`);
  return h('div', { id: name },
    h('button', { onClick: () => setBroken(true) }, 'break'),
    h('button', { onClick: () => handle(new Error(`${name} was handled`)) }, 'handle'));
}

const Guarded = withErrorBoundary(() => h(Fragile, { name: 'guarded' }), { rejoin });

const page = h(
  StrictMode, null,
  h(QueryClientProvider, { client: queries },
    h(RejoinProvider, { rejoin },
      h(ConnectionStatusBadge), h(LiveUpdatesPausedBanner), h(Game), h(Query), h(Verdicts), h(Notices),
      h(LiveInteractionProvider, { campaignId: 'camp' }, h(Interactions), h(CurrentOnly), h(Count)),
      h(ErrorBoundary, { rejoin, development: true }, h(Fragile, { name: 'part' })),
      h(Guarded))),
);
const root = document.body.appendChild(document.createElement('div'));
createRoot(root).render(page);

// A page of its own that fails whole.
const other = document.body.appendChild(document.createElement('div'));
createRoot(other).render(h(RootErrorBoundary, { rejoin, appVersion: '7.1' }, h(Fragile, { name: 'root' })));

const items = createCollection(rejoinCollectionOptions({ collection: 'notes', rejoin }));
items.startSyncImmediate();
/** @type {any} */ (globalThis).app.db = items;
