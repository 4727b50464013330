// Delays, silence, polling and the way back, with time in the test's hands.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { connectStream } from '../../src/web/client/rejoin.js';
import { retryDelay } from '../../src/web/client/streams.js';
import {
  answers, change, document, endPage, FakeEventSource, happen, pass, positionOf, pretendPage, requests, setOnline,
} from './support.js';

const PATH = '/api/v1/games/g1/events';
/** @type {string[]} */
let statuses;
/** @type {import('../../src/web/client/types.js').StreamEvent[]} */
let events;
/** @type {ReturnType<typeof connectStream>} */
let stream;

beforeEach(() => {
  pretendPage();
  statuses = [];
  events = [];
  stream = connectStream(PATH, {
    onEvent: (event) => events.push(event),
    onStatus: (status) => statuses.push(status),
  });
});
afterEach(() => {
  stream.close();
  endPage();
});

/** The server answers on the newest connection. @param {string} event @param {object} data @param {string} [id] */
async function connect(event, data, id) {
  await pass(0);
  FakeEventSource.last.open();
  FakeEventSource.last.say(event, data, id);
  await pass(0);
}

const begin = () => connect('snapshot', { reason: 'start', documents: [document(5)] }, positionOf(5));
const names = () => events.map(({ event, data }) => (event === 'change' ? `change ${data.seq}` : event));

