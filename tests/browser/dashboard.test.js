// The dashboard, as people use it: the frame, Home and Documents, on a desk and on a phone, by mouse and by keyboard.

import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { after, before, test } from 'node:test';

import { launch } from './support/chromium.js';
import { checkAccessible, checkFits, openDashboard, picture } from './support/dashboard.js';
import { Server } from './support/server.js';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

const SIZES = /** @type {const} */ (['wide', 'phone']);
const SCHEMES = /** @type {const} */ (['light', 'dark']);

/** Fetched when somebody opens them. */
const SCREEN_FILES = ['conflicts', 'documents', 'encounters', 'games', 'people', 'reconciliation'].map(
  (name) => `/_/${name}.js`,
);

/** A server with some documents. @param {import('node:test').TestContext} t @param {string[]} [flags] */
async function start(t, flags = []) {
  const server = await Server.start(t, 0, flags);
  await server.create('maps', 'cellar', { title: 'Cellar', doors: ['north'], players: { ana: { hp: 22 } } });
  for (let round = 1; round <= 5; round += 1) {
    await server.call(
      'PATCH',
      '/api/v1/maps/cellar',
      { round, players: { ana: { hp: 22 - round } } },
      { 'content-type': 'application/merge-patch+json' },
    );
  }
  await server.create('maps', 'attic', { title: 'Attic' });
  await server.create('notes', 'rumours', { text: 'A dragon' });
  return server;
}

/** What each screen is recognised by. @type {Record<string, [string, string]>} */
const SCREENS = {
  home: ['home', 'All is well.'],
  collections: ['documents', 'Collections'],
  list: ['documents/maps', 'cellar'],
  document: ['documents/maps/cellar?version=3', 'What it changed'],
  missing: ['documents/maps/none', 'There is no such document'],
};

for (const size of SIZES) {
  for (const colorScheme of SCHEMES) {
    test(`every screen fits a ${size} window, ${colorScheme}, and axe finds nothing`, async (t) => {
      const server = await start(t);
      await server.call('POST', '/reconciliation/run', {});
      for (const [name, [hash, words]] of Object.entries(SCREENS)) {
        const page = await openDashboard(t, browser, `${server.url}/#/${hash}`, { size, colorScheme });
        await page.locator('main').getByText(words).first().waitFor();
        await checkFits(page, name);
        await checkAccessible(page, `${name}, ${size}, ${colorScheme}`);
        await picture(page, `${name}-${size}-${colorScheme}`);
        await page.close();
      }
    });
  }
}

test('the page is small, asks for little and is soon there', async (t) => {
  const server = await start(t);
  const page = await openDashboard(t, browser, `${server.url}/`);
  await page.getByText('All is well.').waitFor();
  const cold = await browser.newContext();
  t.after(() => cold.close());
  const second = await cold.newPage();
  /** @type {string[]} */
  const asked = [];
  second.on('request', (request) => asked.push(new URL(request.url()).pathname));
  await second.goto(`${server.url}/`);
  await second.getByText('All is well.').waitFor();
  await second.getByText('verified, every change is on disk').waitFor();
  const first = asked.slice();
  assert.ok(first.length <= 12, `${first.length}: ${first}`);
  const painted = await second.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
  t.diagnostic(`first contentful paint after ${painted} ms, ${first.length} requests`);
  // What is loaded first, with the client, and all screens together without it, as they are sent.
  const size = async (/** @type {string[]} */ paths) => {
    let [plain, gzipped] = [0, 0];
    for (const path of paths) {
      const answer = await fetch(server.url + path, { headers: { 'accept-encoding': 'identity' } });
      assert.equal(answer.status, 200, path);
      const body = Buffer.from(await answer.arrayBuffer());
      plain += body.length;
      gzipped += gzipSync(body, { level: 9 }).length;
    }
    return { plain, gzipped };
  };
  const loaded = await size(['/_/', '/_/dashboard.css', '/_/app.js']);
  t.diagnostic(`first load: ${loaded.plain} bytes, ${loaded.gzipped} gzipped`);
  const screens = await size(SCREEN_FILES);
  const [bundle, client] = [
    await size(['/_/app.js']),
    clientSize(await (await fetch(`${server.url}/_/app.js`)).text()),
  ];
  const own = {
    plain: loaded.plain + screens.plain - client.plain,
    gzipped: loaded.gzipped + screens.gzipped - bundle.gzipped + client.rest,
  };
  t.diagnostic(`all screens without the client: ${own.plain} bytes, ${own.gzipped} gzipped`);
  for (const { plain, gzipped } of [loaded, own]) {
    assert.ok(plain <= 150 * 1024, `${plain} bytes`);
    assert.ok(gzipped <= 60 * 1024, `${gzipped} bytes gzipped`);
  }
});

