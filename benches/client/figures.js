// What the JavaScript client costs a page, and how soon a page is current after a kill of the server, in real Chromium.
// `benches/README.md` says how to run it and what the figures mean.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { setTimeout as wait } from 'node:timers/promises';

import { launch } from '../../tests/browser/support/chromium.js';
import { Server } from '../../tests/browser/support/server.js';

const CLIENT = fileURLToPath(new URL('../../src/web/client/', import.meta.url));
const PATCHES_PER_SECOND = 1_000;
/** The stream is written in groups, as a server that commits in rounds does. */
const GROUP_MS = 20;
const MEASURED_MS = 10_000;
const RUNS = 5;
const KILLS = 10;

/** @param {number} seq */
const hashOf = (seq) => seq.toString(16).padStart(64, '0');
/** @param {number} seq */
const positionOf = (seq) => `${seq}-${hashOf(seq).slice(0, 12)}`;

/** A game of some 50 KB: 500 entries, each of which a patch may change. */
const state = {
  pot: 0,
  entries: Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`e${at}`, { count: 0, text: 'x'.repeat(75) }])),
};

/** @param {string} event @param {string} id @param {unknown} data */
const frame = (event, id, data) => `event: ${event}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`;

/** @param {number} seq */
const change = (seq) => frame('change', positionOf(seq), {
  seq, collection: 'games', id: 'g1', version: seq, type: 'count', actor: 'bench', at: '2026-01-01T00:00:00.000Z',
  payload: {}, patch: [
    { op: 'replace', path: '/pot', value: seq },
    { op: 'replace', path: `/entries/e${seq % 500}/count`, value: seq },
  ], hash: hashOf(seq),
});

