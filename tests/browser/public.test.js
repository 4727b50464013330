// Pages of one's own, served by `--public`, in a browser.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { launch } from './support/chromium.js';
import { until } from './support/client.js';
import { Server } from './support/server.js';

const EXAMPLE = fileURLToPath(new URL('../../examples/initiative', import.meta.url));
const WINDOWS = { wide: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
/** Where pictures of the pages go, for people to look at; left out: nowhere. */
const PICTURES = process.env.PICTURES;

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/**
 * @param {import('node:test').TestContext} t
 * @param {object} [options] of the window
 */
async function openWindow(t, options) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  /** @type {string[]} */
  const complaints = [];
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  return { page, complaints };
}

/** @param {import('node:test').TestContext} t @param {Record<string, string>} files */
function folderOf(t, files) {
  const folder = mkdtempSync(join(tmpdir(), 'rejoin-public-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

const PAGE = `<!doctype html><meta charset="utf-8"><title>Table</title>
<style>body { color: rgb(1, 2, 3) }</style>
<p id="pot" onclick="this.title = 'clicked'">?</p>
<script>
  const game = '/api/v1/games/g1';
  const show = (text) => (document.getElementById('pot').textContent = text);
  fetch('/api/v1/games', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id: 'g1', state: { pot: 1 } }),
  }).then(() => {
    const source = new EventSource(game + '/events');
    source.addEventListener('snapshot', ({ data }) => show(JSON.parse(data).documents[0].state.pot));
    source.addEventListener('change', () => fetch(game).then((r) => r.json()).then(({ state }) => show(state.pot)));
  });
</script>
<script type="module" src="own.js"></script>`;

test('one file and one command are a page that follows the server, over a kill', async (t) => {
  const folder = folderOf(t, { 'index.html': PAGE, 'own.js': "document.body.dataset.own = 'ran'" });
  const server = await Server.start(t, 0, ['--public', folder]);
  const { page, complaints } = await openWindow(t);
  await page.goto(`${server.url}/`);
  const shows = (/** @type {string} */ wanted) =>
    until(page, (wanted) => document.getElementById('pot')?.textContent === wanted, wanted);
  await shows('1');
  await page.click('#pot');
  assert.deepEqual(
    await page.evaluate(() => [
      document.getElementById('pot')?.title,
      document.body.dataset.own,
      getComputedStyle(document.body).color,
    ]),
    ['clicked', 'ran', 'rgb(1, 2, 3)'],
  );
  await server.call('PUT', '/api/v1/games/g1', { state: { pot: 2 } });
  await shows('2');
  const { port } = server;
  await server.kill();
  await server.start(port, ['--public', folder]);
  await server.call('PUT', '/api/v1/games/g1', { state: { pot: 3 } });
  await shows('3');

  // The connection that was lost is the only thing that a browser complains of.
  assert.deepEqual(complaints.filter((text) => !/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED/.test(text)), []);
  const own = await page.goto(`${server.url}/_/`);
  assert.equal(own?.status(), 200);
  await page.locator('main', { hasText: /games\s*1/ }).waitFor();
});

test('a page with a policy of its own runs under that one alone', async (t) => {
  const policy = `<meta http-equiv="Content-Security-Policy" content="script-src 'nonce-x'">`;
  const script = "document.body.dataset.ran += ' ";
  const page = `<!doctype html><html><head>${policy}</head><body data-ran="">
    <script nonce="x">${script}nonce'</script><script>${script}inline'</script></body></html>`;
  const server = await Server.start(t, 0, ['--public', folderOf(t, { 'index.html': page })]);
  const { page: tab } = await openWindow(t);
  await tab.goto(`${server.url}/`);
  assert.equal(await tab.evaluate(() => document.body.dataset.ran), ' nonce');
});

for (const [size, viewport] of Object.entries(WINDOWS)) {
  test(`the example's table is played by two in ${size} windows, over a kill`, async (t) => {
    const flags = ['--public', EXAMPLE];
    const server = await Server.start(t, 0, flags);
    const { page: host, complaints } = await openWindow(t, { viewport, isMobile: size === 'phone' });
    const { page: player } = await openWindow(t, { viewport, isMobile: size === 'phone' });
    for (const page of [host, player]) {
      await page.goto(`${server.url}/#friday`);
      await until(page, () => document.getElementById('status')?.textContent?.includes('live'));
    }
    for (const [name, initiative, hitPoints] of [['Mira', '17', '24'], ['Goblin', '12', '7'], ['Bran', '9', '']]) {
      await host.fill('[name=name]', name);
      await host.fill('[name=initiative]', initiative);
      await host.fill('[name=hitPoints]', hitPoints);
      await host.click('#add button');
    }
    const order = (/** @type {import('playwright-core').Page} */ page, /** @type {string[]} */ wanted) =>
      until(page, (wanted) => {
        const shown = [...document.querySelectorAll('#order strong')].map((one) => one.textContent);
        return JSON.stringify(shown) === JSON.stringify(wanted);
      }, wanted);
    await order(player, ['17 · Mira', '12 · Goblin', '9 · Bran']);
    await player.click('#next');
    await player.click('[aria-label="Goblin: one hit point less"]');
    await until(host, () => document.querySelector('[aria-current] strong')?.textContent === '17 · Mira');
    await until(host, () => document.querySelectorAll('#order li')[1]?.textContent?.includes('6 HP'));
    const { port } = server;
    await server.kill();
    await until(host, () => !document.getElementById('status')?.textContent?.includes('live'));
    await server.start(port, flags);
    await until(host, () => document.getElementById('status')?.textContent === '● live');
    await host.click('#next');
    await until(player, () => document.querySelector('[aria-current] strong')?.textContent === '12 · Goblin');
    if (PICTURES) {
      mkdirSync(PICTURES, { recursive: true });
      await host.screenshot({ path: join(PICTURES, `initiative-${size}.png`), fullPage: true });
    }
    const width = await host.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= viewport.width, `${width} wide in a window of ${viewport.width}`);
    assert.deepEqual(complaints.filter((text) => !/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED/.test(text)), []);
  });
}
