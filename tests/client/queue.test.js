// What is done without a network: kept, sent in order, merged, or handed to a person.

import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

import { createRejoin } from '../../src/web/client/rejoin.js';
import {
  answers, document, endPage, FakeEventSource, happen, hashOf, logIn, page, pass, positionOf, pretendPage, requests,
  setOnline,
} from './support.js';

/** @type {import('../../src/web/client/client.js').Rejoin} */
let rejoin;
/** @type {import('../../src/web/client/documents.js').RejoinDocument} */
let game;
/** Each test has a store of its own. */
let number = 0;
/** @type {any} */
let databases;

beforeEach(async () => {
  pretendPage();
  databases = globalThis.indexedDB;
  number += 1;
  await open();
});
afterEach(async () => {
  await rejoin.writes.clear();
  rejoin.close();
  globalThis.indexedDB = databases;
  Reflect.deleteProperty(globalThis, 'localStorage');
  endPage();
});

/** Loads the page, as after a reload. */
async function open() {
  rejoin = createRejoin({ url: `http://server-${number}` });
  game = rejoin.document('games/g1');
  await pass(0);
  const data = { reason: 'start', documents: [document(5, { pot: 5 })] };
  FakeEventSource.last.say('snapshot', data, positionOf(5));
  await pass(0);
}

function goOffline() {
  setOnline(false);
  happen('offline');
}

async function comeBack() {
  setOnline(true);
  happen('online');
  await pass(0);
}

/** Answers every write with the next version. */
function accept() {
  let version = 5;
  answers(({ body }) => {
    version += 1;
    return { body: document(version, { pot: body?.pot ?? body?.patch?.pot ?? version }) };
  });
}

const sent = () => requests.map(({ method, path, body }) => [method, new URL(path).pathname, body]);

test('offline a write resolves at once as queued, is shown as not saved, and goes out in order on return', async () => {
  goOffline();
  assert.deepEqual(await game.act({ type: 'raise', patch: { pot: 6 } }), { queued: true });
  assert.deepEqual(await game.patch({ pot: 7 }), { queued: true });
  assert.deepEqual(await game.act({ type: 'raise', patch: { pot: 8 } }), { queued: true });
  assert.deepEqual([game.state, game.pending, game.version], [{ pot: 8 }, 3, 5]);
  assert.equal(rejoin.errorRecovery.getPendingOperationsCount(), 3);
  assert.equal(requests.length, 0);
  accept();
  await comeBack();
  await pass(0);
  assert.deepEqual(sent(), [
    ['POST', '/api/v1/games/g1/actions', { type: 'raise', patch: { pot: 6 } }],
    ['PATCH', '/api/v1/games/g1', { pot: 7 }],
    ['POST', '/api/v1/games/g1/actions', { type: 'raise', patch: { pot: 8 } }],
  ]);
  assert.equal(new Set(requests.map(({ headers }) => headers['idempotency-key'])).size, 3);
  assert.equal(rejoin.errorRecovery.getPendingOperationsCount(), 0);
  assert.equal(rejoin.conflicts.length, 0);
});

for (const kept of ['IndexedDB', 'localStorage']) {
  test(`what is queued survives a reload: ${kept}`, async () => {
    if (kept === 'localStorage') {
      rejoin.close();
      Object.assign(globalThis, { indexedDB: undefined, localStorage: new FakeStorage() });
      // Without it tabs share nothing, and this page is on its own.
      const channel = globalThis.BroadcastChannel;
      Object.assign(globalThis, { BroadcastChannel: undefined });
      await open();
      Object.assign(globalThis, { BroadcastChannel: channel });
    }
    goOffline();
    await game.patch({ pot: 6 });
    await game.patch({ pot: 7 });
    const [key] = rejoin.writes.operations.map((write) => write.key);
    rejoin.close();
    await open();
    await pass(0);
    assert.deepEqual([game.state, game.pending], [{ pot: 7 }, 2]);
    requests.length = 0;
    accept();
    await comeBack();
    await pass(0);
    assert.deepEqual(sent().map(([, , body]) => body), [{ pot: 6 }, { pot: 7 }]);
    assert.equal(requests[0].headers['idempotency-key'], key);
    rejoin.close();
    await open();
    assert.equal(game.pending, 0, 'what was sent is forgotten');
  });
}

test('a write whose retries end in a network error is queued though the browser thinks that it is online', async () => {
  const written = game.patch({ pot: 6 });
  for (const delay of [0, 1000, 2000, 4000]) await pass(delay);
  assert.deepEqual(await written, { queued: true });
  assert.equal(requests.length, 4);
  assert.equal(new Set(requests.map(({ headers }) => headers['idempotency-key'])).size, 1);
  assert.deepEqual([game.state, game.pending], [{ pot: 6 }, 1]);
  accept();
  await pass(1000);
  assert.equal(game.pending, 0);
});

test('edits go out as they were meant if nobody changed the document, and on top of each other', async () => {
  goOffline();
  await game.patch({ pot: 6 });
  await game.patch({ pot: 7 });
  accept();
  await comeBack();
  await pass(0);
  assert.deepEqual(requests.map(({ headers }) => headers['if-match']), [
    `"5-${hashOf(5).slice(0, 12)}"`,
    `"6-${hashOf(6).slice(0, 12)}"`,
  ]);
});