/** Serves the client, a page, and streams that change all the time, with next to no work of its own. */
async function serveStream() {
  const snapshot = { reason: 'start', documents: [
    { collection: 'games', id: 'g1', version: 1, hash: hashOf(1), state, durable: true },
  ] };
  const server = createServer((request, response) => {
    const [path = ''] = (request.url ?? '').split('?');
    if (path.startsWith('/client/')) {
      response.setHeader('content-type', 'text/javascript');
      response.end(readFileSync(CLIENT + path.slice('/client/'.length)));
    } else if (path === '/api/v1/stream') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(frame('snapshot', positionOf(1), snapshot));
      const began = performance.now();
      let seq = 1;
      const timer = setInterval(() => {
        const due = 1 + Math.floor(((performance.now() - began) * PATCHES_PER_SECOND) / 1000);
        let group = '';
        while (seq < due) group += change((seq += 1));
        response.write(group);
      }, GROUP_MS);
      response.on('close', () => clearInterval(timer));
    } else if (path === '/') {
      response.setHeader('content-type', 'text/html');
      response.end('<!doctype html><title>Bench</title><output id="pot"></output>');
    } else {
      response.writeHead(404, { 'content-type': 'application/problem+json' }).end('{}');
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return { server, url: `http://127.0.0.1:${port}` };
}

/** Follows the stream with the client, and draws what it says once a frame. */
async function followWithClient() {
  const path = '/client/rejoin.js';
  const { createRejoin } = await import(path);
  const game = createRejoin().document('games/g1');
  const place = /** @type {HTMLElement} */ (document.querySelector('#pot'));
  game.subscribe(() => void (place.textContent = String(game.state.pot)));
  Object.assign(globalThis, { last: () => game.version });
}

/** Follows the same stream with nothing but an `EventSource`. */
async function followBare() {
  let count = 1;
  const source = new EventSource('/api/v1/stream?doc=games/g1');
  source.addEventListener('change', () => void (count += 1));
  Object.assign(globalThis, { last: () => count });
}

/**
 * The share of a core that the page's main thread needs, and how many patches a second came.
 * @param {import('playwright-core').Browser} browser
 * @param {string} url
 * @param {() => Promise<void>} follow
 */
async function share(browser, url, follow) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(url);
  const session = await context.newCDPSession(page);
  // Processor time of the thread, so that other work on the machine does not count.
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  await page.evaluate(follow);
  await page.waitForFunction(() => /** @type {any} */ (globalThis).last() > 500, null, { polling: 100 });
  const look = async () => {
    const { metrics } = await session.send('Performance.getMetrics');
    const task = metrics.find(({ name }) => name === 'TaskDuration')?.value ?? NaN;
    return { task, at: performance.now(), count: await page.evaluate(() => /** @type {any} */ (globalThis).last()) };
  };
  const before = await look();
  await wait(MEASURED_MS);
  const after = await look();
  await context.close();
  const seconds = (after.at - before.at) / 1000;
  return { share: (after.task - before.task) / seconds, rate: (after.count - before.count) / seconds };
}

/** @param {number[]} values */
function summary(values) {
  const sorted = [...values].sort((one, other) => one - other);
  return { low: sorted[0], median: sorted[Math.floor(sorted.length / 2)], high: sorted[sorted.length - 1] };
}

/** @param {number} value */
const percent = (value) => `${(100 * value).toFixed(1)} %`;

/** @param {import('playwright-core').Browser} browser */
async function measureCpu(browser) {
  const { server, url } = await serveStream();
  const costs = [];
  for (let run = 0; run < RUNS; run += 1) {
    const bare = await share(browser, url, followBare);
    const client = await share(browser, url, followWithClient);
    costs.push(client.share - bare.share);
    console.error(`run ${run + 1}: client ${percent(client.share)} at ${client.rate.toFixed(0)}/s, ` +
      `bare ${percent(bare.share)} at ${bare.rate.toFixed(0)}/s`);
  }
  server.closeAllConnections();
  server.close();
  const { low, median, high } = summary(costs);
  const bytes = JSON.stringify(state).length;
  console.log(`${PATCHES_PER_SECOND} patches/s to a document of ${(bytes / 1000).toFixed(0)} KB, ` +
    `main thread beyond a bare EventSource: ${percent(median)} of a core (${percent(low)} to ${percent(high)}), ` +
    'bar < 10 %');
}

/** @param {import('playwright-core').Browser} browser */
async function measureKill(browser) {
  /** @type {(() => void)[]} */
  const ends = [];
  const server = await Server.start(/** @type {any} */ ({ after: (/** @type {() => void} */ fn) => ends.push(fn) }));
  await server.create('games', 'g1', { pot: 0 });
  const page = await browser.newPage();
  await page.goto(`${server.url}/readyz`);
  await page.evaluate(async () => {
    const path = '/client/rejoin.js';
    const { createRejoin } = await import(path);
    const game = createRejoin().document('games/g1');
    /** @type {string[]} */
    const wrong = [];
    game.subscribe(() => {
      if (game.version > 0 && game.state?.pot !== game.version - 1) wrong.push(`${game.version}: ${game.state?.pot}`);
    });
    Object.assign(globalThis, { game, wrong });
  });
  const times = [];
  const gaps = [];
  for (let kill = 1; kill <= KILLS; kill += 1) {
    const before = kill - 1;
    await page.waitForFunction((pot) => {
      const { game } = /** @type {any} */ (globalThis);
      return game.status === 'connected' && game.state?.pot === pot;
    }, before, { polling: 10 });
    const { port } = server;
    await server.kill();
    const killed = performance.now();
    await server.start(port);
    const listening = performance.now();
    gaps.push(listening - killed);
    const body = { type: 'raise', patch: { pot: kill } };
    const { status } = await server.call('POST', '/api/v1/games/g1/actions', body);
    if (status !== 200) throw new Error(`the action was answered ${status}`);
    await page.waitForFunction((pot) => {
      const { game } = /** @type {any} */ (globalThis);
      return game.status === 'connected' && game.state?.pot === pot;
    }, kill, { polling: 10 });
    times.push(performance.now() - listening);
  }
  const wrong = await page.evaluate(() => /** @type {any} */ (globalThis).wrong);
  await page.close();
  for (const end of ends) await end();
  const { low, median, high } = summary(times);
  console.log(`kill -9 and back, ${KILLS} times: current ${median.toFixed(0)} ms after the server listens ` +
    `(${low.toFixed(0)} to ${high.toFixed(0)}), bar ≤ 1,300 ms; server back ${summary(gaps).high.toFixed(0)} ms ` +
    `after its death at the latest, must be ≤ 800; wrong states shown: ${wrong.length}`);
}

const browser = await launch();
try {
  await measureKill(browser);
  await measureCpu(browser);
} finally {
  await browser.close();
}
