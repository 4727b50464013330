// A page with every binding, whose parts the tests look at. Bundled for the browser by the tests.

import { createCollection } from '@tanstack/db';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { createElement as h, StrictMode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';

import {
  ConnectionStatusBadge, ErrorBoundary, LiveInteractionProvider, LiveUpdatesPausedBanner, RejoinProvider,
  RootErrorBoundary, useConnectionStatus, useDocument, useErrorHandler, useLiveInteraction,
  useLiveInteractionNotifications, useReconciliationStream, useRejoin, useReliableQuery, withErrorBoundary,
} from '../../../../src/web/client/react.js';
import { createRejoin } from '../../../../src/web/client/rejoin.js';
import { rejoinCollectionOptions } from '../../../../src/web/client/tanstack-db.js';

/** How often each component was drawn. @type {Record<string, number>} */
const drawn = {};
/** What components returned last. @type {Record<string, any>} */
const seen = {};
const rejoin = createRejoin();
const queries = new QueryClient();
/** What the tests reach. @type {any} */
const app = { drawn, seen, rejoin, queries, db: null };
Object.assign(globalThis, { app });

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

/** Can be taken off the page. */
function Verdicts() {
  const [shown, setShown] = useState(true);
  app.showVerdicts = setShown;
  useEffect(() => void (app.verdictsShown = shown), [shown]);
  return shown && h(VerdictsShown);
}

function VerdictsShown() {
  const [invalid, setInvalid] = useState(/** @type {string[][]} */ ([]));
  const stream = useReconciliationStream({ onInvalid: (problems) => setInvalid((all) => [...all, problems]) });
  note('verdicts', { ...stream, invalid });
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

const Guarded = withErrorBoundary(() => h(Fragile, { name: 'guarded' }));

const page = h(
  StrictMode, null,
  h(QueryClientProvider, { client: queries },
    h(RejoinProvider, { rejoin },
      h(ConnectionStatusBadge), h(LiveUpdatesPausedBanner), h(Game), h(Query), h(Verdicts), h(Notices),
      h(LiveInteractionProvider, { campaignId: 'camp' }, h(Interactions), h(CurrentOnly), h(Count)),
      h(ErrorBoundary, { development: true }, h(Fragile, { name: 'part' })),
      h(Guarded))),
);
const root = document.body.appendChild(document.createElement('div'));
createRoot(root).render(page);

// A page of its own that fails whole.
const other = document.body.appendChild(document.createElement('div'));
createRoot(other).render(h(RootErrorBoundary, { appVersion: '7.1' }, h(Fragile, { name: 'root' })));

const items = createCollection(rejoinCollectionOptions({ collection: 'notes', rejoin }));
items.startSyncImmediate();
app.db = items;

/** What a provider's own client shows. @param {{name: string}} properties */
function Own({ name }) {
  const own = useRejoin();
  const document = useDocument(name);
  note('own', { ...document, own, connectionStatus: useConnectionStatus() });
  return h('div', { id: 'own' }, `${document.state?.pot}`, h(Fragile, { name: 'owned' }));
}

const place = document.body.appendChild(document.createElement('div'));
const ownQueries = new QueryClient();
/** @type {import('react-dom/client').Root} */
let ownRoot;

/** Shows a document with a client that the provider makes by itself. @param {any} options of `createRejoin`
 * @param {string} name */
app.openOwn = (options, name = 'games/g1') => {
  ownRoot ??= createRoot(place);
  ownRoot.render(h(StrictMode, null,
    h(QueryClientProvider, { client: ownQueries },
      h(RejoinProvider, options, h(ErrorBoundary, null, h(Own, { name }))))));
};
app.closeOwn = () => ownRoot.render(null);

/** A page that follows nothing. */
app.openIdle = () => createRoot(document.body.appendChild(document.createElement('div'))).render(
  h(StrictMode, null,
    h(QueryClientProvider, { client: new QueryClient() },
      h(RejoinProvider, { url: 'http://localhost:9' },
        h('div', { id: 'idle' }, h(ConnectionStatusBadge), h(LiveUpdatesPausedBanner))))));

/** One more component for a document that the page has open: what it shows each time. */
app.openMore = () => {
  /** @type {any[]} */
  const states = [];
  const More = () => {
    states.push(useDocument('games/g1').state);
    return null;
  };
  const root = createRoot(document.body.appendChild(document.createElement('div')));
  root.render(h(QueryClientProvider, { client: queries }, h(RejoinProvider, { rejoin }, h(More))));
  return states;
};

/** All looks of the badge, on a light and a dark page. */
app.openBadges = () => createRoot(document.body.appendChild(document.createElement('div'))).render(
  h(QueryClientProvider, { client: queries }, h(RejoinProvider, { rejoin }, ['light', 'dark'].map((scheme) =>
    h('div', { key: scheme, className: 'badges', style: { colorScheme: scheme, background: 'Canvas' } },
      ['connected', 'reconnecting', 'polling-fallback', 'offline', 'closed'].map((status) =>
        h(ConnectionStatusBadge, { key: status, status: /** @type {any} */ (status) })))))));