test('where versions went apart the server merges, and what it cannot is a conflict for a person', async () => {
  goOffline();
  await game.patch({ pot: 6, name: 'Friday' });
  const [{ at }] = rejoin.writes.operations;
  const conflict = { id: 'c1', path: '/pot', base: 5, local: 6, server: 9 };
  answers(({ method }) => {
    if (method === 'PATCH') return { status: 412, body: { type: '/problems/version-conflict', currentVersion: 8 } };
    return { body: { document: document(9, { pot: 9, name: 'Friday' }), resolved: [], conflicts: [conflict] } };
  });
  await comeBack();
  await pass(0);
  assert.deepEqual(sent()[1], ['POST', '/api/v1/games/g1/sync', {
    baseVersion: 5, baseHash: hashOf(5), patch: { pot: 6, name: 'Friday' }, deviceAt: at,
  }]);
  assert.deepEqual([game.state, game.pending], [{ pot: 9, name: 'Friday' }, 0]);
  const [found] = rejoin.conflicts;
  const { id, document: name, path, base, local, server } = found;
  assert.deepEqual({ id, name, path, base, local, server }, {
    id: 'c1', name: 'games/g1', path: '/pot', base: 5, local: 6, server: 9,
  });
  rejoin.writes.dismissConflict('c1');
  assert.deepEqual(rejoin.conflicts, []);
});

test('a server that cannot merge gets parts as they are, and a whole state is a conflict', async () => {
  goOffline();
  await game.patch({ pot: 6 });
  await game.put({ pot: 7 });
  const problem = { type: '/problems/version-conflict', currentVersion: 8, current: { pot: 8 } };
  answers(({ method, headers, path }) => {
    if (path.endsWith('/sync')) return { status: 405, body: { type: '/problems/method-not-allowed' } };
    if (headers['if-match']) return { status: 412, body: problem };
    return method === 'PATCH' ? { body: document(9, { pot: 6 }) } : null;
  });
  await comeBack();
  await pass(0);
  assert.deepEqual([game.state, game.pending, game.version], [{ pot: 6 }, 0, 9]);
  const [{ kind, status, problem: said, write }] = rejoin.conflicts;
  assert.deepEqual({ kind, status, said, body: write.body }, {
    kind: 'conflict', status: 412, said: problem, body: { pot: 7 },
  });
});

test('what is refused on return is a conflict, taken back, and keeps nothing behind it from going out', async () => {
  goOffline();
  await game.act({ type: 'bluff', patch: { pot: 100 } });
  await game.act({ type: 'raise', patch: { bets: 1 } });
  const problem = { type: '/problems/action-rejected', detail: 'no' };
  answers(({ body }) => body.type === 'bluff'
    ? { status: 422, body: problem }
    : { body: document(6, { pot: 5, bets: 1 }) });
  await comeBack();
  await pass(0);
  assert.deepEqual(game.state, { pot: 5, bets: 1 });
  assert.deepEqual(rejoin.conflicts.map((one) => [one.status, one.kind, one.problem]), [[422, 'rejection', problem]]);
});

test('what the server cannot take now waits, and longer each time; the order stays', async () => {
  goOffline();
  await game.patch({ pot: 6 });
  await game.patch({ pot: 7 });
  answers(() => ({ status: 503, body: {}, headers: { 'retry-after': '3' } }));
  await comeBack();
  await pass(0);
  const before = requests.length;
  await pass(2_999);
  assert.equal(requests.length, before);
  await pass(1);
  assert.equal(requests.length, before + 1);
  accept();
  await pass(3_000);
  assert.deepEqual(sent().slice(-2).map(([, , body]) => body), [{ pot: 6 }, { pot: 7 }]);
});

test('a session that has ended loses nothing that is queued', async () => {
  goOffline();
  await game.patch({ pot: 6 });
  answers(() => ({ status: 401, body: {} }));
  await comeBack();
  await pass(0);
  assert.deepEqual([game.pending, rejoin.conflicts.length], [1, 0]);
});

test('what one user queued is not sent in the name of the next one', async () => {
  goOffline();
  await game.patch({ pot: 6 });
  logIn('bob');
  accept();
  await comeBack();
  await pass(0);
  assert.deepEqual(requests, []);
  assert.deepEqual([game.state, game.pending], [{ pot: 5 }, 0]);
  const [{ kind, status, write }] = rejoin.conflicts;
  assert.deepEqual([kind, status, write.user], ['rejection', 403, 'ann']);
});

test('leaving the page with unsent work warns, and without it does not', async () => {
  const leave = () => !page.dispatchEvent(new Event('beforeunload', { cancelable: true }));
  assert.equal(leave(), false);
  goOffline();
  await game.patch({ pot: 6 });
  assert.equal(leave(), true);
  accept();
  await comeBack();
  await pass(0);
  assert.equal(leave(), false);
});

test('what waits can be given up', async () => {
  goOffline();
  await game.patch({ pot: 6 });
  await rejoin.errorRecovery.clearPendingOperations();
  assert.deepEqual([game.state, game.pending], [{ pot: 5 }, 0]);
  accept();
  await comeBack();
  assert.deepEqual(requests.filter(({ method }) => method === 'PATCH'), []);
});

/** As `localStorage` is. */
class FakeStorage {
  #items = new Map();
  get length() {
    return this.#items.size;
  }
  /** @param {number} at */
  key(at) {
    return [...this.#items.keys()][at] ?? null;
  }
  /** @param {string} name */
  getItem(name) {
    return this.#items.get(name) ?? null;
  }
  /** @param {string} name @param {string} value */
  setItem(name, value) {
    this.#items.set(name, value);
  }
  /** @param {string} name */
  removeItem(name) {
    this.#items.delete(name);
  }
}