/** How much of the bundle is the client, and how large the rest is, compressed. @param {string} bundle */
function clientSize(bundle) {
  const at = bundle.indexOf('const m_ui = ');
  assert.ok(at > 0);
  return { plain: Buffer.byteLength(bundle.slice(0, at)), rest: gzipSync(bundle.slice(at), { level: 9 }).length };
}

test('files come compressed, with a tag, under a strict policy', async (t) => {
  const server = await start(t);
  const answer = await fetch(`${server.url}/_/app.js`);
  assert.equal(answer.headers.get('content-encoding'), 'gzip');
  assert.match(answer.headers.get('content-type') ?? '', /^text\/javascript/);
  const tag = answer.headers.get('etag') ?? '';
  const again = await fetch(`${server.url}/_/app.js`, { headers: { 'if-none-match': tag } });
  assert.equal(again.status, 304);
  const plain = await fetch(`${server.url}/_/app.js`, { headers: { 'accept-encoding': 'gzip;q=0' } });
  assert.equal(plain.headers.get('content-encoding'), null);
  assert.equal(await plain.text(), await answer.text());
  const policy = (await fetch(`${server.url}/`)).headers.get('content-security-policy') ?? '';
  assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'/);
  assert.ok(!policy.includes('unsafe'), policy);
});

test('beside files of the host’s it is at /_/', async (t) => {
  const server = await start(t, ['--public', '.']);
  const page = await openDashboard(t, browser, `${server.url}/_/#/documents/maps`);
  await page.getByRole('link', { name: 'attic' }).click();
  await page.getByRole('heading', { name: 'attic' }).waitFor();
  assert.equal(page.url(), `${server.url}/_/#/documents/maps/attic`);
});

test('who comes to an empty server gets three steps that work by clicking', async (t) => {
  const server = await Server.start(t);
  const page = await openDashboard(t, browser, `${server.url}/`);
  await page.getByRole('heading', { name: 'Three ways to begin' }).waitFor();
  for (const name of ['Make it', 'Play it']) await page.getByRole('button', { name }).waitFor();
  await checkAccessible(page, 'first steps');
  await picture(page, 'first-steps');
  const other = await openDashboard(t, browser, `${server.url}/`);
  await other.getByRole('button', { name: 'Make it' }).waitFor();
  const third = await openDashboard(t, browser, `${server.url}/`);
  await third.getByRole('button', { name: 'Play it' }).waitFor();
  await page.getByRole('button', { name: 'Follow it' }).click();
  await other.getByRole('button', { name: 'Make it' }).click();
  await other.getByRole('heading', { name: 'Goblins at the bridge' }).waitFor();
  await other.getByRole('button', { name: 'Next turn' }).waitFor();
  await third.getByRole('button', { name: 'Play it' }).click();
  await third.getByRole('heading', { name: 'Sample table' }).waitFor();
  await third.getByText('lastBet').waitFor();
  await page.getByRole('heading', { name: 'first' }).waitFor();
  await page.getByText('Version 3', { exact: true }).waitFor();
});

