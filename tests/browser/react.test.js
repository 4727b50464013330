// The React and TanStack bindings in a real browser, with the real React, against the real server.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { launch } from './support/chromium.js';
import { eventually, serveSources, until } from './support/client.js';
import { Proxy } from './support/proxy.js';
import { LOG_REQUESTS, Server } from './support/server.js';

/** How long a page may take to see what it is waiting for, in milliseconds. */
const PATIENCE_MS = 20_000;
const GAME = 'games/g1';

/** @type {import('playwright-core').Browser} */
let browser;
/** The page's program. @type {string} */
let program;
/** @param {string} path */
const file = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Packages that the client and pages must share. */
const PEERS = ['react', 'react-dom', '@tanstack/react-query'];
const CLIENT = file('../../src/web/client/');

/** What pages of the running test have complained of. @type {string[]} */
let complaints = [];
/** What Chromium and React say of what a test breaks on purpose. */
const EXPECTED = [/Failed to load resource|net::ERR_/, / broke| was handled/];

/** A program for the browser. @param {string} entry @param {'development' | 'production'} [mode] */
async function bundle(entry, mode = 'development') {
  const { outputFiles } = await build({
    entryPoints: [file(entry)], bundle: true, format: 'iife', write: false, target: 'es2022', jsx: 'automatic',
    nodePaths: [file('./node_modules')], outdir: file('./'), loader: { '.css': 'empty' },
    alias: {
      'rejoin-client/react': `${CLIENT}react.js`, 'rejoin-client': `${CLIENT}rejoin.js`,
      // One React, also where the example has installed its own.
      ...Object.fromEntries(PEERS.map((name) => [name, file(`./node_modules/${name}`)])),
    },
    define: { 'process.env.NODE_ENV': JSON.stringify(mode), 'import.meta.env': '{"MODE": "test"}' },
  });
  return outputFiles[0].text;
}

before(async () => {
  program = await bundle('./support/react/app.js');
  browser = await launch();
});
after(() => browser?.close());
afterEach(() => {
  const unexpected = complaints.filter((text) => !EXPECTED.some((one) => one.test(text)));
  complaints = [];
  assert.deepEqual(unexpected, []);
});

/**
 * A server with a game, and a page that runs the program, of the server's own origin.
 * @param {import('node:test').TestContext} t
 */
async function open(t) {
  const server = await Server.start(t);
  await server.create('games', 'g1', { pot: 0 });
  const context = await newContext(t);
  return { server, context, page: await openTab(context, server.url) };
}

/**
 * A window whose pages must not complain: React's development build tells of every wrong use of it.
 * @param {import('node:test').TestContext} t
 * @param {import('playwright-core').BrowserContextOptions} [options]
 */
async function newContext(t, options) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  context.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  context.on('weberror', (error) => complaints.push(String(error.error())));
  return context;
}

/** @param {import('playwright-core').BrowserContext} context @param {string} url of the server
 * @param {string} [status] that the page waits for */
async function openTab(context, url, status = 'connected') {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(`${url}/readyz`);
  await page.evaluate((text) => void new Function(text)(), program);
  await until(page, (status) => app.seen.game?.loaded && app.seen.game.status === status, status);
  return page;
}

/** Errors of pages that the server knows. @param {Server} server */
const reported = async (server) => (await server.call('GET', '/audit/client-errors')).body.items;

/** @param {Server} server @param {object} patch @param {string} [name] */
const act = (server, patch, name = GAME) =>
  server.call('POST', `/api/v1/${name}/actions`, { type: 'change', patch });

test('a document is drawn as it changes, and written to', async (t) => {
  const { server, page } = await open(t);
  await act(server, { pot: 5 });
  await page.waitForFunction(() => document.querySelector('#pot')?.textContent === '5');
  await page.evaluate(() => app.seen.game.patch({ pot: 6 }));
  assert.equal((await server.document(GAME)).state.pot, 6);
  await until(page, () => app.seen.game.state.pot === 6 && app.seen.game.pending === 0);
  const refused = await page.evaluate(() =>
    app.seen.game.act({ type: 'change', patch: { pot: 9 }, expectedVersion: 1 }).catch((error) => error.kind));
  assert.equal(refused, 'conflict');
  await until(page, () => app.seen.game.state.pot === 6);
});

