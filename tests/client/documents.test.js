// What a page sees of a document: never a state that is not the server's, its own changes at once.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

import { createRejoin, defaultRejoin } from '../../src/web/client/rejoin.js';
import {
  answers, change, document, endPage, FakeEventSource, hashOf, pass, positionOf, pretendPage, requests,
} from './support.js';

/** @type {import('../../src/web/client/client.js').Rejoin} */
let rejoin;
/** @type {import('../../src/web/client/documents.js').RejoinDocument} */
let game;

beforeEach(async () => {
  pretendPage();
  rejoin = createRejoin();
  assert.equal(FakeEventSource.all.length, 0, 'nothing is asked before something is used');
  game = rejoin.document('games/g1');
  await pass(0);
});
afterEach(() => {
  rejoin.close();
  endPage();
});

/** @param {string} event @param {object} data @param {string} [id] */
async function say(event, data, id) {
  FakeEventSource.last.say(event, data, id);
  await pass(0);
}

const begin = (state = { pot: 5 }) =>
  say('snapshot', { reason: 'start', documents: [document(5, state)] }, positionOf(5));

/** @param {number} seq @param {object} [more] */
const changed = (seq, more) => say('change', change(seq, more), positionOf(seq));

test('it is there at once, and fills', async () => {
  assert.deepEqual([game.state, game.version, game.pending, game.loaded], [null, 0, 0, false]);
  assert.equal(FakeEventSource.last.url, '/api/v1/stream?doc=games/g1');
  await begin();
  assert.deepEqual([game.state, game.version, game.durable, game.loaded], [{ pot: 5 }, 5, true, true]);
  await changed(6);
  assert.deepEqual([game.state, game.version, game.hash], [{ pot: 6 }, 6, hashOf(6)]);
  assert.equal(rejoin.document('games/g1'), game);
  assert.throws(() => rejoin.document('g1'), TypeError);
});

test('subscribers are called once a frame, however much comes', async () => {
  await begin();
  await pass(100);
  let calls = 0;
  const stop = game.subscribe(() => (calls += 1));
  for (let seq = 6; seq < 26; seq += 1) FakeEventSource.last.say('change', change(seq), positionOf(seq));
  await pass(50);
  assert.equal(calls, 1);
  assert.deepEqual(game.state, { pot: 25 });
  stop();
  await changed(26);
  await pass(50);
  assert.equal(calls, 1);
});

test('a missing version makes it fetch the state, and what came meanwhile is applied on top', async () => {
  await begin();
  answers(() => ({ body: document(8), headers: { etag: `"8-${hashOf(8).slice(0, 12)}"` } }));
  FakeEventSource.last.say('change', change(8), positionOf(8));
  FakeEventSource.last.say('change', change(9), positionOf(9));
  assert.deepEqual(game.state, { pot: 5 }, 'nothing is applied across a gap');
  await pass(0);
  assert.deepEqual(requests.map(({ method, path }) => `${method} ${path}`), ['GET /api/v1/games/g1']);
  assert.deepEqual([game.version, game.state], [9, { pot: 9 }]);
});

test('the same version of another history makes it fetch the state', async () => {
  await begin();
  answers(() => ({ body: { ...document(5, { pot: 50 }), hash: 'b'.repeat(64) } }));
  await changed(5, { seq: 6, hash: 'b'.repeat(64) });
  assert.deepEqual([game.state, game.hash], [{ pot: 50 }, 'b'.repeat(64)]);
});

test('a patch that does not fit makes it fetch the state', async () => {
  await begin();
  answers(() => ({ body: document(6, { pot: 60 }) }));
  await changed(6, { patch: [{ op: 'remove', path: '/nothing' }] });
  assert.deepEqual(game.state, { pot: 5 });
  await pass(0);
  assert.deepEqual(game.state, { pot: 60 });
});

test('a snapshot replaces the state, also by an older version', async () => {
  await begin();
  await changed(6);
  await say('snapshot', { reason: 'diverged', documents: [document(3)] }, positionOf(3));
  assert.deepEqual([game.version, game.state], [3, { pot: 3 }]);
  await changed(4);
  assert.deepEqual(game.state, { pot: 4 });
  await say('snapshot', { reason: 'trimmed', documents: [], gone: ['games/g1'] }, positionOf(7));
  assert.equal(game.state, null);
});