test('a document is followed, its past looked at, compared and brought back', async (t) => {
  const server = await start(t);
  const page = await openDashboard(t, browser, `${server.url}/#/documents`);
  await page.getByRole('link', { name: 'maps' }).click();
  await page.getByLabel('Search by id').fill('cell');
  await page.getByRole('link', { name: 'attic' }).waitFor({ state: 'detached' });
  assert.match(page.url(), /search=cell/);
  await page.getByRole('link', { name: 'cellar' }).click();
  const state = page.getByRole('region', { name: 'State' });
  await state.getByText('17').waitFor();
  // A change of somebody else's shows, marked.
  await server.call(
    'PATCH',
    '/api/v1/maps/cellar',
    { title: 'Flooded cellar' },
    { 'content-type': 'application/merge-patch+json' },
  );
  await state.getByText('"Flooded cellar"').waitFor();
  const glows = await page.evaluate(() => document.getAnimations().length);
  assert.ok(glows > 0, 'what has changed is marked');
  // The slider: by keyboard, as by hand.
  const slider = page.getByRole('slider', { name: 'Version' });
  await slider.focus();
  await page.keyboard.press('Home');
  await page.getByText('version 1 of 7').waitFor();
  assert.match(page.url(), /version=1/);
  await slider.fill('4');
  await page.getByText('version 4 of 7').waitFor();
  const history = page.getByRole('region', { name: 'History' });
  await history.getByText('/players/ana/hp').waitFor();
  assert.deepEqual(await history.locator('li').first().locator('del, ins').allInnerTexts(), ['20', '19']);
  await page.getByLabel('Compare with version').fill('2');
  await page.getByText('From version 2 to 4').waitFor();
  await history.getByText('21', { exact: true }).waitFor();
  // It survives a reload.
  await page.reload();
  await page.getByText('From version 2 to 4').waitFor();
  await page.getByRole('button', { name: 'Roll back to version 4' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('/title').waitFor();
  await checkAccessible(page, 'roll back');
  await dialog.getByRole('button', { name: 'Roll back' }).click();
  await state.getByText('19').waitFor();
  assert.equal((await server.document('maps/cellar')).state.title, 'Cellar');
  await page.getByRole('button', { name: 'Undo' }).click();
  await state.getByText('"Flooded cellar"').waitFor();
  assert.equal((await server.document('maps/cellar')).version, 9);
});

test('a document is made, edited as JSON, deleted and brought back', async (t) => {
  const server = await start(t);
  const page = await openDashboard(t, browser, `${server.url}/#/documents`);
  await page.getByRole('button', { name: 'Create' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Collection').fill('rooms');
  await dialog.getByLabel('Id', { exact: true }).fill('hall');
  const area = dialog.getByLabel('State as JSON');
  await area.fill('{\n  "a": 1,\n  b\n}');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await dialog.getByText('Line 3, column 3').waitFor();
  assert.equal(await area.evaluate((one) => /** @type {HTMLTextAreaElement} */ (one).selectionStart), 14);
  await picture(page, 'edit');
  await checkAccessible(page, 'create');
  await area.fill('{"a": 1}');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await page.getByRole('heading', { name: 'hall' }).waitFor();
  await page.getByRole('button', { name: 'Edit' }).click();
  await area.fill('{"a": 2, "text": "<b>bold</b>"}');
  // Somebody else was faster: nothing is overwritten unseen.
  await server.call('PUT', '/api/v1/rooms/hall', { state: { a: 7 } });
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.getByText('It has changed while you wrote').waitFor();
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'Edit' }).click();
  await area.fill('{"a": 2}');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('region', { name: 'State' }).getByText('2', { exact: true }).waitFor();
  assert.deepEqual((await server.document('rooms/hall')).state, { a: 2 });
  await page.getByRole('button', { name: 'Copy as curl' }).click();
  await dialog.getByText(`curl ${server.url}/api/v1/rooms/hall`, { exact: true }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Delete' }).click();
  await dialog.getByText('rooms/hall').first().waitFor();
  await dialog.getByRole('button', { name: 'Delete' }).click();
  await page.getByText('It was deleted').waitFor();
  await page.getByRole('button', { name: 'Bring it back' }).click();
  await dialog.getByRole('button', { name: 'Roll back' }).click();
  await page.getByRole('region', { name: 'State' }).getByText('2', { exact: true }).waitFor();
});

test('the palette finds documents, screens and acts by keyboard', async (t) => {
  const server = await start(t);
  const page = await openDashboard(t, browser, `${server.url}/`);
  await page.keyboard.press('/');
  const input = page.getByLabel('Search documents, screens and acts');
  await input.fill('cellar');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'cellar' }).waitFor();
  await page.keyboard.press('Control+k');
  await page.keyboard.type('switch the');
  await checkAccessible(page, 'palette');
  await picture(page, 'palette');
  await page.keyboard.press('Enter');
  await page.getByText('Theme: light.').waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'light');
  await page.keyboard.press('/');
  await page.keyboard.type('docum');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.getByText('Collections').waitFor();
  assert.equal(await page.locator('[aria-current="page"]').innerText(), 'Documents');
  await page.reload();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'light', 'it is kept');
});

