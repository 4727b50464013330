// The client in a real browser, against the real server.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { launch } from './support/chromium.js';
import { eventually, load, openPage, openTab, serveSources, until } from './support/client.js';
import { Proxy } from './support/proxy.js';
import { LOG_REQUESTS, Server } from './support/server.js';

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

  await act(server, { pot: 1 });
  await until(page, () => page.game.state.pot === 1);
  await server.kill();
  await until(page, () => page.game.status === 'reconnecting');
  await server.start(0);
  for (let pot = 2; pot <= 30; pot += 1) await act(server, { pot });
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

/** Follows the game in a page. @param {import('playwright-core').Page} page */
async function follow(page) {
  await page.evaluate((name) => void (page.game = page.rejoin.document(name)), NAME);
  await until(page, () => page.game.loaded);
}

/** @param {Server} server @param {object} patch */
const act = (server, patch) => server.call('POST', `/api/v1/${NAME}/actions`, { type: 'change', patch });

/** @param {import('playwright-core').Page} page */
const shown = (page) =>
  page.evaluate(() => ({ state: page.game.state, pending: page.game.pending, status: page.game.status }));

test('offline an edit is kept and shown as not saved, and both sides\' edits are there on return', async (t) => {
  const server = await serverWithGame(t);
  const page = await openPage(t, browser, server.url);
  await follow(page);
  await page.context().setOffline(true);
  await until(page, () => page.game.status === 'offline');
  assert.deepEqual(await page.evaluate(() => page.game.patch({ mine: 1 })), { queued: true });
  await act(server, { theirs: 1 });
  assert.deepEqual(await shown(page), { state: { pot: 0, mine: 1 }, pending: 1, status: 'offline' });
  await page.context().setOffline(false);
  await until(page, () => page.game.pending === 0 && page.game.status === 'connected' && page.game.state.theirs === 1);
  assert.deepEqual((await server.document(NAME)).state, { pot: 0, mine: 1, theirs: 1 });
  assert.deepEqual((await shown(page)).state, { pot: 0, mine: 1, theirs: 1 });
});

test('what is refused on return is a conflict, also after a reload, until it is dismissed', async (t) => {
  const server = await serverWithGame(t);
  const page = await openPage(t, browser, server.url);
  await follow(page);
  await page.context().setOffline(true);
  await until(page, () => page.game.status === 'offline');
  await page.evaluate(() => page.game.act({ type: 'raise', patch: { pot: 1 }, expectedVersion: 1 }));
  await act(server, { pot: 2 });
  await page.context().setOffline(false);
  await until(page, () => page.game.pending === 0 && page.game.state.pot === 2 && page.rejoin.conflicts.length === 1);
  await page.reload();
  await load(page);
  await follow(page);
  const conflicts = () => page.evaluate(() => page.rejoin.conflicts.map((one) =>
    [one.document, one.kind, one.status, one.problem.currentVersion, one.write.body.patch]));
  assert.deepEqual(await conflicts(), [[NAME, 'conflict', 409, 2, { pot: 1 }]]);
  await page.evaluate(() => page.rejoin.writes.dismissConflict(page.rejoin.conflicts[0].id));
  await page.reload();
  await load(page);
  await follow(page);
  assert.deepEqual(await conflicts(), []);
});

test('queued edits survive a reload and go out in order, once', async (t) => {
  const server = await serverWithGame(t);
  const { port } = server;
  const page = await openPage(t, browser, server.url);
  await follow(page);
  await page.context().setOffline(true);
  await until(page, () => page.game.status === 'offline');
  await page.evaluate(async () => {
    for (const pot of [1, 2, 3]) await page.game.act({ type: 'raise', patch: { pot } });
  });
  await server.terminate();
  await page.context().setOffline(false);
  await server.start(port);
  // A page that is gone before it could send.
  await page.goto('about:blank');
  await page.goto(`${server.url}/readyz`);
  await load(page);
  await follow(page);
  await until(page, () => page.game.pending === 0 && page.game.state.pot === 3);
  const history = await server.history(NAME);
  assert.deepEqual(history.map(({ type }) => type), ['create', 'raise', 'raise', 'raise']);
});