test('a query is fetched again after a change, and says that it may be old while the server is away', async (t) => {
  const { server, page } = await open(t);
  await until(page, () => app.seen.query.data?.version === 1 && !app.seen.query.isStale);
  const first = await page.evaluate(() => app.seen.query.lastUpdatedAt.getTime());
  await act(server, { pot: 1 });
  await until(page, () => app.seen.query.data.version === 2);
  assert.ok((await page.evaluate(() => app.seen.query.lastUpdatedAt.getTime())) >= first);
  const { port } = server;
  await server.kill();
  await until(page, () => app.seen.query.isStale && app.seen.query.connectionStatus === 'reconnecting');
  assert.equal(await page.evaluate(() => app.queries.getQueryData(['rejoin', 'status'])), 'reconnecting');
  await page.getByRole('status').filter({ hasText: 'Reconnecting' }).waitFor();
  const banner = page.getByRole('alert').filter({ hasText: 'Live updates paused' });
  await banner.waitFor();
  await server.start(port);
  await banner.getByRole('button', { name: 'Reconnect' }).click().catch(() => {});
  await until(page, () => app.seen.query.connectionStatus === 'connected' && !app.seen.query.isStale);
  await banner.waitFor({ state: 'detached' });
  await page.getByRole('status').filter({ hasText: 'Connected' }).waitFor();
});

test('verdicts come into the cache, other queries about them are fetched again', async (t) => {
  const { server, page } = await open(t);
  await until(page, () => app.seen.verdicts.status === 'connected' && app.seen.verdicts.verdicts.log);
  await page.evaluate(() => {
    app.fetched = 0;
    app.watch = { queryKey: ['reconciliation', 'mine'], queryFn: async () => (app.fetched += 1), staleTime: Infinity };
    return app.queries.fetchQuery(app.watch);
  });
  await server.call('PUT', '/reconciliation/services/invoices', { reportEverySeconds: 86400 });
  await server.call('POST', '/reconciliation/services/invoices/reports', {
    expected: { sent: 3 }, actual: { sent: 2 }, expectedJobIds: ['a', 'b', 'c'], actualJobIds: ['a', 'c'],
  });
  await until(page, () => app.seen.verdicts.verdicts.invoices?.status === 'discrepancy');
  const details = await page.evaluate(() => app.seen.verdicts.verdicts.invoices.discrepancyDetails.missingJobIds);
  assert.deepEqual(details, ['b']);
  await until(page, () => app.queries.getQueryState(['reconciliation', 'mine']).isInvalidated);
  await server.call('DELETE', '/reconciliation/services/invoices');
  await until(page, () => !app.seen.verdicts.verdicts.invoices);
});

/** Sends a report of an outside service. @param {Server} server @param {number} sent */
const report = (server, sent) => server.call('POST', '/reconciliation/services/invoices/reports', {
  expected: { sent }, actual: { sent },
});

test('a verdict that is none is reported once and not thrown into the page', async (t) => {
  const server = await Server.start(t);
  await server.create('games', 'g1', { pot: 0 });
  await server.call('PUT', '/reconciliation/services/invoices', { reportEverySeconds: 86400 });
  const proxy = await Proxy.start(t, server.url);
  // What the server never says.
  proxy.mode = 'alter';
  proxy.change = (text) => text.replace(/("service":"invoices"[^\n]*?"status":)"verified"/, '$1"fine"')
    .replace(/("service":"invoices"[^\n]*?"latencyMs":)/, '$1-');
  const page = await openTab(await newContext(t), proxy.url);
  await until(page, () => app.seen.verdicts.status === 'connected' && app.seen.verdicts.verdicts.log);
  for (const sent of [1, 2]) {
    await report(server, sent);
    await until(page, (sent) => app.seen.verdicts.invalid.length === sent, sent);
  }
  const [problems] = await page.evaluate(() => app.seen.verdicts.invalid);
  assert.deepEqual(problems.map((text) => text.split(' ')[0]), ['status', 'latencyMs']);
  assert.equal(await page.evaluate(() => app.seen.verdicts.verdicts.invoices), undefined);
  await eventually(async () => (await reported(server)).length > 0);
  const items = await reported(server);
  assert.deepEqual(items.map(({ count }) => count), [1]);
  assert.match(items[0].message, /^reconciliation\.update: status is not verified, stale or discrepancy; latencyMs/);
  proxy.mode = 'pass';
  await report(server, 3);
  await until(page, () => app.seen.verdicts.verdicts.invoices?.status === 'verified');
});