/** Texts that would run or break out where text is taken for anything else. */
const CORPUS = [
  '<img src=x onerror="window.hurt=1">',
  '"><script>window.hurt=1</script>',
  '<svg onload=window.hurt=1>',
  'javascript:window.hurt=1',
  "' onmouseover='window.hurt=1",
  '{{constructor.constructor("window.hurt=1")()}}',
  '</textarea><script>window.hurt=1</script>',
  '\u202e\u0000\ud83d',
  '<noscript><p title="</noscript><img src=x onerror=window.hurt=1>">',
  '__proto__',
  '&lt;script&gt;',
];

test('texts of users stay texts', async (t) => {
  const server = await Server.start(t);
  const clean = CORPUS.map((text) => text.replace('\u0000', ''));
  const state = Object.fromEntries(clean.map((text, at) => [`${text} ${at}`, { [text]: clean }]));
  await server.call('PUT', '/api/v1/notes/hurt', { state: JSON.parse(JSON.stringify(state).replace(/\\ud83d/g, '')) });
  for (const text of CORPUS.slice(0, 7)) {
    await server.call('POST', '/api/v1/notes/hurt/actions', { type: text, payload: { text }, patch: { last: text } });
    await server.call('POST', '/audit/client-error', { message: text, url: text });
  }
  const page = await openDashboard(t, browser, `${server.url}/#/documents/notes/hurt`);
  const { version } = await server.document('notes/hurt');
  for (let at = 1; at <= version; at += 1) {
    await page.goto(`${server.url}/#/documents/notes/hurt?version=${at}`);
    await page.getByText(`version ${at} of ${version}`).first().waitFor();
  }
  for (const text of clean) {
    const id = `x${clean.indexOf(text)}`;
    const name = text.slice(0, 60);
    await server.call('PUT', `/api/v1/encounters/${id}`, { state: { name } });
    const act = (/** @type {string} */ type, /** @type {object} */ payload) =>
      server.call('POST', `/api/v1/encounters/${id}/actions`, { type, payload });
    await act('addCombatant', { combatantId: 'one', name, side: 'foe', hitPoints: 7, initiative: 3 });
    await act('addCondition', { combatantId: 'one', name });
    await act('start', {});
    await server.call('PUT', `/api/v1/games/${id}`, { state: { title: name, maxSeats: name } });
    await server.call('PUT', `/api/v1/interactions/${id}`, { state: { name, campaignId: 'mine' } });
    for (const hash of [`encounters/${id}?combatant=one`, `games/${id}`, `encounters/interactions/${id}`]) {
      await page.goto(`${server.url}/#/${hash}`);
      await page.locator('main .page .page h1').waitFor();
    }
  }
  for (const hash of [
    'encounters',
    'games',
    'home',
    `documents/${encodeURIComponent(CORPUS[0])}`,
    `documents/notes/${encodeURIComponent(CORPUS[1])}`,
    `documents/notes?search=${encodeURIComponent(CORPUS[0])}`,
    encodeURIComponent(CORPUS[2]),
  ]) {
    await page.goto(`${server.url}/#/${hash}`);
    await page.locator('main h1, main .note').first().waitFor();
    await page.waitForLoadState('networkidle').catch(() => {});
  }
  await page.goto(`${server.url}/#/documents/notes/hurt`);
  await page.getByRole('button', { name: 'Edit' }).click();
  const area = page.getByRole('dialog').getByLabel('State as JSON');
  await area.fill(`{"<img src=x onerror=window.hurt=1>": ${CORPUS[1]}`);
  await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
  await page.getByRole('dialog').getByRole('alert').waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('/');
  await page.keyboard.type(CORPUS[0]);
  assert.equal(await page.evaluate(() => /** @type {any} */ (globalThis).hurt), undefined);
  const scripts = await page.evaluate(() =>
    [...document.querySelectorAll('script, img, svg')]
      .map((one) => [...one.attributes].map(({ name }) => name).filter((name) => name.startsWith('on')))
      .flat(),
  );
  assert.deepEqual(scripts, []);
});