test('queued edits go out from a page that follows only a collection, or looks only at conflicts', async (t) => {
  const server = await serverWithGame(t);
  const context = await browser.newContext();
  t.after(() => context.close());
  const uses = [() => void page.rejoin.collection('games'), () => void page.rejoin.writes.subscribe(() => {})];
  for (const [at, use] of uses.entries()) {
    const before = await openTab(context, server.url);
    await follow(before);
    await context.setOffline(true);
    await until(before, () => page.game.status === 'offline');
    await before.evaluate((at) => page.game.patch({ [`edit${at}`]: true }), at);
    // It leaves in good order, so that the next page leads from its first moment.
    await before.goto('about:blank');
    await context.setOffline(false);
    await before.close();
    const later = await openTab(context, server.url);
    await later.evaluate(use);
    await eventually(async () => (await server.document(NAME)).state[`edit${at}`]);
    await later.close();
  }
});

test('two browsers that edit offline both have all of it when they are back', async (t) => {
  const server = await serverWithGame(t);
  const pages = await Promise.all([1, 2].map(() => openPage(t, browser, server.url)));
  for (const page of pages) {
    await follow(page);
    await page.context().setOffline(true);
    await until(page, () => page.game.status === 'offline');
  }
  for (const [at, page] of pages.entries()) {
    await page.evaluate(async (at) => {
      await page.game.patch({ [`note${at}`]: 'a' });
      await page.game.act({ type: 'roll', patch: { [`roll${at}`]: 6 } });
    }, at);
  }
  for (const page of pages) await page.context().setOffline(false);
  const all = { pot: 0, note0: 'a', roll0: 6, note1: 'a', roll1: 6 };
  for (const page of pages) {
    await until(page, () => page.game.pending === 0 && Object.keys(page.game.state).length === 5);
    assert.deepEqual((await shown(page)).state, all);
  }
  assert.deepEqual((await server.document(NAME)).state, all);
});

test('what two browsers made of the same field offline is a conflict that the second one shows', async (t) => {
  const server = await serverWithGame(t);
  const pages = await Promise.all([1, 2].map(() => openPage(t, browser, server.url)));
  const [first, second] = pages;
  for (const page of pages) {
    await follow(page);
    await page.context().setOffline(true);
    await until(page, () => page.game.status === 'offline');
  }
  await first.evaluate(() => page.game.patch({ pot: 11, first: true }));
  await second.evaluate(() => page.game.patch({ pot: 22, second: true }));
  await first.context().setOffline(false);
  await until(first, () => page.game.pending === 0 && page.game.version === 2);
  await second.context().setOffline(false);
  const all = { pot: 11, first: true, second: true };
  for (const page of pages) {
    await until(page, () => page.game.pending === 0 && page.game.version === 3);
    assert.deepEqual((await shown(page)).state, all, 'the server\'s value stays until a person has decided');
  }
  const [conflict, ...more] = await second.evaluate(() => page.rejoin.conflicts.map(
    ({ document, kind, path, base, local, server }) => ({ document, kind, path, base, local, server })));
  assert.deepEqual(conflict, { document: NAME, kind: 'conflict', path: '/pot', base: 0, local: 22, server: 11 });
  assert.deepEqual([more.length, await first.evaluate(() => page.rejoin.conflicts.length)], [0, 0]);
});

test('on a page that is no secure context everything works but what needs one', async (t) => {
  const server = await serverWithGame(t);
  const proxy = await Proxy.start(t, server.url);
  const plain = await launch(['--host-resolver-rules=MAP table.example 127.0.0.1']);
  t.after(() => plain.close());
  const context = await plain.newContext();
  const url = `http://table.example:${new URL(proxy.url).port}`;
  const tabs = [];
  for (let count = 0; count < 3; count += 1) {
    const tab = await openTab(context, url, { verifyChain: true });
    assert.deepEqual(
      await tab.evaluate(() => [isSecureContext, typeof navigator.locks, typeof crypto.subtle]),
      [false, 'undefined', 'undefined'],
    );
    await follow(tab);
    tabs.push(tab);
  }
  const streams = () => proxy.paths.filter((path) => path.startsWith('/api/v1/stream')).length;
  assert.equal(streams(), 1);
  await tabs[2].evaluate(() => page.game.act({ type: 'raise', patch: { pot: 1 } }));
  await act(server, { theirs: true });
  for (const tab of tabs) await until(tab, () => page.game.version === 3 && page.game.state.pot === 1);
  await tabs[1].evaluate(() => page.rejoin.notifications.create({ type: 'turn', title: 'Your turn' }));
  for (const tab of tabs) await until(tab, () => page.rejoin.notifications.list.length === 1);

  await context.setOffline(true);
  await until(tabs[0], () => page.game.status === 'offline');
  assert.deepEqual(await tabs[0].evaluate(() => page.game.patch({ pot: 2 })), { queued: true });
  for (const tab of tabs.slice(1)) await tab.close();
  await context.setOffline(false);
  await until(tabs[0], () => page.game.pending === 0 && page.game.state.pot === 2);
  assert.deepEqual((await server.document(NAME)).state, { pot: 2, theirs: true });
});