test('a service that was removed while nobody looked, or while the page polled, is not shown', async (t) => {
  const server = await Server.start(t);
  await server.create('games', 'g1', { pot: 0 });
  const proxy = await Proxy.start(t, server.url);
  const page = await openTab(await newContext(t), proxy.url);
  const add = async () => {
    await server.call('PUT', '/reconciliation/services/invoices', { reportEverySeconds: 86400 });
    await report(server, 1);
    await until(page, () => app.seen.verdicts.verdicts.invoices?.status === 'verified');
  };
  const remove = () => server.call('DELETE', '/reconciliation/services/invoices');
  await add();
  await page.evaluate(() => app.showVerdicts(false));
  await until(page, () => app.verdictsShown === false);
  await remove();
  await page.evaluate(() => app.showVerdicts(true));
  await until(page, () => app.seen.verdicts.status === 'connected' && app.seen.verdicts.verdicts.log);
  assert.equal(await page.evaluate(() => app.seen.verdicts.verdicts.invoices), undefined);

  await add();
  proxy.mode = 'buffer';
  proxy.cut();
  await until(page, () => app.seen.verdicts.status === 'polling-fallback');
  await remove();
  await until(page, () => !app.seen.verdicts.verdicts.invoices && app.seen.verdicts.verdicts.log);
});

test('behind a proxy that keeps back events components show what changes all the same', async (t) => {
  const server = await Server.start(t);
  await server.create('games', 'g1', { pot: 0 });
  const proxy = await Proxy.start(t, server.url);
  proxy.mode = 'buffer';
  const page = await openTab(await newContext(t), proxy.url, 'polling-fallback');
  await page.getByRole('status').filter({ hasText: 'Updating every 10 s' }).waitFor();
  await act(server, { pot: 4 });
  await page.waitForFunction(() => document.querySelector('#pot')?.textContent === '4');
  await until(page, () => app.seen.query.data.version === 2 && app.seen.query.isStale);
  await page.evaluate(() => app.seen.game.patch({ pot: 5 }));
  await until(page, () => app.seen.game.state.pot === 5 && app.seen.game.pending === 0);
  await until(page, () => app.seen.verdicts.verdicts.log);
});

test('a proxy that answers 502 while the server is down does not end the page', async (t) => {
  const server = await Server.start(t);
  await server.create('games', 'g1', { pot: 0 });
  const proxy = await Proxy.start(t, server.url);
  const page = await openTab(await newContext(t), proxy.url);
  await until(page, () => app.seen.verdicts.status === 'connected');
  await server.kill();
  await page.getByRole('status').filter({ hasText: 'Reconnecting' }).waitFor();
  const failed = proxy.paths.length;
  // Each of the two streams has been refused at least twice.
  while (proxy.paths.length < failed + 4) await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(await page.evaluate(() => [app.seen.game.state, app.seen.query.isStale]), [{ pot: 0 }, true]);
  await server.start(0);
  proxy.target = server.url;
  await act(server, { pot: 1 });
  await until(page, () => app.seen.game.state.pot === 1 && app.seen.query.data.version === 2);
  await page.getByRole('status').filter({ hasText: 'Connected' }).waitFor();
  await until(page, () => app.seen.verdicts.status === 'connected' && !app.seen.query.isStale);
});

