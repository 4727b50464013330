// A browser's plain `EventSource`, with no options and no code of ours, comes back to exactly where it was.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Follower, launch } from './support/chromium.js';
import { Server } from './support/server.js';
import { Writers } from './support/writers.js';

/** @typedef {import('./support/chromium.js').Seen} Seen */
/** @typedef {import('./support/server.js').Change} Change */

const NAME = 'games/g1';
const EVENTS = `/api/v1/${NAME}/events`;
/** So many changes are made in each phase, so that each phase has some. */
const SOME = 25;

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/**
 * A server with one document.
 * @param {import('node:test').TestContext} t
 */
async function serverWithGame(t) {
  const server = await Server.start(t);
  await server.create('games', 'g1', {});
  return server;
}

/**
 * @param {import('node:test').TestContext} t
 * @param {ConstructorParameters<typeof Writers>} how
 */
function writers(t, ...how) {
  const writers = new Writers(...how);
  t.after(() => writers.abandon());
  return writers;
}

/** @param {Change} change */
const positionOf = (change) => `${change.seq}-${change.hash.slice(0, 12)}`;

/**
 * The first connection begins with the document at version 1, each later one says exactly what was missed, and all
 * together brought every change of the log once and in order. Gives how many each later connection had missed.
 * @param {Seen[][]} connections
 * @param {Change[]} history
 * @returns {number[]}
 */
function assertUnbroken(connections, history) {
  const [first, ...later] = connections;
  const start = first.shift();
  assert.equal(start?.event, 'snapshot');
  assert.equal(start.data.reason, 'start');
  assert.equal(start.id, positionOf(history[0]));

  let last = start.id;
  /** @type {Seen[]} */
  const received = [];
  const missed = [];
  for (const connection of [first, ...later]) {
    const resumed = connection === first ? null : connection.shift();
    if (resumed) {
      assert.equal(resumed.event, 'resumed', 'the first event of a connection that resumes');
      assert.equal(resumed.data.from, last);
      assert.equal(resumed.id, last, 'a control event leaves the position alone');
      const upTo = Number(resumed.data.to.split('-')[0]);
      const replayed = connection.slice(0, resumed.data.count);
      assert.equal(replayed.length, resumed.data.count);
      assert.equal(replayed.at(-1)?.id ?? last, resumed.data.to, 'the last of the missed changes');
      for (const one of connection.slice(resumed.data.count)) {
        if (one.event === 'change') assert.ok(one.data.seq > upTo, 'a live change comes after the missed ones');
      }
      missed.push(resumed.data.count);
    }
    const bye = connection.at(-1)?.event === 'bye' ? connection.pop() : undefined;
    received.push(...connection);
    last = connection.at(-1)?.id ?? last;
    if (bye) assert.equal(bye.id, last, 'a control event leaves the position alone');
  }
  assert.deepEqual(
    received,
    history.slice(1).map((data) => ({ event: 'change', id: positionOf(data), data })),
  );
  assert.deepEqual(
    history.map((change) => change.version),
    history.map((_, i) => i + 1),
  );
  return missed;
}

/**
 * Whatever was acknowledged is in the log, as the version that was said, and nothing is there twice.
 * @param {Map<string, number>} acknowledged
 * @param {Change[]} history
 */
function assertAllThere(acknowledged, history) {
  const counts = history.filter((change) => change.type === 'count');
  const there = counts.map((change) => [change.payload.key, change.version]);
  assert.deepEqual(
    there,
    [...acknowledged].sort((a, b) => a[1] - b[1]),
  );
}

test('it resumes by itself after kill -9 under writes', async (t) => {
  const server = await serverWithGame(t);
  const { port } = server;
  const follower = await Follower.open(browser, server.url, EVENTS);
  await follower.until('snapshot');

  const writing = writers(t, server, NAME);
  await writing.more(SOME);
  await server.kill();
  // Elsewhere first, where the browser does not look: so it is certain that it misses something.
  await server.start(0);
  await writing.more(SOME);
  await server.kill();
  await server.start(port);
  await follower.until('resumed');
  await writing.more(SOME);
  const acknowledged = await writing.stop();

  const history = await server.history(NAME);
  await follower.until('change', { version: history.length });
  const connections = await follower.connections();
  assert.equal(connections.length, 2);
  const [missed] = assertUnbroken(connections, history);
  assert.ok(missed >= SOME, `${missed} missed`);
  assertAllThere(acknowledged, history);
});