test('ten tabs hold one connection, stay usable, and the next leads when the leader closes', async (t) => {
  const server = await Server.start(t, 0, LOG_REQUESTS);
  await server.create('games', 'g1', { pot: 0 });
  const context = await browser.newContext();
  t.after(() => context.close());
  const tabs = [];
  for (let count = 0; count < 10; count += 1) {
    const tab = await openTab(context, server.url);
    await follow(tab);
    tabs.push(tab);
  }
  await act(server, { pot: 1 });
  for (const tab of tabs) await until(tab, () => page.game.state.pot === 1 && page.game.status === 'connected');
  const streams = () => server.answered().filter((one) => one === 'GET /api/v1/stream 200').length;
  assert.equal(streams(), 1);

  await tabs[9].evaluate(() => page.game.act({ type: 'raise', patch: { pot: 2 } }));
  for (const tab of tabs) await until(tab, () => page.game.state.pot === 2);

  const leads = await Promise.all(tabs.map((tab) => tab.evaluate(() => page.rejoin.hub.leads)));
  assert.equal(leads.filter(Boolean).length, 1);
  const [leader] = tabs.splice(leads.indexOf(true), 1);
  await leader.close();
  await act(server, { pot: 3 });
  for (const tab of tabs) await until(tab, () => page.game.state.pot === 3 && page.game.status === 'connected');
  assert.equal(streams(), 2);
});

test('what one tab does every tab shows before the server knows, and takes back when it is refused', async (t) => {
  const server = await serverWithGame(t);
  const context = await browser.newContext();
  t.after(() => context.close());
  const [first, second] = [await openTab(context, server.url), await openTab(context, server.url)];
  await follow(first);
  await follow(second);
  /** @type {(value?: unknown) => void} */
  let release = () => {};
  const held = new Promise((resolve) => (release = resolve));
  await first.route('**/actions', async (route) => {
    await held;
    await route.continue();
  });
  const acted = first.evaluate(() =>
    page.game.act({ type: 'raise', patch: { pot: 7 }, expectedVersion: 99 }).catch(({ status }) => status));
  await until(second, () => page.game.state.pot === 7 && page.game.pending === 1);
  assert.equal((await server.document(NAME)).version, 1);
  release();
  assert.equal(await acted, 409);
  await until(second, () => page.game.state.pot === 0 && page.game.pending === 0);
});

test('behind a proxy that keeps back events it polls, and follows', async (t) => {
  const server = await serverWithGame(t);
  const proxy = await Proxy.start(t, server.url);
  proxy.mode = 'buffer';
  const page = await openPage(t, browser, proxy.url);
  await page.evaluate((name) => {
    page.game = page.rejoin.document(name);
    page.other = page.rejoin.document('games/g2');
  }, NAME);
  await until(page, () => page.game.loaded && page.game.status === 'polling-fallback');
  const before = proxy.paths.length;
  await act(server, { pot: 1 });
  await until(page, () => page.game.state.pot === 1);
  await act(server, { pot: 2 });
  await until(page, () => page.game.state.pot === 2);
  await server.create('games', 'g2', { late: true });
  await until(page, () => page.other.state?.late);
  assert.ok(proxy.paths.length - before < 10, 'the server waits, not the page');
});

test('a proxy that answers 502 while the server is down does not end it', async (t) => {
  const server = await serverWithGame(t);
  const proxy = await Proxy.start(t, server.url);
  const page = await openPage(t, browser, proxy.url);
  await follow(page);
  await server.kill();
  await until(page, () => page.game.status === 'reconnecting');
  const failed = proxy.paths.length;
  while (proxy.paths.length < failed + 2) await new Promise((resolve) => setTimeout(resolve, 50));
  await server.start(0);
  proxy.target = server.url;
  await act(server, { pot: 1 });
  await until(page, () => page.game.state.pot === 1 && page.game.status === 'connected');
});