test('delays double from 1 s to 30 s, and jitter moves each by 20 % at most', () => {
  const at = (/** @type {number} */ random) => [1, 2, 3, 4, 5, 6, 7, 50].map((n) => retryDelay(n, random));
  assert.deepEqual(at(0.5), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  assert.deepEqual(at(0), [800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
  assert.deepEqual(at(1).slice(0, 5), [1200, 2400, 4800, 9600, 19_200]);
  assert.ok(at(1).every((delay) => delay <= 30_000));
});

test('it opens at once, tells what comes, and closes a source before it retries by itself', async () => {
  await pass(0);
  assert.equal(FakeEventSource.all.length, 1);
  assert.equal(FakeEventSource.last.url, PATH);
  assert.equal(stream.status, 'reconnecting');
  await begin();
  assert.equal(stream.status, 'connected');
  FakeEventSource.last.say('change', change(6), positionOf(6));
  assert.deepEqual(names(), ['snapshot', 'change 6']);
  assert.deepEqual(events[1].data, change(6));
  FakeEventSource.last.fail();
  assert.ok(FakeEventSource.last.closed);
  assert.equal(stream.status, 'reconnecting');
  await pass(999);
  assert.equal(FakeEventSource.all.length, 1);
  await pass(1);
  assert.equal(FakeEventSource.last.url, `${PATH}?lastEventId=${positionOf(6)}`);
  await connect('resumed', { from: positionOf(6), to: positionOf(6), count: 0 });
  assert.deepEqual(statuses, ['connected', 'reconnecting', 'connected']);
});

test('the fifth failure in a row, 15 s after the loss, begins polling: nothing is missed or told twice', async () => {
  await begin();
  answers(({ path }) => {
    const after = Number(new URL(path, 'http://page').searchParams.get('after')?.split('-')[0]);
    const items = [6, 7, 8].filter((seq) => seq > after && seq <= known).map((seq) => change(seq));
    return { body: { items, firstVersion: 1 } };
  });
  let known = 5;
  FakeEventSource.last.fail();
  for (const delay of [1000, 2000, 4000, 8000]) {
    assert.equal(stream.status, 'reconnecting');
    assert.equal(requests.length, 0);
    await pass(delay);
    FakeEventSource.last.fail();
  }
  await pass(0);
  assert.equal(stream.status, 'polling-fallback');
  assert.equal(FakeEventSource.all.length, 5);
  assert.deepEqual(requests.map(({ path }) => path), [`${PATH}?after=${positionOf(5)}&limit=500`]);

  known = 7;
  await pass(9_999);
  assert.deepEqual(names(), ['snapshot']);
  await pass(1);
  assert.deepEqual(names(), ['snapshot', 'change 6', 'change 7']);

  // The stream is tried again meanwhile, from where polling is, and what it repeats is told once.
  await pass(6_000);
  assert.equal(FakeEventSource.all.length, 6);
  assert.equal(FakeEventSource.last.url, `${PATH}?lastEventId=${positionOf(7)}`);
  known = 8;
  await pass(4_000);
  await connect('resumed', { from: positionOf(7), to: positionOf(8), count: 1 });
  FakeEventSource.last.say('change', change(8), positionOf(8));
  FakeEventSource.last.say('change', change(9), positionOf(9));
  assert.equal(stream.status, 'connected');
  assert.deepEqual(names().filter((name) => name !== 'resumed'), [
    'snapshot', 'change 6', 'change 7', 'change 8', 'change 9',
  ]);
  const polls = requests.length;
  await pass(20_000);
  assert.equal(requests.length, polls, 'a stream that works is not polled');
  assert.deepEqual(statuses, ['connected', 'reconnecting', 'polling-fallback', 'connected']);
});

test('30 s of silence close the connection and open it again; a heartbeat is enough to keep it', async () => {
  await begin();
  await pass(29_999);
  FakeEventSource.last.say('heartbeat', { at: '' }, positionOf(5));
  await pass(29_999);
  assert.equal(FakeEventSource.all.length, 1);
  await pass(1);
  assert.ok(FakeEventSource.all[0].closed);
  assert.equal(stream.status, 'reconnecting');
  assert.equal(FakeEventSource.all.length, 2);
});

test('headers and nothing after them for 5 s: a proxy keeps back what comes, and the long poll is used', async () => {
  await begin();
  FakeEventSource.last.fail();
  await pass(1000);
  let polls = 0;
  answers(() => {
    polls += 1;
    return polls === 1 ? { body: { items: [change(6)], firstVersion: 1 } } : null;
  });
  FakeEventSource.last.open();
  await pass(4_999);
  assert.equal(requests.length, 0);
  await pass(1);
  assert.ok(FakeEventSource.last.closed);
  assert.equal(requests[0].path, `${PATH}?after=${positionOf(5)}&limit=500&wait=25`);
  assert.equal(requests[1].path, `${PATH}?after=${positionOf(6)}&limit=500&wait=25`);
  assert.deepEqual(names(), ['snapshot', 'change 6']);
  assert.equal(stream.status, 'polling-fallback');
});

test('a position that the server does not go on from is given up for the whole state', async () => {
  await begin();
  FakeEventSource.last.fail();
  await pass(1000);
  await connect('resumed', { from: positionOf(3), to: positionOf(9), count: 6 });
  assert.equal(FakeEventSource.last.url, PATH);
  assert.deepEqual(names(), ['snapshot']);
});

test('a history page that is of another history is given up for the whole state', async () => {
  await begin();
  answers(({ path }) => {
    if (path.includes('after=')) return { status: 410, body: { type: '/problems/gone' } };
    return { body: document(3), headers: { 'rejoin-position': positionOf(3) } };
  });
  for (const delay of [0, 1000, 2000, 4000, 8000]) {
    await pass(delay);
    FakeEventSource.last.fail();
  }
  await pass(0);
  assert.deepEqual(events.at(-1)?.data.documents, [document(3)]);
  await pass(16_000);
  assert.equal(FakeEventSource.last.url, `${PATH}?lastEventId=${positionOf(3)}`);
});

test('offline is what the browser says, and the network\'s return is used at once', async () => {
  await begin();
  setOnline(false);
  happen('offline');
  assert.equal(stream.status, 'offline');
  for (let attempt = 0; attempt < 7; attempt += 1) {
    await pass(40_000);
    FakeEventSource.last.fail();
    assert.equal(stream.status, 'offline');
  }
  setOnline(true);
  const before = FakeEventSource.all.length;
  happen('online');
  assert.equal(FakeEventSource.all.length, before + 1);
  await connect('resumed', { from: positionOf(5), to: positionOf(5), count: 0 });
  assert.equal(stream.status, 'connected');
});

test('bye with access-ended ends it; any other is a loss', async () => {
  await begin();
  FakeEventSource.last.say('bye', { reason: 'shutdown' }, positionOf(5));
  assert.equal(stream.status, 'reconnecting');
  await pass(1000);
  assert.equal(FakeEventSource.all.length, 2);
  await connect('resumed', { from: positionOf(5), to: positionOf(5), count: 0 });
  FakeEventSource.last.say('bye', { reason: 'access-ended' }, positionOf(5));
  assert.ok(FakeEventSource.last.closed);
  assert.equal(stream.status, 'closed');
  await pass(100_000);
  assert.equal(FakeEventSource.all.length, 2);
  assert.equal(requests.length, 0);
  assert.deepEqual(events.at(-1)?.data, { reason: 'access-ended' });
});

for (const query of ['doc=games/g1&doc=games/g2', 'collection=games']) {
  test(`of ${query}, what may still be read is followed on when one may not`, async () => {
    const path = `/api/v1/stream?${query}`;
    const several = connectStream(path, { onEvent: () => {} });
    await connect('snapshot', { reason: 'start', documents: [document(5)] }, positionOf(5));
    FakeEventSource.last.say('bye', { reason: 'access-ended' });
    await pass(1000);
    assert.equal(FakeEventSource.last.url, path, 'with the whole state: what is gone is not in it');
    await connect('snapshot', { reason: 'start', documents: [document(5)], gone: ['games/g2'] }, positionOf(5));
    assert.equal(several.status, 'connected');
    several.close();
  });
}

test('a stream that says bye and nothing else is a failure each time', async () => {
  for (const delay of [0, 1000, 2000, 4000]) {
    await pass(delay);
    FakeEventSource.last.open();
    FakeEventSource.last.say('bye', { reason: 'unavailable' });
  }
  assert.equal(FakeEventSource.all.length, 4);
  await pass(7_999);
  assert.equal(FakeEventSource.all.length, 4);
  await pass(1);
  assert.equal(FakeEventSource.all.length, 5);
});

test('moved is followed to the other server, from the same position', async () => {
  await begin();
  FakeEventSource.last.say('moved', { collection: 'games', id: 'g1', to: 'http://other:1', position: positionOf(5) });
  assert.ok(FakeEventSource.all[0].closed);
  assert.equal(FakeEventSource.last.url, `http://other:1${PATH}?lastEventId=${positionOf(5)}`);
});

test('by hand it tries at once', async () => {
  await begin();
  FakeEventSource.last.fail();
  stream.reconnect();
  assert.equal(FakeEventSource.all.length, 2);
  await pass(5_000);
  assert.equal(FakeEventSource.all.length, 2, 'the delay that had begun is over');
});

test('with a token it reads the same by fetch', async () => {
  const encoder = new TextEncoder();
  /** @type {ReadableStreamDefaultController<Uint8Array>[]} */
  const bodies = [];
  const asked = mock.method(globalThis, 'fetch', async () => {
    const body = new ReadableStream({ start: (controller) => void bodies.push(controller) });
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  });
  /** @type {any[]} */
  const seen = [];
  const other = connectStream(PATH, { token: 'secret', onEvent: ({ event, id }) => seen.push([event, id]) });
  await pass(0);
  const [url, init] = /** @type {any} */ (asked.mock.calls[0].arguments);
  assert.equal(url, PATH);
  assert.equal(init.headers.authorization, 'Bearer secret');
  const text = `retry: 500\r\n\r\nid: ${positionOf(5)}\r\nevent: snapshot\r\ndata: {"reason":"start",\r\n` +
    'data: "documents":[]}\r\n\r\n: a comment\n\nevent: heartbeat\ndata: {"at":"é"}\n\n';
  for (const byte of encoder.encode(text)) bodies[0].enqueue(Uint8Array.of(byte));
  await pass(0);
  assert.deepEqual(seen, [['snapshot', positionOf(5)], ['heartbeat', positionOf(5)]]);
  assert.equal(other.status, 'connected');
  bodies[0].close();
  await pass(1000);
  assert.equal(asked.mock.calls.length, 2);
  assert.equal(/** @type {any} */ (asked.mock.calls[1].arguments)[0], `${PATH}?lastEventId=${positionOf(5)}`);
  other.close();
});

test('a token that is refused ends it', async () => {
  answers(() => ({ status: 401, body: { type: '/problems/unauthenticated' } }));
  /** @type {any[]} */
  const seen = [];
  const other = connectStream(PATH, { token: 'ended', onEvent: ({ event, data }) => seen.push([event, data.status]) });
  await pass(0);
  assert.deepEqual(seen, [['bye', 401]]);
  assert.equal(other.status, 'closed');
  await pass(100_000);
  assert.equal(requests.length, 1);
  other.close();
});