test('it is told of an orderly stop and resumes after it', async (t) => {
  const server = await serverWithGame(t);
  const { port } = server;
  const follower = await Follower.open(browser, server.url, EVENTS);
  await follower.until('snapshot');

  const writing = writers(t, server, NAME);
  await writing.more(SOME);
  assert.equal(await server.terminate(), 0);
  await follower.until('bye', { reason: 'shutdown' });
  await server.start(0);
  await writing.more(SOME);
  assert.equal(await server.terminate(), 0);
  await server.start(port);
  await follower.until('resumed');
  await writing.more(SOME);
  const acknowledged = await writing.stop();

  const history = await server.history(NAME);
  await follower.until('change', { version: history.length });
  const connections = await follower.connections();
  assert.equal(connections.length, 2);
  assert.deepEqual(
    connections.map((connection) => connection.filter((one) => one.event === 'bye').length),
    [1, 0],
  );
  const [missed] = assertUnbroken(connections, history);
  assert.ok(missed >= SOME, `${missed} missed`);
  assertAllThere(acknowledged, history);
});

for (const [length, afterwards] of /** @type {const} */ ([
  ['shorter', 0],
  ['longer', 3 * SOME],
])) {
  test(`an older file that was restored, its log now ${length}, is told and resynchronised`, async (t) => {
    const server = await serverWithGame(t);
    const { port } = server;
    await server.terminate();
    server.backUp();
    await server.start(port);
    const follower = await Follower.open(browser, server.url, EVENTS);
    const lost = writers(t, server, NAME, { mark: 'lost' });
    await lost.more(SOME);
    await lost.stop();
    const before = await server.document(NAME);
    await follower.until('change', { version: before.version });

    await server.kill();
    server.restore();
    await server.start(0);
    if (afterwards > 0) {
      const other = writers(t, server, NAME, { mark: 'other' });
      await other.more(afterwards);
      await other.stop();
    }
    const now = await server.document(NAME);
    assert.equal(now.version > before.version, afterwards > 0);
    await server.kill();
    await server.start(port);
    await follower.until('snapshot', { reason: 'diverged' });
    await server.call('POST', `/api/v1/${NAME}/actions`, { type: 'count', patch: { after: true } });
    await follower.until('change', { version: now.version + 1 });

    const connections = await follower.connections();
    assert.equal(connections.length, 2);
    const [snapshot, ...rest] = connections[1];
    assert.equal(snapshot.event, 'snapshot');
    assert.deepEqual(snapshot.data.documents, [now]);
    const history = await server.history(NAME);
    assert.equal(snapshot.id, positionOf(history[now.version - 1]));
    assert.deepEqual(
      rest.map((one) => one.data),
      history.slice(now.version),
    );
  });
}

test('two windows side by side receive the same', async (t) => {
  const server = await serverWithGame(t);
  const { port } = server;
  const opened = [EVENTS, `/api/v1/stream?doc=${NAME}`].map((path) => Follower.open(browser, server.url, path));
  const followers = await Promise.all(opened);
  await Promise.all(followers.map((follower) => follower.until('snapshot')));

  const writing = writers(t, server, NAME);
  await writing.more(SOME);
  await server.kill();
  await server.start(port);
  await Promise.all(followers.map((follower) => follower.until('resumed')));
  await writing.more(SOME);
  assertAllThere(await writing.stop(), await server.history(NAME));

  const history = await server.history(NAME);
  for (const follower of followers) {
    await follower.until('change', { version: history.length });
    assertUnbroken(await follower.connections(), history);
  }
});