test('with verifyChain a change that was altered on its way is noticed, and the state fetched', async (t) => {
  const server = await serverWithGame(t);
  const proxy = await Proxy.start(t, server.url);
  const page = await openPage(t, browser, proxy.url, { verifyChain: true });
  await follow(page);
  await page.evaluate(() => {
    page.broken = [];
    page.game.onEvent(({ event, data }) => event === 'broken-chain' && page.broken.push(data.version));
  });
  proxy.mode = 'alter';
  for (const pot of [1, 2, 3, 4]) {
    proxy.change = (text) => (pot % 2 === 0 ? text.replace(`"value":${pot}`, '"value":999') : text);
    await act(server, { pot });
    await until(page, (pot) => page.game.version === pot + 1 && page.game.state.pot === pot, pot);
  }
  assert.deepEqual(await page.evaluate(() => page.broken), [3, 5]);
});

test('a token is shown by fetch, and its end ends the stream', async (t) => {
  const server = await serverWithGame(t);
  const { body: session } = await server.call('POST', '/api/v1/sessions', { user: 'bob' });
  const page = await openPage(t, browser, server.url, { token: session.token });
  await follow(page);
  await page.evaluate(() => page.game.act({ type: 'raise', patch: { pot: 1 } }));
  const history = await server.history(NAME);
  assert.equal(history.at(-1)?.actor, 'bob');
  await until(page, () => page.game.players.some((player) => player.playerId === 'bob'));
  await server.call('DELETE', `/api/v1/admin/sessions/${session.id}`);
  await until(page, () => page.game.status === 'closed');
});

test('a seat is taken, and taken back after a reload, each time with another token', async (t) => {
  const server = await serverWithGame(t);
  const page = await openPage(t, browser, server.url);
  const taken = await page.evaluate(() => page.rejoin.joinGame('g1', { playerId: 'ann', seat: 2 }));
  assert.deepEqual([taken.playerId, taken.seat], ['ann', 2]);
  const find = () => Object.entries(localStorage).find(([name]) => name.startsWith('rejoin:seat:'));
  const kept = () => page.evaluate(find);
  let before = await kept();
  for (let reload = 0; reload < 2; reload += 1) {
    await page.reload();
    await load(page);
    const back = await page.evaluate(() => page.rejoin.resumeGame('g1'));
    assert.deepEqual([back.gameState, back.version], [{ pot: 0 }, 1]);
    const now = await kept();
    assert.notDeepEqual(now, before);
    before = now;
  }
  assert.equal(await page.evaluate(() => page.rejoin.resumeGame('g2')), null);
});

test('sessions are opened, listed and ended', async (t) => {
  const server = await serverWithGame(t);
  const page = await openPage(t, browser, server.url);
  const outcome = await page.evaluate(async () => {
    const { rejoin } = page;
    const session = await rejoin.openSession({ device: { name: 'laptop' } });
    await rejoin.openSession({ user: 'bob' });
    const before = (await rejoin.sessions()).map((one) => [one.device.name, one.current]);
    await rejoin.endOthers();
    return { user: session.user, before, after: (await rejoin.sessions()).length };
  });
  assert.deepEqual(outcome, { user: 'owner', before: [['laptop', true]], after: 1 });
});

test('flags are false until they are loaded, and an environment overrides them', async (t) => {
  const server = await Server.start(t);
  const page = await openPage(t, browser, server.url, { environment: { VITE_FF_NEW_LOBBY: 'true' } });
  const flags = await page.evaluate(async () => {
    const ask = () => ['GAMES_PERSISTENCE', 'gamesPersistence', 'AI_DELEGATION', 'NEW_LOBBY'].map((name) =>
      page.rejoin.isFeatureEnabled(name));
    const before = ask();
    await page.rejoin.flags.load();
    return [before, ask(), page.client.isFeatureEnabled('GAMES_PERSISTENCE')];
  });
  assert.deepEqual(flags, [[false, false, false, true], [true, true, false, true], true]);
});

test('a notification is shown once, whatever the number of tabs', async (t) => {
  const server = await Server.start(t);
  const context = await browser.newContext();
  t.after(() => context.close());
  const tabs = [];
  for (let count = 0; count < 3; count += 1) tabs.push(await openTab(context, server.url));
  await tabs[1].evaluate(() => page.rejoin.notifications.create({ type: 'turn', title: 'Your turn', body: 'Ann' }));
  for (const tab of tabs) await until(tab, () => page.rejoin.notifications.list.length === 1);
  const toasts = async () => {
    const texts = await Promise.all(tabs.map((tab) => tab.locator('.rejoin-toast').allTextContents()));
    return texts.flat();
  };
  while ((await toasts()).length === 0) await new Promise((resolve) => setTimeout(resolve, 50));
  await tabs[0].waitForTimeout(500);
  assert.deepEqual(await toasts(), ['Your turnAnn']);
  await tabs[2].evaluate(() => page.rejoin.notifications.markRead(page.rejoin.notifications.list[0].id));
  for (const tab of tabs) await until(tab, () => page.rejoin.notifications.unread === 0);
});