test('interactions of the campaign are shown, and drawn again only where what is selected has changed', async (t) => {
  const { server, page } = await open(t);
  await server.create('interactions', 'i1', { campaignId: 'camp' });
  await server.create('interactions', 'other', { campaignId: 'elsewhere' });
  await until(page, () => app.seen.interactions.activeInteractions.length === 1 && !app.seen.interactions.isLoading);
  const value = await page.evaluate(() => app.seen.interactions);
  assert.deepEqual([value.currentCampaignId, value.currentInteractionId, value.error], ['camp', null, null]);

  const before = await page.evaluate(() => ({ ...app.drawn }));
  await server.call('POST', '/api/v1/interactions/i1/actions', { type: 'open' });
  await until(page, () => app.seen.interactions.activeInteractions[0].state.status === 'waiting-for-players');
  const after = await page.evaluate(() => ({ ...app.drawn }));
  assert.ok(after.interactions > before.interactions);
  assert.deepEqual([after.current, after.count], [before.current, before.count], 'neither selects what changed');

  await page.evaluate(() => app.seen.interactions.setCurrentInteraction('i1'));
  await until(page, () => app.seen.current === 'i1');
  assert.equal(await page.evaluate(() => app.drawn.count), before.count);
  await page.evaluate(() => app.seen.interactions.optimisticUpdate('i1', { status: 'in-progress' }));
  await until(page, () => app.seen.interactions.activeInteractions[0].state.status === 'in-progress');
  await page.evaluate(() => app.seen.interactions.rollbackUpdate('i1'));
  await until(page, () => app.seen.interactions.activeInteractions[0].state.status === 'waiting-for-players');
  await page.evaluate(() => app.seen.interactions.clearCurrentInteraction());
  await until(page, () => app.seen.current === null);
  await page.evaluate(() => app.seen.interactions.refreshInteractions());
  await server.call('POST', '/api/v1/interactions/i1/actions', { type: 'cancel' });
  await until(page, () => app.seen.count.count === 0 && app.seen.interactions.lastUpdate);
});

test('notifications and updates reach the other tabs', async (t) => {
  const { server, context, page } = await open(t);
  const other = await openTab(context, server.url);
  await page.evaluate(() => {
    app.seen.notices.createNotification({ type: 'turn', title: 'Your turn' });
    app.seen.notices.broadcastUpdate({ zoom: 2 });
  });
  await until(other, () => app.seen.notices.notifications[0]?.title === 'Your turn' && app.seen.notices.unread === 1);
  await until(other, () => app.seen.notices.updates[0]?.zoom === 2);
  const late = await openTab(context, server.url);
  await page.evaluate(() => app.seen.notices.syncAcrossTabs());
  await until(late, () => app.seen.notices.notifications.length === 1);
  const turn = { enabled: false, sound: false, closeAfterSeconds: 3 };
  await page.evaluate((turn) => app.seen.notices.setSettings({ turn }), turn);
  await until(other, () => app.seen.notices.settings.turn.closeAfterSeconds === 3);
  await context.setOffline(true);
  await until(page, () => !app.seen.notices.isOnline);
});

test('an error stays within its boundary, and is told to the server', async (t) => {
  const { server, page } = await open(t);
  await page.locator('#part').getByRole('button', { name: 'break' }).click();
  const alert = page.getByRole('alert').filter({ hasText: 'This part of the page has failed' });
  await alert.getByText('part broke').first().waitFor();
  assert.equal((await reported(server)).length, 0, 'a part is told by its button');
  await alert.getByRole('button', { name: 'Report' }).click();
  await alert.getByText('Reported').waitFor();
  assert.deepEqual((await reported(server)).map(({ message }) => message), ['part broke']);
  await alert.getByRole('button', { name: 'Try again' }).click();
  await page.locator('#part').waitFor();

  await page.locator('#guarded').getByRole('button', { name: 'handle' }).click();
  await page.getByRole('alert').filter({ hasText: 'This part of the page has failed' }).waitFor();
  await page.locator('#root').getByRole('button', { name: 'break' }).click();
  await page.getByRole('button', { name: 'Reload Dashboard' }).waitFor();
  await eventually(async () => (await reported(server)).length === 2);
  const [newest] = await reported(server);
  assert.deepEqual([newest.message, newest.appVersion], ['root broke', '7.1']);
  assert.equal(await page.locator('#pot').textContent(), '0', 'the rest goes on');
});

