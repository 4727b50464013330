// The client in a real browser, against the real server.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch } from './support/chromium.js';
import { openPage, until } from './support/client.js';
import { Server } from './support/server.js';

const NAME = 'games/g1';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** @param {import('node:test').TestContext} t */
async function serverWithGame(t) {
  const server = await Server.start(t);
  await server.create('games', 'g1', { pot: 0 });
  return server;
}

test('a document follows the server through kill -9 and restart, without a wrong state in between', async (t) => {
  const server = await serverWithGame(t);
  const { port } = server;
  const page = await openPage(t, browser, server.url);
  await page.evaluate(async (name) => {
    const game = page.rejoin.document(name);
    const states = [];
    game.subscribe(() => states.push([game.version, game.state?.pot]));
    Object.assign(page, { game, states });
  }, NAME);
  await until(page, () => page.game.version === 1 && page.game.status === 'connected');

  const act = (pot) => server.call('POST', `/api/v1/${NAME}/actions`, { type: 'raise', patch: { pot } });
  await act(1);
  await until(page, () => page.game.state.pot === 1);
  await server.kill();
  await until(page, () => page.game.status === 'reconnecting');
  await server.start(0);
  for (let pot = 2; pot <= 30; pot += 1) await act(pot);
  await server.kill();
  await server.start(port);
  await until(page, () => page.game.version === 31 && page.game.status === 'connected');
  const { states, hash } = await page.evaluate(() => ({ states: page.states, hash: page.game.hash }));
  for (const [version, pot] of states) if (version > 0) assert.equal(pot, version - 1);
  assert.equal(hash, (await server.document(NAME)).hash);
});

test('a write shows at once, is confirmed, and is taken back when it is refused', async (t) => {
  const server = await serverWithGame(t);
  const page = await openPage(t, browser, server.url);
  await page.evaluate((name) => void (page.game = page.rejoin.document(name)), NAME);
  await until(page, () => page.game.loaded);
  const seen = await page.evaluate(async () => {
    const { game } = page;
    const acted = game.act({ type: 'raise', patch: { pot: 5 } });
    const before = [game.state.pot, game.pending, game.version];
    const event = await acted;
    const after = [game.state.pot, game.pending, game.version];
    const refused = game.act({ type: 'raise', patch: { pot: 9 }, expectedVersion: 1 });
    const shown = game.state.pot;
    const error = await refused.catch(({ status, kind, problem }) => ({ status, kind, type: problem.type }));
    return { before, event: event.version, after, shown, error, end: [game.state.pot, game.pending] };
  });
  assert.deepEqual(seen, {
    before: [5, 1, 1],
    event: 2,
    after: [5, 0, 2],
    shown: 9,
    error: { status: 409, kind: 'conflict', type: '/problems/version-conflict' },
    end: [5, 0],
  });
});