test('what the server notifies of is shown once in a browser, also what came while it was away', async (t) => {
  const server = await Server.start(t);
  const { port } = server;
  /** @param {string} method @param {string} path @param {unknown} [body] @param {string} [token] */
  const ask = async (method, path, body, token) => {
    const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
    const response = await fetch(server.url + path, { method, headers, body: body && JSON.stringify(body) });
    const answer = await response.json();
    assert.ok(response.ok, JSON.stringify(answer));
    return answer;
  };
  const { token } = await ask('POST', '/api/v1/sessions', { user: 'ana' });
  /** @param {string} type @param {unknown} [payload] @param {string} [who] */
  const act = (type, payload = {}, who) => ask('POST', '/api/v1/interactions/i/actions', { type, payload }, who);
  await ask('POST', '/api/v1/interactions', { id: 'i', state: { campaignId: 'c', name: 'The market' } });
  await act('open');
  await act('join', { name: 'Ana' }, token);
  await act('start');
  const context = await browser.newContext();
  t.after(() => context.close());
  const tabs = [await openTab(context, server.url), await openTab(context, server.url)];
  const follow = async (/** @type {any} */ tab) => {
    await tab.evaluate(() => void (page.game = page.rejoin.document('interactions/i')));
    await until(tab, () => page.game.status === 'connected' && page.game.loaded);
  };
  for (const tab of tabs) await follow(tab);
  await tabs[0].evaluate(() => {
    page.rejoin.notifications.setSettings({ action: { enabled: true, sound: false, closeAfterSeconds: 0 } });
  });
  const toasts = async () => {
    const texts = await Promise.all(tabs.map((tab) => tab.locator('.rejoin-toast').allTextContents()));
    return texts.flat();
  };
  const shown = async (/** @type {number} */ count) => {
    while ((await toasts()).length < count) await new Promise((resolve) => setTimeout(resolve, 50));
    await tabs[0].waitForTimeout(500);
    assert.deepEqual(await toasts(), Array(count).fill('An action waits for your reviewAna acts in The market'));
  };
  await act('submitAction', { action: 'I wait' }, token);
  await shown(1);
  for (const tab of tabs) assert.equal(await tab.evaluate(() => page.rejoin.notifications.list.length), 1);

  await server.kill();
  await until(tabs[0], () => page.game.status === 'reconnecting');
  await server.start(0);
  await act('reviewAction', { decision: 'approve' });
  await act('submitAction', { action: 'I wait again' }, token);
  await server.kill();
  await server.start(port);
  await shown(2);

  await tabs[1].evaluate(() => {
    const { notifications } = page.rejoin;
    notifications.markRead(notifications.list[0].id);
  });
  for (const tab of tabs) await until(tab, () => page.rejoin.notifications.unread === 1);
  while ((await ask('GET', '/api/v1/notifications')).unread !== 1) await tabs[0].waitForTimeout(20);
  await tabs[0].reload();
  await load(tabs[0]);
  await follow(tabs[0]);
  await tabs[0].waitForTimeout(500);
  assert.equal(await tabs[0].locator('.rejoin-toast').count(), 0, 'what was shown in this browser is not shown again');
  await tabs[0].evaluate(() => page.rejoin.notifications.refresh());
  assert.deepEqual(await tabs[0].evaluate(() => page.rejoin.notifications.list.map(({ read }) => read)), [true, false]);
  await tabs[0].evaluate(() => {
    page.rejoin.notifications.setSettings({ action: { enabled: false, sound: false, closeAfterSeconds: 3 } });
  });
  while ((await ask('GET', '/api/v1/notifications/preferences')).action.enabled) await tabs[0].waitForTimeout(20);
});