test('a write shows at once and its answer confirms it, whether the stream comes after or before', async () => {
  await begin();
  answers(() => ({ body: { ...change(6, { patch: [{ op: 'replace', path: '/pot', value: 9 }] }), durable: true } }));
  const acted = game.act({ type: 'raise', patch: { pot: 9 } });
  assert.deepEqual([game.state, game.pending, game.version], [{ pot: 9 }, 1, 5]);
  assert.deepEqual(game.confirmed, { pot: 5 });
  await pass(0);
  assert.equal((await acted).version, 6);
  assert.deepEqual([game.state, game.pending, game.version], [{ pot: 9 }, 0, 6]);
  await changed(6, { patch: [{ op: 'replace', path: '/pot', value: 9 }] });
  assert.deepEqual([game.state, game.pending, game.version], [{ pot: 9 }, 0, 6]);
  assert.match(requests[0].headers['idempotency-key'], /^[0-9a-f]{32}$/);
  assert.deepEqual(requests[0].body, { type: 'raise', patch: { pot: 9 } });

  // An expected effect that adds up must not be shown twice when the stream is faster than the answer.
  /** @type {(value: any) => void} */
  let respond = () => {};
  const late = new Promise((resolve) => (respond = resolve));
  globalThis.fetch = /** @type {any} */ (async () => late);
  const more = game.act({ type: 'win', payload: { by: 1 } }, { optimistic: (state) => ({ pot: state.pot + 1 }) });
  assert.deepEqual(game.state, { pot: 10 });
  await pass(0);
  await changed(7, { type: 'win', payload: { by: 1 }, patch: [{ op: 'replace', path: '/pot', value: 10 }] });
  assert.deepEqual([game.state, game.pending], [{ pot: 10 }, 1]);
  const body = JSON.stringify(change(7, { type: 'win', payload: { by: 1 } }));
  respond(new Response(body, { headers: { 'content-type': 'application/json' } }));
  await more;
  assert.deepEqual([game.state, game.pending], [{ pot: 10 }, 0]);
});

test('what is refused is taken back, and nothing that others did', async () => {
  await begin();
  const problem = { type: '/problems/action-rejected', detail: 'not your turn' };
  answers(({ body }) => (body.type === 'raise' ? { status: 422, body: problem } : { body: change(7) }));
  const written = game.act({ type: 'raise', patch: { mine: true } });
  const refused = assert.rejects(written, { status: 422, kind: 'rejection', problem, message: 'not your turn' });
  assert.deepEqual(game.state, { pot: 5, mine: true });
  await changed(6);
  await refused;
  assert.deepEqual([game.state, game.pending], [{ pot: 6 }, 0]);
});

test('writes to a document go out one after the other', async () => {
  await begin();
  let version = 5;
  answers(({ body }) => {
    version += 1;
    return { body: document(version, { pot: body.pot ?? body.state?.pot ?? 3 }) };
  });
  const operations = [{ op: 'replace', path: '/pot', value: 3 }];
  const results = await Promise.all([game.patch({ pot: 1 }), game.put({ pot: 2 }), game.patch(operations)]);
  assert.deepEqual(results.map(({ version: one }) => one), [6, 7, 8]);
  assert.deepEqual(requests.map(({ method, headers }) => [method, headers['content-type']]), [
    ['PATCH', 'application/merge-patch+json'],
    ['PUT', 'application/json'],
    ['PATCH', 'application/json-patch+json'],
  ]);
});

test('documents share one stream, and a new one is read once the stream has it', async () => {
  await begin();
  answers(({ path }) => ({ body: { ...document(2, { hp: 7 }), collection: 'maps', id: path.split('/').pop() } }));
  const map = rejoin.document('maps/m1');
  const other = rejoin.document('maps/m2');
  await pass(0);
  assert.equal(FakeEventSource.all.length, 2);
  assert.ok(FakeEventSource.all[0].closed);
  const [path, mark] = FakeEventSource.last.url.split('&lastEventId=');
  assert.deepEqual([path, mark], ['/api/v1/stream?doc=games/g1&doc=maps/m1&doc=maps/m2', positionOf(5)]);
  assert.equal(requests.length, 0, 'a state read before the stream is open could miss a change');
  await say('resumed', { from: positionOf(5), to: positionOf(5), count: 0 });
  assert.deepEqual(requests.map((one) => one.path), ['/api/v1/maps/m1', '/api/v1/maps/m2']);
  assert.deepEqual([map.state, other.state], [{ hp: 7 }, { hp: 7 }]);
  assert.deepEqual(game.state, { pot: 5 });
});

