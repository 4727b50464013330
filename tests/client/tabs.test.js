// Which tab leads, and how fast the next one does.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

import { Tabs } from '../../src/web/client/tabs.js';
import { endPage, pass, pretendPage } from './support.js';

/** A channel whose messages arrive at once, so that no test waits for threads. */
class FakeChannel {
  /** @type {Set<FakeChannel>} */
  static open = new Set();
  /** @type {((event: {data: any}) => void) | null} */
  onmessage = null;
  /** @param {string} name */
  constructor(name) {
    this.name = name;
    FakeChannel.open.add(this);
  }
  /** @param {any} data */
  postMessage(data) {
    for (const other of FakeChannel.open) {
      // As the real one, it gives nothing to who has closed meanwhile.
      const deliver = () => FakeChannel.open.has(other) && other.onmessage?.({ data });
      if (other !== this && other.name === this.name) queueMicrotask(deliver);
    }
  }
  close() {
    FakeChannel.open.delete(this);
  }
}

const channel = globalThis.BroadcastChannel;
/** @type {Map<string, string>} */
let stored;
/** @type {Tab[]} */
let tabs;

beforeEach(() => {
  pretendPage();
  tabs = [];
  stored = new Map();
  Object.assign(globalThis, {
    BroadcastChannel: FakeChannel,
    localStorage: {
      getItem: (/** @type {string} */ name) => stored.get(name) ?? null,
      setItem: (/** @type {string} */ name, /** @type {string} */ value) => stored.set(name, value),
      removeItem: (/** @type {string} */ name) => stored.delete(name),
    },
  });
});
afterEach(() => {
  for (const { tab } of tabs) tab.close();
  Reflect.deleteProperty(globalThis, 'localStorage');
  globalThis.BroadcastChannel = channel;
  endPage();
});

/** @typedef {{tab: Tabs, led: boolean[], messages: any[]}} Tab */

/** @returns {Tab} */
function open() {
  /** @type {Tab} */
  const one = { tab: /** @type {any} */ (null), led: [], messages: [] };
  one.tab = new Tabs('scope', {
    onLead: (leads) => one.led.push(leads),
    onMessage: (message) => one.messages.push(message),
  });
  tabs.push(one);
  return one;
}

const leaders = () => tabs.filter(({ tab }) => tab.leads).length;

test('the first tab leads at once, and of ten only one does', async () => {
  const first = open();
  assert.equal(first.tab.leads, true);
  for (let count = 1; count < 10; count += 1) open();
  for (let step = 0; step < 40; step += 1) {
    assert.equal(leaders(), 1);
    await pass(500);
  }
  assert.equal(first.tab.leads, true);
});

test('a leader that is closed hands over at once', async () => {
  const first = open();
  open();
  open();
  first.tab.close();
  await pass(0);
  await pass(80);
  assert.equal(leaders(), 1);
  assert.deepEqual(first.led, [true, false]);
});

test('a leader that vanishes is followed within 2 s', async () => {
  // It renewed its lease a moment ago, and will not any more.
  stored.set('rejoin:leader:scope', JSON.stringify({ leader: 'gone', until: Date.now() + 1_200 }));
  const next = open();
  open();
  assert.equal(leaders(), 0);
  let waited = 0;
  for (; leaders() === 0 && waited < 5_000; waited += 100) await pass(100);
  assert.ok(waited >= 1_200 && waited <= 2_000, `${waited} ms`);
  assert.equal(leaders(), 1);
  assert.equal(typeof next.tab.leads, 'boolean');
});

test('a leader whose timers are slow, as in a hidden tab, stays, since it answers', async () => {
  const first = open();
  const other = open();
  // Its own timers do nothing for a while: only the lease's time passes.
  stored.set('rejoin:leader:scope', JSON.stringify({ leader: first.tab.id, until: Date.now() - 1 }));
  await pass(200);
  await pass(200);
  assert.deepEqual([first.tab.leads, other.tab.leads], [true, false]);
});

test('a lease far in the future, by a clock that was wrong, holds nobody up', async () => {
  stored.set('rejoin:leader:scope', JSON.stringify({ leader: 'gone', until: Date.now() + 3_600_000 }));
  const { tab } = open();
  await pass(300);
  assert.equal(tab.leads, true);
});

test('a leader that was asleep while another took over steps back', async () => {
  const first = open();
  const other = open();
  stored.set('rejoin:leader:scope', JSON.stringify({ leader: other.tab.id, until: Date.now() + 1_200 }));
  await pass(400);
  assert.deepEqual([first.tab.leads, other.tab.leads], [false, true]);
});

test('what one tab posts, all others get', async () => {
  const [first, second, third] = [open(), open(), open()];
  first.tab.post({ kind: 'hello', text: 'x' });
  await pass(0);
  assert.deepEqual(first.messages, []);
  assert.deepEqual(second.messages, [{ kind: 'hello', text: 'x', from: first.tab.id }]);
  assert.deepEqual(third.messages, second.messages);
});