test('any stream is shared by tabs, and who joins late is told the present state first', async (t) => {
  const server = await Server.start(t, 0, LOG_REQUESTS);
  await server.create('games', 'g1', { pot: 0 });
  const context = await browser.newContext();
  t.after(() => context.close());
  const paths = [`/api/v1/${NAME}/events`, '/api/v1/stream?collection=games', '/reconciliation/stream'];
  const tabs = [];
  for (let count = 0; count < 3; count += 1) {
    const tab = await openTab(context, server.url);
    await tab.evaluate((paths) => {
      page.seen = paths.map(() => []);
      page.streams = paths.map((path, at) =>
        page.client.connectStream(path, { onEvent: ({ event, data }) => page.seen[at].push([event, data]) }));
    }, paths);
    await until(tab, () => page.streams.every(({ status }) => status === 'connected'));
    await until(tab, () => page.seen.every((events) => events.length > 0));
    tabs.push(tab);
    await act(server, { pot: count + 1 });
  }
  for (const [late, tab] of tabs.entries()) {
    await until(tab, () => [0, 1].every((at) => page.seen[at].some(([, data]) => data.version === 4)));
    const seen = await tab.evaluate(() => page.seen);
    for (const events of seen.slice(0, 2)) {
      const told = events.filter(([event]) => event === 'snapshot' || event === 'change');
      const [[first, { documents }], ...changes] = told;
      assert.equal(first, 'snapshot');
      assert.equal(documents[0].version, late + 1);
      assert.deepEqual(changes.map(([event, data]) => [event, data.version]), [2, 3, 4].slice(late).map((version) =>
        ['change', version]));
    }
    assert.ok(seen[2].some(([event, data]) => event === 'reconciliation.update' && data.service === 'log'));
  }
  const opened = server.answered().filter((one) => /events 200|stream 200/.test(one));
  assert.equal(opened.length, paths.length + 2, `one stream each, and two pages of JSON: ${opened}`);
});

test('a page that slept looks whether its connection is alive', async (t) => {
  const server = await serverWithGame(t);
  const proxy = await Proxy.start(t, server.url);
  const page = await openPage(t, browser, proxy.url);
  await follow(page);
  const streams = () => proxy.paths.filter((path) => path.startsWith('/api/v1/stream')).length;
  assert.equal(streams(), 1);
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  assert.equal(streams(), 1, 'it heard something a moment ago');
  await page.evaluate(() => {
    const now = Date.now;
    Date.now = () => now() + 60_000;
    document.dispatchEvent(new Event('visibilitychange'));
  });
  while (streams() < 2) await new Promise((resolve) => setTimeout(resolve, 20));
  await act(server, { pot: 1 });
  await until(page, () => page.game.state.pot === 1);
});

test('the initiative tracker: phones at a table share it, and one without a network catches up', async (t) => {
  const example = fileURLToPath(new URL('../../examples/initiative', import.meta.url));
  const server = await Server.start(t, 0, ['--public', example]);
  const phones = [];
  for (let count = 0; count < 2; count += 1) {
    const context = await browser.newContext({ viewport: { width: 390, height: 844 }, isMobile: true });
    t.after(() => context.close());
    await serveSources(context);
    const phone = await context.newPage();
    phone.setDefaultTimeout(20_000);
    await phone.goto(`${server.url}/#friday`);
    await phone.getByText('● live').waitFor();
    phones.push(phone);
  }
  const [first, second] = phones;
  const add = async (phone, name, initiative, hitPoints) => {
    await phone.getByLabel('Name').fill(name);
    await phone.getByLabel('Initiative').fill(String(initiative));
    await phone.getByLabel('Hit points').fill(String(hitPoints));
    await phone.getByRole('button', { name: 'Add' }).click();
  };
  await add(first, 'Ana', 17, 20);
  await second.getByText('17 · Ana').waitFor();
  await add(second, 'Orc', 12, 1);
  await first.getByText('12 · Orc').waitFor();
  await first.getByRole('button', { name: 'Next turn' }).click();
  await second.locator('li[aria-current]', { hasText: 'Ana' }).waitFor();

  await second.context().setOffline(true);
  await second.getByText('○ offline').waitFor();
  await second.getByRole('button', { name: 'Orc: one hit point less' }).click();
  await second.getByText('1 not yet saved').waitFor();
  await first.getByRole('button', { name: 'Next turn' }).click();
  await second.context().setOffline(false);
  await second.locator('li[aria-current].down', { hasText: 'Orc' }).waitFor();
  await first.locator('li[aria-current].down', { hasText: 'Orc' }).waitFor();
  assert.equal(await first.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
});
