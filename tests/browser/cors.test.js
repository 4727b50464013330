// Pages of other origins, with and without `--allowed-origin`, over a kill of the server.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch } from './support/chromium.js';
import { until } from './support/client.js';
import { Server } from './support/server.js';
import { servePages } from './support/site.js';

const NAME = 'games/g1';
/** How long a page may take to see what it is waiting for, in milliseconds. */
const PATIENCE_MS = 20_000;

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/**
 * @param {import('node:test').TestContext} t
 * @param {string} url
 */
async function visit(t, url) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(url);
  return page;
}

/** A server that lets pages of `origin` in, by the name of the page's host. @param {import('node:test').TestContext} t
 * @param {string} [origin] */
async function serverFor(t, origin) {
  const server = await Server.start(t, 0, origin ? ['--allowed-origin', origin] : []);
  await server.create('games', 'g1', { pot: 1 });
  return { server, url: `http://localhost:${server.port}` };
}

test('a page of an allowed origin reads, writes and follows, over a kill of the server', async (t) => {
  const origin = await servePages(t);
  const { server, url } = await serverFor(t, origin);
  const page = await visit(t, origin);
  const seen = await page.evaluate(async (target) => {
    const document = `${target}/api/v1/games/g1`;
    const json = { 'content-type': 'application/merge-patch+json', 'idempotency-key': 'k1' };
    /** @param {Response} response */
    const told = async (response) => {
      const names = ['etag', 'rejoin-position', 'idempotency-replayed', 'server-timing', 'location'];
      return { status: response.status, headers: names.filter((name) => response.headers.has(name)) };
    };
    /** @param {string} path @param {RequestInit} [options] */
    const call = (path, options) => fetch(path, { credentials: 'include', ...options });
    const patch = { method: 'PATCH', headers: json, body: '{"pot": 2}' };
    const missing = await call(`${target}/api/v1/games/none`);
    const { type } = await missing.json();
    return {
      read: await told(await call(document)),
      changed: await told(await call(document, patch)),
      repeated: await told(await call(document, patch)),
      created: await told(
        await call(`${target}/api/v1/games`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: '{"state": {}}',
        }),
      ),
      deleted: await told(await call(document.replace('g1', 'g9'), { method: 'DELETE' })),
      missing: [missing.status, type],
    };
  }, url);
  assert.deepEqual(seen.read, { status: 200, headers: ['etag', 'rejoin-position'] });
  assert.deepEqual(seen.changed, { status: 200, headers: ['etag', 'rejoin-position', 'server-timing'] });
  assert.deepEqual(seen.repeated, { status: 200, headers: ['etag', 'rejoin-position', 'idempotency-replayed'] });
  assert.deepEqual(seen.created.status, 201);
  assert.ok(seen.created.headers.includes('location'));
  assert.equal(seen.deleted.status, 404);
  assert.deepEqual(seen.missing, [404, '/problems/not-found']);

  await page.evaluate((target) => {
    const source = new EventSource(`${target}/api/v1/games/g1/events`, { withCredentials: true });
    /** @type {[string, number][]} */
    const told = [];
    for (const name of ['snapshot', 'resumed', 'change']) {
      source.addEventListener(name, (/** @type {MessageEvent} */ { data }) => {
        told.push([name, JSON.parse(data).version ?? 0]);
      });
    }
    Object.assign(globalThis, { told });
  }, url);
  await until(page, () => /** @type {any} */ (globalThis).told.length === 1);
  const { port } = server;
  await server.kill();
  await server.start(port, ['--allowed-origin', origin]);
  await server.call('POST', `/api/v1/${NAME}/actions`, { type: 'raise', patch: { pot: 3 } });
  await until(page, () => /** @type {any} */ (globalThis).told.some((/** @type {any} */ [name]) => name === 'change'));
  const told = await page.evaluate(() => /** @type {any} */ (globalThis).told);
  assert.equal(told[0][0], 'snapshot');
  assert.equal(told[1][0], 'resumed');
  assert.deepEqual(told.at(-1), ['change', 3]);
});

test('without the option the same page gets nothing', async (t) => {
  const origin = await servePages(t);
  const { server, url } = await serverFor(t);
  const document = await server.document(NAME);
  const page = await visit(t, origin);
  const seen = await page.evaluate(async (target) => {
    const path = `${target}/api/v1/games/g1`;
    const refused = () => 'refused';
    const followed = new Promise((resolve) => {
      const source = new EventSource(`${path}/events`);
      source.addEventListener('snapshot', () => resolve('followed'));
      source.onerror = () => source.readyState === EventSource.CLOSED && resolve('refused');
    });
    const headers = { 'content-type': 'application/merge-patch+json' };
    return [
      await fetch(path).then(() => 'read', refused),
      await fetch(path, { method: 'PATCH', headers, body: '{"pot": 9}' }).then(() => 'written', refused),
      await followed,
    ];
  }, url);
  assert.deepEqual(seen, ['refused', 'refused', 'refused']);
  assert.deepEqual(await server.document(NAME), document);
});