test('a provider has a client of its own, in strict mode too, which ends with it', async (t) => {
  const { server, page } = await open(t);
  const other = await Server.start(t, 0, ['--allowed-origin', new URL(page.url()).origin, ...LOG_REQUESTS]);
  await other.create('games', 'g1', { pot: 70 });
  await other.create('games', 'g2', { pot: 80 });
  const streams = () => other.answered().filter((one) => one === 'GET /api/v1/stream 200').length;
  await page.evaluate((url) => app.openOwn({ url }), other.url);
  await until(page, () => app.seen.own?.state?.pot === 70 && app.seen.own.connectionStatus === 'connected');
  assert.equal(await page.evaluate(() => app.seen.own.own === app.rejoin), false);
  assert.equal(streams(), 1);
  await page.evaluate(() => app.seen.own.patch({ pot: 71 }));
  assert.equal((await other.document(GAME)).state.pot, 71);
  // Drawn anew with equal options it stays the same; with others it is another one.
  const own = await page.evaluateHandle(() => app.seen.own.own);
  await page.evaluate((url) => app.openOwn({ url }, 'games/g2'), other.url);
  await until(page, () => app.seen.own.state?.pot === 80);
  assert.equal(await page.evaluate((own) => app.seen.own.own === own, own), true);

  await page.locator('#owned').getByRole('button', { name: 'break' }).click();
  const alert = page.getByRole('alert').filter({ hasText: 'This part of the page has failed' });
  await alert.getByRole('button', { name: 'Report' }).click();
  await alert.getByText('Reported').waitFor();
  assert.deepEqual((await reported(other)).map(({ message }) => message), ['owned broke'], 'the provider\'s server');
  assert.deepEqual(await reported(server), []);
  await alert.getByRole('button', { name: 'Try again' }).click();

  await page.evaluate(() => app.openOwn({}));
  await until(page, () => app.seen.own.state?.pot === 0 && app.seen.own.connectionStatus === 'connected');
  await other.call('POST', '/api/v1/games/g2/actions', { type: 'change', patch: { pot: 81 } });
  await page.evaluate(() => app.closeOwn());
  await until(page, () => !document.querySelector('#own'));
  assert.equal(await page.evaluate(() => app.seen.game.status), 'connected', 'the page\'s own client goes on');
});

test('a page that follows nothing says so, and warns of nothing', async (t) => {
  const { page } = await open(t);
  await page.evaluate(() => app.openIdle());
  await page.locator('#idle').getByRole('status').filter({ hasText: 'Not followed' }).waitFor();
  // Longer than a short loss, which no banner tells of.
  await page.waitForTimeout(2_000);
  assert.equal(await page.locator('#idle').getByRole('alert').count(), 0);
});

test('a component begins with what the page has open already', async (t) => {
  const { server, page } = await open(t);
  await act(server, { pot: 3 });
  await until(page, () => app.seen.game.state.pot === 3);
  const states = await page.evaluateHandle(() => app.openMore());
  await until(page, (states) => states.length > 0, states);
  assert.deepEqual(await states.evaluate((states) => states[0]), { pot: 3 });
});

