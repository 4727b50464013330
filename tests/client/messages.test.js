// Messages without history: sent once, and told of one document.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

import { onMessage, sendMessage } from '../../src/web/client/messages.js';
import { createRejoin } from '../../src/web/client/rejoin.js';
import { answers, document, endPage, FakeEventSource, pass, positionOf, pretendPage, requests } from './support.js';

/** @type {ReturnType<typeof createRejoin>} */
let rejoin;

beforeEach(() => {
  pretendPage();
  rejoin = createRejoin();
});
afterEach(() => {
  rejoin.close();
  endPage();
});

test('a message goes out as it is, and a refusal is told and not repeated', async () => {
  answers(() => ({ status: 202, body: { at: '2026-01-01T00:00:00.000Z' } }));
  const message = { type: 'pointer', payload: { x: 1 }, to: ['bob'] };
  await sendMessage(rejoin, 'games/g1', message);
  assert.deepEqual(requests.map(({ method, path, body }) => ({ method, path, body })), [
    { method: 'POST', path: '/api/v1/games/g1/messages', body: message },
  ]);
  answers(() => ({ status: 429, body: { detail: 'more than 30 messages a second' } }));
  await assert.rejects(sendMessage(rejoin, 'games/g1', message), /more than 30/);
  assert.equal(requests.length, 2);
});

test('messages of the document are told until it is let go of', async () => {
  /** @type {unknown[]} */
  const told = [];
  const stop = onMessage(rejoin, 'games/g1', ({ from, type, payload }) => void told.push([from, type, payload]));
  await pass(0);
  assert.equal(FakeEventSource.last.url, '/api/v1/stream?doc=games/g1');
  FakeEventSource.last.open();
  FakeEventSource.last.say('snapshot', { reason: 'start', documents: [document(5)] }, positionOf(5));
  /** @param {string} id @param {unknown} payload */
  const say = (id, payload) =>
    FakeEventSource.last.say('message', { collection: 'games', id, from: 'bob', type: 'ping', payload });
  say('g1', 1);
  say('g2', 2);
  say('g1', 3);
  await pass(0);
  assert.deepEqual(told, [['bob', 'ping', 1], ['bob', 'ping', 3]]);
  stop();
  say('g1', 4);
  await pass(0);
  assert.equal(told.length, 2);
});
