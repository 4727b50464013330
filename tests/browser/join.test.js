// Coming in by an invitation, as people do: the page that its link opens, on a phone and on a desk, from what a QR code
// holds to a seat.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { launch } from './support/chromium.js';
import { Server } from './support/server.js';

const WINDOWS = { phone: { width: 390, height: 844 }, wide: { width: 1280, height: 800 } };
/** Where pictures of the page go, for people to look at; left out: nowhere. */
const PICTURES = process.env.PICTURES;
const TABLE = '<!doctype html><title>Table</title><h1>The table</h1>';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** @param {import('node:test').TestContext} t */
function folderWithTable(t) {
  const folder = mkdtempSync(join(tmpdir(), 'rejoin-table-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'table.html'), TABLE);
  return folder;
}

/**
 * @param {string} url
 * @param {string} method
 * @param {unknown} [body]
 */
async function call(url, method, body) {
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
  const answer = await fetch(url, { ...init, headers: { 'content-type': 'application/json' } });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${url}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

/** A server with a page and a game. @param {import('node:test').TestContext} t */
async function start(t) {
  const server = await Server.start(t, 0, ['--public', folderWithTable(t)]);
  const state = { title: 'The Sunless Keep', maxSeats: 4 };
  await call(`${server.url}/api/v1/games/g1`, 'PUT', { state });
  return server;
}

/**
 * @param {Server} server
 * @param {Record<string, unknown>} [more]
 */
async function invite(server, more = {}) {
  const body = { name: 'ask', documents: ['games/g1'], seat: 'any', uses: 3, to: '/table.html', ...more };
  return call(`${server.url}/api/v1/invitations`, 'POST', body);
}

/**
 * A browser of somebody's own, whose complaints fail the test.
 * @param {import('node:test').TestContext} t
 * @param {import('playwright-core').BrowserContextOptions} [options]
 */
async function person(t, options = { viewport: WINDOWS.phone, isMobile: true }) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  /** @type {string[]} */
  const complaints = [];
  // What the server refuses is logged by the browser, too.
  page.on('console', (message) => {
    const refusal = message.type() === 'error' && message.text().includes('Failed to load resource');
    if (!refusal) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  t.after(() => assert.deepEqual(complaints, []));
  return page;
}

/**
 * @param {import('playwright-core').Page} page
 * @param {string} name
 */
async function picture(page, name) {
  if (!PICTURES) return;
  mkdirSync(PICTURES, { recursive: true });
  await page.screenshot({ path: join(PICTURES, `join-${name}.png`) });
}

/** @param {import('playwright-core').Page} page @param {string} words */
const heading = (page, words) => page.getByRole('heading', { name: words }).waitFor();

test('who scans the code on a phone gives a name, has a seat and is at the table', async (t) => {
  const server = await start(t);
  const { url } = await invite(server);
  const page = await person(t);
  /** @type {string[]} */
  const sent = [];
  page.on('request', (request) => sent.push(request.url()));
  await page.goto(url);
  await heading(page, 'The Sunless Keep');
  assert.match(await page.locator('main').innerText(), /The host invites you to/);
  await picture(page, 'asking-phone');
  await page.getByRole('button', { name: 'Join' }).click();
  assert.match(await page.getByRole('alert').innerText(), /what you want to be called/);
  await page.getByLabel('Your name').fill('Ann');
  await page.getByLabel('Your name').press('Enter');
  await page.waitForURL('**/table.html');
  assert.equal(await page.locator('h1').innerText(), 'The table');
  const me = await page.evaluate(() => fetch('/api/v1/me').then((answer) => answer.json()));
  assert.deepEqual([me.name, me.session.documents], ['Ann', ['games/g1']]);
  const { items } = await call(`${server.url}/api/v1/games/g1/seats`, 'GET');
  assert.deepEqual(items.map((/** @type {any} */ seat) => [seat.seat, seat.name]), [[0, 'Ann']]);
  assert.ok(sent.every((address) => !address.includes('rejoin_invitation_')), 'no address holds the token');
  assert.equal(await page.evaluate(() => document.cookie), '', 'no script reads the cookie');
  // The link once more, in the same browser: straight on.
  await page.goto(url);
  await page.waitForURL('**/table.html');
  assert.equal((await call(`${server.url}/api/v1/invitations`, 'GET')).items[0].used, 1);
  // And one to another document: as who they are.
  await call(`${server.url}/api/v1/notes/n1`, 'PUT', { state: { name: 'Rumours' } });
  const second = await invite(server, { documents: ['notes/n1'], seat: null });
  await page.goto(second.url);
  await heading(page, 'Rumours');
  await picture(page, 'known-phone');
  await page.getByRole('button', { name: 'Join as Ann' }).click();
  await page.waitForURL('**/table.html');
  const more = await page.evaluate(() => fetch('/api/v1/me').then((answer) => answer.json()));
  assert.deepEqual([more.user, more.session.documents], [me.user, ['games/g1', 'notes/n1']]);
});

test('a name that is taken or is none is said so, and another lets in', async (t) => {
  const server = await start(t);
  const { url } = await invite(server);
  const ann = await person(t);
  await ann.goto(url);
  await ann.getByLabel('Your name').fill('Ann');
  await ann.getByRole('button', { name: 'Join' }).click();
  await ann.waitForURL('**/table.html');
  const bob = await person(t, { viewport: WINDOWS.wide, colorScheme: 'dark' });
  await bob.goto(url);
  await bob.getByLabel('Your name').fill('aNN');
  await bob.getByRole('button', { name: 'Join' }).click();
  await bob.getByText('Somebody there has this name already').waitFor();
  await picture(bob, 'taken-wide-dark');
  await bob.getByLabel('Your name').fill('\u202enna');
  await bob.getByRole('button', { name: 'Join' }).click();
  await bob.getByText('characters that can be read').waitFor();
  await bob.getByLabel('Your name').fill('Bob');
  await bob.getByRole('button', { name: 'Join' }).click();
  await bob.waitForURL('**/table.html');
});

test('what cannot be used any more is said in words that fit the window', async (t) => {
  const server = await start(t);
  const [used, ended, gone, expired] = [
    await invite(server, { uses: 1, seat: null }), await invite(server), await invite(server),
    await invite(server, { expiresInSeconds: 1 }),
  ];
  const token = (/** @type {{ url: string }} */ { url }) => url.split('#')[1];
  await call(`${server.url}/api/v1/invitations/exchange`, 'POST', { token: token(used), name: 'Ann' });
  await call(`${server.url}/api/v1/invitations/${ended.id}`, 'DELETE');
  const page = await person(t);
  const states = { used: [used.url, 'Already used'], ended: [ended.url, 'No longer open'],
    broken: [`${server.url}/join#rejoin_invitation_x`, 'Not a whole link'],
    empty: [`${server.url}/join`, 'Not a whole link'] };
  for (const [name, [url, words]] of Object.entries(states)) {
    await page.goto('about:blank');
    await page.goto(url);
    await heading(page, words);
    await picture(page, `${name}-phone`);
    assert.equal(await page.getByRole('button').count(), 0, `${name}: nothing to press`);
  }
  // It is good for a second: looked at until that is over.
  for (let tries = 0; !(await page.getByRole('heading', { name: 'Too late' }).isVisible()); tries += 1) {
    assert.ok(tries < 200, 'it expires');
    await page.goto('about:blank');
    await page.goto(expired.url);
    await page.locator('main[aria-busy="false"]').waitFor();
  }
  await call(`${server.url}/api/v1/games/g1`, 'DELETE');
  await page.goto('about:blank');
  await page.goto(gone.url);
  await heading(page, 'It is over');
  await picture(page, 'gone-phone');
});

test('a server that is not there is waited for, and nobody comes in twice', async (t) => {
  const server = await start(t);
  const { url } = await invite(server, { uses: 1 });
  const page = await person(t);
  await page.goto(url);
  await page.getByLabel('Your name').fill('Ann');
  // The answer is lost on its way: the browser sees a broken connection, and the server has let Ann in.
  let lost = 0;
  await page.route('**/exchange', async (route) => {
    lost += 1;
    if (lost > 1) return route.continue();
    await route.fetch();
    return route.abort('connectionreset');
  });
  await page.getByRole('button', { name: 'Join' }).click();
  await heading(page, 'Not reachable');
  await picture(page, 'unreachable-phone');
  await page.waitForURL('**/table.html');
  assert.ok(lost >= 2);
  assert.equal((await call(`${server.url}/api/v1/games/g1/seats`, 'GET')).items.length, 1);
  // And one that is down when the link is opened.
  const other = await person(t);
  const second = await invite(server, { uses: 1 });
  await other.goto(second.url);
  await heading(other, 'The Sunless Keep');
  const port = server.port;
  await server.kill();
  await other.getByLabel('Your name').fill('Bob');
  await other.getByRole('button', { name: 'Join' }).click();
  await heading(other, 'Not reachable');
  // Pressed while nobody is there it changes nothing; the page goes on by itself when somebody is.
  await other.getByRole('button', { name: 'Try again' }).click();
  await heading(other, 'Not reachable');
  await server.start(port);
  // Without a page of the host's the browser stays, and says so.
  await Promise.race([other.waitForURL('**/table.html'), heading(other, 'You are in')]);
});

test('the page goes on to this server alone', async (t) => {
  const server = await start(t);
  for (const evil of ['https://evil.example/', '//evil.example/', '/\\evil.example', 'javascript:alert(1)']) {
    const { url } = await invite(server, { to: null, seat: null });
    const page = await person(t);
    const [path, token] = url.split('#');
    await page.goto(`${path}?to=${encodeURIComponent(evil)}#${token}`);
    await page.getByLabel('Your name').fill(`Ann ${evil.length}`);
    await page.getByRole('button', { name: 'Join' }).click();
    await heading(page, 'You are in');
    assert.equal(new URL(page.url()).origin, new URL(server.url).origin);
    await picture(page, 'in-phone');
  }
});

for (const [size, viewport] of Object.entries(WINDOWS)) {
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    test(`the page fits a ${size} window and can be read, ${colorScheme}`, async (t) => {
      const server = await start(t);
      const { url } = await invite(server);
      const page = await person(t, { viewport, colorScheme, isMobile: size === 'phone' });
      await page.goto(url);
      await heading(page, 'The Sunless Keep');
      await picture(page, `asking-${size}-${colorScheme}`);
      const seen = await page.evaluate(look);
      assert.ok(seen.width <= viewport.width, `${seen.width} wide in a window of ${viewport.width}`);
      assert.ok(seen.contrast >= 4.5, `${seen.contrast} is too little contrast to read`);
      assert.ok(seen.small >= 44, `${seen.small} is too small to touch`);
    });
  }
}

/** Runs in the page. */
function look() {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  if (!canvas) throw new Error('no canvas');
  /** How bright a colour is, as WCAG has it. @param {string} color */
  const luminance = (color) => {
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((byte) => {
      const part = byte / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  /** @param {Element | null} element @returns {string} */
  const behind = (element) => {
    if (!element) return 'white';
    const { backgroundColor } = getComputedStyle(element);
    return backgroundColor === 'rgba(0, 0, 0, 0)' ? behind(element.parentElement) : backgroundColor;
  };
  const texts = [...document.querySelectorAll('h1, p, label, button, input')];
  const visible = texts.filter((one) => one.getClientRects().length);
  const contrasts = visible.map((element) => {
    const [front, back] = [luminance(getComputedStyle(element).color), luminance(behind(element))];
    return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  });
  const touched = visible.filter((element) => element.matches('button, input'));
  return {
    width: document.documentElement.scrollWidth,
    contrast: Math.min(...contrasts),
    small: Math.min(...touched.map((element) => element.getBoundingClientRect().height)),
  };
}