test('a session goes by cookie between ports of one host, and by its token between hosts', async (t) => {
  const origin = await servePages(t);
  const { server, url } = await serverFor(t, origin);
  const page = await visit(t, origin);
  /** Opens a session and says which one the page shows then, without and with the token. @param {string} target */
  const open = async (target) => {
    const shown = async (/** @type {Record<string, string>} */ headers) => {
      const response = await fetch(`${target}/api/v1/me`, { headers, credentials: 'include' });
      return (await response.json()).session?.id ?? 'none';
    };
    const opened = await fetch(`${target}/api/v1/sessions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      credentials: 'include',
      body: JSON.stringify({ device: { name: 'page' } }),
    });
    const { token, id } = await opened.json();
    return { opened: id, byCookie: await shown({}), byToken: await shown({ authorization: `Bearer ${token}` }) };
  };
  const sameHost = await page.evaluate(open, url);
  assert.equal(sameHost.byCookie, sameHost.opened, 'the cookie is kept and sent');
  assert.equal(sameHost.byToken, sameHost.opened);
  const otherHost = await page.evaluate(open, server.url);
  assert.equal(otherHost.byCookie, 'none', 'a page of localhost sends no cookie to 127.0.0.1');
  assert.equal(otherHost.byToken, otherHost.opened);
});

test('the client works from another origin, and over a kill of the server', async (t) => {
  const origin = await servePages(t);
  const { server, url } = await serverFor(t, origin);
  const page = await visit(t, origin);
  await page.evaluate(async (target) => {
    const { createRejoin } = await import(`${target}/client/rejoin.js`);
    const game = createRejoin({ url: target }).document('games/g1');
    game.subscribe(() => {});
    Object.assign(globalThis, { game });
  }, url);
  const pot = (/** @type {number} */ wanted) =>
    until(page, (wanted) => /** @type {any} */ (globalThis).game.confirmed?.pot === wanted, wanted);
  await pot(1);
  await page.evaluate(() => /** @type {any} */ (globalThis).game.patch({ pot: 2 }));
  await pot(2);
  assert.deepEqual((await server.document(NAME)).state, { pot: 2 });
  const { port } = server;
  await server.kill();
  await until(page, () => /** @type {any} */ (globalThis).game.status !== 'connected');
  await server.start(port, ['--allowed-origin', origin]);
  await server.call('POST', `/api/v1/${NAME}/actions`, { type: 'raise', patch: { pot: 3 } });
  await pot(3);
  await page.evaluate(() => /** @type {any} */ (globalThis).game.patch({ pot: 4 }));
  await pot(4);
});

test('a page of another origin opens a session, by cookie or by token, and follows with it over a kill', async (t) => {
  const origin = await servePages(t);
  const { server, url } = await serverFor(t, origin);
  // To localhost the page sends its cookie; to 127.0.0.1, another host, it shows a token by `fetch`.
  for (const target of [url, server.url]) {
    const page = await visit(t, origin);
    const byToken = target === server.url;
    await page.evaluate(async ([target, byToken]) => {
      const { createRejoin } = await import(`${target}/client/rejoin.js`);
      let rejoin = createRejoin({ url: target });
      const session = await rejoin.openSession({ device: { name: 'page' } });
      if (byToken) {
        rejoin.close();
        rejoin = createRejoin({ url: target, token: session.token });
      }
      const game = rejoin.document('games/g1');
      game.subscribe(() => {});
      const shown = async () => (await rejoin.requests.send('GET', '/api/v1/me')).body.session?.id;
      Object.assign(globalThis, { game, rejoin, session, shown });
    }, /** @type {const} */ ([target, byToken]));
    const connected = () => until(page, () => /** @type {any} */ (globalThis).game.status === 'connected');
    await connected();
    const opened = () => page.evaluate(async () => {
      const { session, shown } = /** @type {any} */ (globalThis);
      return [await shown(), session.id];
    });
    const [shown, id] = await opened();
    assert.equal(shown, id);
    const pot = byToken ? 20 : 10;
    await page.evaluate((pot) => /** @type {any} */ (globalThis).game.patch({ pot }), pot);
    await until(page, (pot) => /** @type {any} */ (globalThis).game.confirmed?.pot === pot, pot);
    const { port } = server;
    await server.kill();
    await until(page, () => /** @type {any} */ (globalThis).game.status !== 'connected');
    await server.start(port, ['--allowed-origin', origin]);
    await connected();
    await server.call('POST', `/api/v1/${NAME}/actions`, { type: 'raise', patch: { pot: pot + 1 } });
    await until(page, (pot) => /** @type {any} */ (globalThis).game.confirmed?.pot === pot, pot + 1);
    assert.equal((await opened())[0], id, 'the session outlives the kill');
    await server.call('DELETE', `/api/v1/admin/sessions/${id}`);
    await until(page, () => /** @type {any} */ (globalThis).game.status === 'closed');
    await page.context().close();
  }
});

test('a game that moves is followed to the other server, by the client', async (t) => {
  const origin = await servePages(t);
  const { server, url } = await serverFor(t, origin);
  const other = await Server.start(t, 0, ['--allowed-origin', origin]);
  const page = await visit(t, origin);
  /** Follows the game in the page. @param {string} target */
  const follow = async (target) => {
    const { createRejoin } = await import(`${target}/client/rejoin.js`);
    const game = createRejoin({ url: target }).document('games/g1');
    game.subscribe(() => {});
    Object.assign(globalThis, { game });
  };
  const pot = (/** @type {number} */ wanted) =>
    until(page, (wanted) => /** @type {any} */ (globalThis).game.confirmed?.pot === wanted, wanted);
  await page.evaluate(follow, url);
  await pot(1);
  const moved = await server.call('POST', `/api/v1/${NAME}/migrate`, { to: other.url }, { 'idempotency-key': 'm1' });
  assert.equal(moved.status, 200, JSON.stringify(moved.body));
  await other.call('POST', `/api/v1/${NAME}/actions`, { type: 'raise', patch: { pot: 2 } });
  await pot(2);
  await page.evaluate(() => /** @type {any} */ (globalThis).game.patch({ pot: 3 }));
  await pot(3);
  assert.deepEqual((await other.document(NAME)).state, { pot: 3 });
  // So does a page that comes only now.
  await page.reload();
  await page.evaluate(follow, url);
  await pot(3);

  // A redirect that a browser follows by itself arrives without an origin, which is nobody's.
  const requests = [];
  page.on('request', (request) => requests.push(request));
  const outcome = await page.evaluate(
    (target) => fetch(`${target}/api/v1/games/g1`).then(({ status }) => status, () => 'refused'),
    url,
  );
  assert.equal(outcome, 'refused');
  assert.deepEqual(requests.map((request) => new URL(request.url()).origin), [url, other.url]);
});

for (const changeOrigin of [true, false]) {
  test(`a page behind Vite's proxy works, with changeOrigin ${changeOrigin}`, async (t) => {
    // The proxy must know the server before there is one, and the server the proxy.
    const { port } = await freePort(t);
    const origin = await servePages(t, { target: `http://localhost:${port}`, changeOrigin });
    const server = await Server.start(t, port, ['--allowed-origin', origin]);
    await server.create('games', 'g1', { pot: 1 });
    const page = await visit(t, origin);
    await page.evaluate(async () => {
      const path = '/client/rejoin.js';
      const { createRejoin } = await import(path);
      const game = createRejoin().document('games/g1');
      game.subscribe(() => {});
      Object.assign(globalThis, { game });
    });
    const pot = (/** @type {number} */ wanted) =>
      until(page, (wanted) => /** @type {any} */ (globalThis).game.confirmed?.pot === wanted, wanted);
    await pot(1);
    await page.evaluate(() => /** @type {any} */ (globalThis).game.patch({ pot: 2 }));
    await pot(2);
    await server.kill();
    await server.start(port, ['--allowed-origin', origin]);
    await server.call('POST', `/api/v1/${NAME}/actions`, { type: 'raise', patch: { pot: 3 } });
    await pot(3);

    await server.kill();
    await server.start(port);
    const status = await page.evaluate(async () => {
      const headers = { 'content-type': 'application/merge-patch+json' };
      const response = await fetch('/api/v1/games/g1', { method: 'PATCH', headers, body: '{"pot": 9}' });
      return [response.status, (await response.json()).detail];
    });
    assert.equal(status[0], changeOrigin ? 403 : 421);
    if (changeOrigin) assert.match(status[1], new RegExp(`--allowed-origin ${origin}`));
    assert.deepEqual((await server.document(NAME)).state, { pot: 3 });
  });
}

/** A port that is free now. @param {import('node:test').TestContext} t */
async function freePort(t) {
  const server = await Server.start(t);
  const { port } = server;
  await server.close();
  return { port };
}