test('badges can be read, in light and in dark', async (t) => {
  const { page } = await open(t);
  await page.evaluate(() => app.openBadges());
  await page.locator('.badges').last().waitFor();
  const badges = await page.evaluate(() => [...document.querySelectorAll('.badges [role=status]')].map((badge) => {
    const { color, backgroundColor } = getComputedStyle(badge);
    const luminance = (text) => {
      const [red, green, blue] = text.match(/[\d.]+/g).map((part) => {
        const value = part / 255;
        return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const [dark, light] = [luminance(color), luminance(backgroundColor)].sort((one, other) => one - other);
    const contrast = (light + 0.05) / (dark + 0.05);
    return { text: badge.textContent, icon: badge.querySelector('svg') !== null, contrast };
  }));
  assert.equal(badges.length, 10);
  assert.equal(new Set(badges.map(({ text }) => text)).size, 5);
  for (const badge of badges) assert.ok(badge.icon && badge.contrast >= 4.5, JSON.stringify(badge));
});

test('a collection of TanStack DB follows the server and writes to it', async (t) => {
  const { server, page } = await open(t);
  await server.create('notes', 'n1', { text: 'one', tags: { a: 1, b: 2 } });
  await until(page, () => app.db.status === 'ready' && app.db.size === 1);
  await page.evaluate(async () => {
    await app.db.insert({ id: 'n2', text: 'two' }).isPersisted.promise;
    await app.db.update('n1', (draft) => {
      draft.tags = { b: 3 };
      delete draft.text;
    }).isPersisted.promise;
  });
  assert.deepEqual((await server.document('notes/n1')).state, { tags: { b: 3 } });
  assert.deepEqual((await server.document('notes/n2')).state, { text: 'two' });
  const item = await page.evaluate(() => (({ id, text, tags }) => ({ id, text, tags }))(app.db.get('n1')));
  assert.deepEqual(item, { id: 'n1', text: undefined, tags: { b: 3 } });
  await act(server, { text: 'of the server' }, 'notes/n2');
  await until(page, () => app.db.get('n2').text === 'of the server');
  await page.evaluate(() => app.db.delete('n2').isPersisted.promise);
  await until(page, () => app.db.size === 1);
  assert.equal((await fetch(`${server.url}/api/v1/notes/n2`)).status, 410);
  const refused = await page.evaluate(() =>
    app.db.insert({ id: 'no name' }).isPersisted.promise.catch((error) => error.status));
  assert.equal(refused, 400);
  await until(page, () => app.db.size === 1);
});

test('the page without a build of the README works', async (t) => {
  const readme = readFileSync(`${CLIENT}README.md`, 'utf8');
  const [, recipe] = /### Without a build\n(.*?)\n###? /s.exec(readme) ?? [];
  /** @param {string} language */
  const block = (language) => new RegExp(`\`\`\`${language}\\n(.*?)\n\`\`\``, 's').exec(recipe)?.[1] ?? '';
  const folder = mkdtempSync(join(tmpdir(), 'rejoin-page-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'vendor-entry.js'), block('js'));
  writeFileSync(join(folder, 'index.html'), block('html'));
  symlinkSync(file('./node_modules'), join(folder, 'node_modules'));
  const command = block('sh').split('\n').filter((line) => !line.startsWith('npm install ')).join('\n');
  assert.match(command, /^npx esbuild /);
  execFileSync('sh', ['-c', command], { cwd: folder, stdio: 'pipe' });
  rmSync(join(folder, 'node_modules'));
  rmSync(join(folder, 'vendor-entry.js'));

  const server = await Server.start(t, 0, ['--public', folder]);
  await server.create('games', 'g1', { pot: 1 });
  const context = await newContext(t);
  await serveSources(context);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(server.url);
  await page.getByText('Connected').waitFor();
  await page.getByRole('button', { name: 'Pot: 1' }).click();
  await page.getByRole('button', { name: 'Pot: 6' }).waitFor();
  await until(page, () => !document.querySelector('#root')?.textContent?.includes('not yet saved'));
  assert.deepEqual((await server.document(GAME)).state, { pot: 6 });
});

test('the example dashboard shows verdicts and lets the host run an interaction', async (t) => {
  const server = await Server.start(t);
  await server.create('campaigns', 'strahd', { name: 'Curse of the mists' });
  await server.create('interactions', 'bridge', { campaignId: 'strahd', title: 'The rope bridge' });
  const context = await newContext(t);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const example = await bundle('../../examples/dashboard-react/src/main.jsx');
  await page.goto(`${server.url}/readyz?campaign=strahd`);
  await page.evaluate((text) => {
    document.body.innerHTML = '<div id="root"></div>';
    new Function(text)();
  }, example);
  await page.getByText(/^All \d+ services are verified\.$/).waitFor();
  await page.getByRole('button', { name: 'The rope bridge' }).click();
  await page.getByRole('button', { name: 'open' }).click();
  await page.getByText('Waiting for players, round 0').waitFor();
  await page.getByRole('button', { name: 'start' }).click();
  await page.getByRole('alert').waitFor();
  assert.equal((await server.document('interactions/bridge')).state.status, 'waiting-for-players');
});