test('reads at the same time share a request, and what has not changed is not sent again', async () => {
  const etag = '"5-aaaaaaaaaaaa"';
  const whole = { body: document(5), headers: { etag } };
  answers(({ headers }) => (headers['if-none-match'] === etag ? { status: 304 } : whole));
  const [one, other] = await Promise.all([1, 2].map(() => rejoin.requests.get('/api/v1/games/g9')));
  assert.equal(requests.length, 1);
  assert.equal(one.body, other.body);
  const again = await rejoin.requests.get('/api/v1/games/g9');
  assert.equal(requests[1].headers['if-none-match'], etag);
  assert.equal(again.body, one.body);
});

test('a document whose reading has ended does not keep another from being followed', async () => {
  await begin();
  await say('bye', { reason: 'access-ended' });
  assert.equal(game.status, 'closed');
  const map = rejoin.document('maps/m1');
  await pass(0);
  assert.equal(FakeEventSource.last.url, '/api/v1/stream?doc=games/g1&doc=maps/m1');
  const data = { reason: 'start', documents: [{ ...document(2), collection: 'maps', id: 'm1' }], gone: ['games/g1'] };
  await say('snapshot', data, positionOf(7));
  assert.deepEqual([map.state, game.state, map.status], [{ pot: 2 }, null, 'connected']);
});

test('it is followed until its last user closes it', async () => {
  await begin();
  rejoin.document('games/g1');
  game.close();
  await pass(0);
  assert.ok(!FakeEventSource.last.closed);
  game.close();
  await pass(0);
  assert.ok(FakeEventSource.last.closed);
});

test('reconnect opens every stream anew, also one that had ended, and nothing that is not followed', async () => {
  await begin();
  const stream = rejoin.connectStream('/reconciliation/stream', {});
  await pass(0);
  const [documents, verdicts] = FakeEventSource.all;
  verdicts.say('bye', { reason: 'access-ended' });
  await pass(0);
  assert.deepEqual([game.status, stream.status], ['connected', 'closed']);
  assert.equal(rejoin.hub.worstStatus, 'closed');
  rejoin.reconnect();
  await pass(0);
  assert.deepEqual([documents.closed, verdicts.closed, FakeEventSource.all.length], [true, true, 4]);
  const urls = FakeEventSource.all.slice(2).map(({ url }) => url.split('?')[0]);
  assert.deepEqual(urls.sort(), ['/api/v1/stream', '/reconciliation/stream']);
  stream.close();
  game.close();
  await pass(0);
  assert.ok(FakeEventSource.all.every(({ closed }) => closed));
  assert.equal(rejoin.hub.worstStatus, null);
  rejoin.reconnect();
  await pass(0);
  assert.equal(FakeEventSource.all.length, 4);
});

test('the worst status is told when it changes and when what is followed does', async () => {
  /** @type {any[]} */
  const told = [];
  rejoin.hub.onStatus.add(() => told.push(rejoin.hub.worstStatus));
  await begin();
  assert.equal(told.at(-1), 'connected');
  const stream = rejoin.connectStream('/reconciliation/stream', {});
  await pass(0);
  assert.equal(told.at(-1), 'reconnecting');
  stream.close();
  await pass(0);
  assert.equal(told.at(-1), 'connected');
  game.close();
  await pass(0);
  assert.equal(told.at(-1), null);
});

test('the first client that is not closed is the default one', () => {
  assert.equal(defaultRejoin(), rejoin);
  const other = createRejoin({ url: 'http://localhost:7' });
  assert.equal(defaultRejoin(), rejoin);
  rejoin.close();
  assert.equal(defaultRejoin(), other);
  other.close();
  const own = defaultRejoin();
  assert.equal(own.url, '');
  own.close();
});

test('a collection has its documents, those that come later too', async () => {
  rejoin.close();
  rejoin = createRejoin();
  const games = rejoin.collection('games');
  await pass(0);
  assert.equal(FakeEventSource.last.url, '/api/v1/stream?collection=games');
  await say('snapshot', { reason: 'start', documents: [document(5)] }, positionOf(5));
  assert.deepEqual(games.items.map(({ id, state }) => [id, state.pot]), [['g1', 5]]);
  await changed(6);
  await changed(7, { id: 'g2', version: 1, patch: [{ op: 'add', path: '', value: { pot: 0 } }] });
  assert.deepEqual(games.items.map(({ id, state }) => [id, state.pot]), [['g1', 6], ['g2', 0]]);
  assert.equal(games.items, games.items);
  await changed(8, { id: 'g2', version: 2, patch: [{ op: 'replace', path: '', value: null }] });
  assert.deepEqual(games.items.map(({ id }) => id), ['g1']);
});