test('storage that is full is told in plain words, and that it is over', async (t) => {
  const server = await Server.start(t, 0, ['--database-pages-max', '400']);
  const page = await openDashboard(t, browser, `${server.url}/`);
  await page.getByText('All is well.').waitFor();
  const filler = 'x'.repeat(100_000);
  for (let at = 0; at < 40; at += 1) {
    await server.call('PUT', `/api/v1/filler/f${at}`, { state: { filler: filler + at } });
    const { body } = await server.call('GET', '/readyz');
    if (body.storage?.state !== 'ok') break;
  }
  await page.getByText('Changes are not being saved.').waitFor();
  await page.getByText('Free some space').waitFor();
  assert.equal(await page.getByText('All is well.').count(), 0);
  await checkAccessible(page, 'full');
  await picture(page, 'full');
});

test('a server that is killed is said to be away, and all is right again when it is back', async (t) => {
  const server = await start(t);
  for (const [hash, words] of [
    ['home', 'All is well.'],
    ['documents/maps', 'cellar'],
    ['documents/maps/cellar', '"Cellar"'],
  ]) {
    const page = await openDashboard(t, browser, `${server.url}/#/${hash}`);
    await page.locator('main').getByText(words).first().waitFor();
    const { port } = server;
    await server.kill();
    await page.getByText('Live updates paused').waitFor();
    await picture(page, `away-${hash.replaceAll('/', '-')}`);
    await checkAccessible(page, `away: ${hash}`);
    // What is shown meanwhile is what was there last.
    if (hash !== 'home') assert.ok(await page.locator('main').getByText(words).first().isVisible());
    await server.start(port);
    await server.call(
      'PATCH',
      '/api/v1/maps/cellar',
      { round: 100 + port },
      { 'content-type': 'application/merge-patch+json' },
    );
    const back = Date.now();
    await page.getByText('Live updates paused').waitFor({ state: 'detached' });
    await page
      .locator('main')
      .getByText(hash.endsWith('cellar') ? String(100 + port) : words)
      .first()
      .waitFor();
    t.diagnostic(`${hash}: right again after ${Date.now() - back} ms`);
    await page.close();
    await server.call('PATCH', '/api/v1/maps/cellar', { round: 0 }, { 'content-type': 'application/merge-patch+json' });
  }
});

test('who is invited sees what is theirs, and asks for nothing that is refused', async (t) => {
  const server = await start(t);
  const invitation = await server.call('POST', '/api/v1/invitations', {
    name: 'ask',
    documents: ['maps/cellar'],
    to: '/_/',
  });
  assert.equal(invitation.status, 201, JSON.stringify(invitation.body));
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  /** @type {string[]} */
  const refused = [];
  await page.goto(invitation.body.url);
  await page.getByLabel('Your name').fill('Ann');
  page.on('response', (answer) => answer.status() >= 400 && refused.push(`${answer.status()} ${answer.url()}`));
  await page.getByLabel('Your name').press('Enter');
  await page.getByRole('heading', { name: 'Hello, Ann' }).waitFor();
  const places = await page.getByRole('navigation').getByRole('link').allInnerTexts();
  for (const place of ['Reconciliation', 'Conflicts', 'Projects']) assert.ok(!places.includes(place), `${places}`);
  await page.getByRole('link', { name: 'maps/cellar' }).click();
  await page.getByRole('region', { name: 'State' }).getByText('"Cellar"').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Delete' }).count(), 0);
  await page.getByRole('link', { name: 'Documents' }).first().click();
  await page.getByRole('link', { name: 'maps/cellar' }).waitFor();
  assert.deepEqual(refused, []);
});
