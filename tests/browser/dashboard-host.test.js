// What a host mends at the dashboard: games, what does not add up, conflicts, people and their limits, jobs.

import assert from 'node:assert/strict';
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

const MERGE = { 'content-type': 'application/merge-patch+json' };

/**
 * @param {Server} server
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {Record<string, string>} [headers]
 */
async function call(server, method, path, body, headers) {
  const answer = await server.call(method, path, body, headers);
  assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** A server with something of everything. @param {import('node:test').TestContext} t */
async function start(t) {
  const server = await Server.start(t);
  await call(server, 'PUT', '/api/v1/games/friday', {
    state: {
      title: 'Friday',
      maxSeats: 4,
      pot: 20,
      hidden: { deck: ['9♠'] },
      private: { alice: { cards: ['A♥'] }, bob: { cards: ['K♦'] } },
    },
  });
  for (const playerId of ['alice', 'bob']) await call(server, 'POST', '/api/v1/games/friday/seats', { playerId });
  await call(server, 'PUT', '/reconciliation/services/invoices', { reportEverySeconds: 86400 });
  await call(server, 'POST', '/reconciliation/services/invoices/reports', {
    expected: { sent: 3 },
    actual: { sent: 2 },
    expectedJobIds: ['i-1', 'i-2', 'i-3'],
    actualJobIds: ['i-1', 'i-3'],
  });
  await call(server, 'PUT', '/api/v1/notes/plan', { state: { title: 'Plan', boss: { name: 'Ogre' } } });
  await call(server, 'PATCH', '/api/v1/notes/plan', { title: '<i>The plan</i>', boss: { name: 'Troll' } }, MERGE);
  await call(server, 'POST', '/api/v1/notes/plan/sync', {
    baseVersion: 1,
    deviceAt: '2026-01-01T20:15:00Z',
    state: { title: '<b>My plan</b>', boss: { name: 'Giant' } },
  });
  await call(server, 'POST', '/api/v1/sessions', { user: 'ana', device: { name: 'Ana’s <i>phone</i>' } });
  return server;
}

/** @type {Record<string, [string, string]>} */
const SCREENS = {
  games: ['games', 'Friday'],
  game: ['games/friday', 'Stored version'],
  reconciliation: ['reconciliation', 'i-2'],
  conflicts: ['conflicts', '<b>My plan</b>'],
  people: ['people', 'Ana’s <i>phone</i>'],
  limits: ['people/limits', 'Nobody has one.'],
  usage: ['people/usage?user=ana', 'Parties'],
  jobs: ['people/jobs', 'history-trim'],
};

for (const size of /** @type {const} */ (['wide', 'phone'])) {
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    test(`the host’s screens fit a ${size} window, ${colorScheme}, and axe finds nothing`, async (t) => {
      const server = await start(t);
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

test('a game: seats, as a player sees it, persisted, restored, completed', async (t) => {
  const server = await start(t);
  const page = await openDashboard(t, browser, `${server.url}/#/games`);
  await page.getByRole('link', { name: 'Friday' }).click();
  const state = page.getByRole('region', { name: 'State' });
  await state.getByText('deck').waitFor();
  await page.getByRole('button', { name: 'Seat somebody' }).click();
  await page.getByRole('dialog').getByLabel('Player').fill('carol');
  await page.getByRole('button', { name: 'Seat them' }).click();
  await page.locator('strong').getByText('carol').waitFor();
  await page.getByRole('button', { name: /take bob/ }).click();
  await page.getByText('bob has left the seat.').waitFor();
  await page.getByRole('button', { name: 'Undo' }).click();
  await page.getByRole('button', { name: /take bob/ }).waitFor();
  await page.getByLabel('View as').selectOption('alice');
  await page.getByText('As alice sees it').waitFor();
  await state.locator('state-tree').getByText('alice').waitFor();
  for (const secret of ['deck', 'bob'])
    assert.equal(await state.locator('state-tree').getByText(secret).count(), 0, secret);
  await state.getByText('places that alice does not see').click();
  await state.locator('details').getByText('/hidden').first().waitFor();
  const seats = await call(server, 'GET', '/api/v1/games/friday/seats');
  assert.ok(
    seats.items.every((/** @type {any} */ one) => !one.connected),
    'looking as somebody does not make them be here',
  );
  // It is live, and over when one goes on.
  await call(server, 'PATCH', '/api/v1/games/friday', { pot: 777 }, MERGE);
  await state.getByText('777').waitFor();
  await page.getByLabel('View as').selectOption('');
  await state.getByText('deck').waitFor();
  await page.getByRole('button', { name: 'Persist' }).click();
  await page.getByText('Stored whole, as version 2.').waitFor();
  await page.getByRole('button', { name: 'Restore' }).click();
  await page.getByText('adds up to version 2').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Migrate' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Its address').fill('http://127.0.0.1:1');
  await dialog.getByRole('button', { name: 'Move it' }).click();
  await dialog.getByRole('alert').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Complete' }).click();
  await dialog.getByRole('button', { name: 'Complete' }).click();
  await page.getByText('The game is completed.').waitFor();
  const left = (await call(server, 'GET', '/api/v1/admin/sessions')).items.map((/** @type {any} */ one) => one.user);
  assert.deepEqual(left, ['ana'], 'no session is left of looking as alice');
});

test('a game moves to another server', async (t) => {
  const server = await start(t);
  const other = await Server.start(t);
  const page = await openDashboard(t, browser, `${server.url}/#/games/friday`);
  await page.getByRole('button', { name: 'Migrate' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Its address').fill(other.url);
  await dialog.getByRole('button', { name: 'Move it' }).click();
  await page.getByText(`It goes on at ${other.url}`).waitFor();
  await page.getByRole('link', { name: other.url }).waitFor();
  assert.equal((await other.document('games/friday')).state.title, 'Friday');
});

test('what does not add up: shown side by side, compared now, filtered, forgotten', async (t) => {
  const server = await start(t);
  const page = await openDashboard(t, browser, `${server.url}/#/reconciliation`);
  const invoices = page.getByRole('region', { name: 'invoices' });
  assert.deepEqual(await invoices.locator('td').allInnerTexts(), ['sent', '3', '2']);
  await invoices.getByText('i-2', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Compare now' }).click();
  await page.getByText('Compared.').waitFor();
  const audit = page.getByRole('region', { name: 'Audit' });
  await audit.getByLabel('Status').selectOption('discrepancy');
  await page.waitForURL('**status=discrepancy**');
  await audit.locator('td').getByText('tables/seats').waitFor({ state: 'detached' });
  await audit.locator('td').getByText('invoices').first().waitFor();
  await page.getByRole('button', { name: 'Add one' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name').fill('mailer');
  await dialog.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByRole('button', { name: 'Forget mailer' }).waitFor();
  // The next report puts it right, here too, by itself.
  await call(server, 'POST', '/reconciliation/services/invoices/reports', {
    expected: { sent: 3 },
    actual: { sent: 3 },
  });
  await invoices.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Forget mailer' }).click();
  await dialog.getByRole('button', { name: 'Forget' }).click();
  await page.getByText('mailer is forgotten.').waitFor();
});

test('conflicts are decided: a side, another value', async (t) => {
  const server = await start(t);
  const page = await openDashboard(t, browser, `${server.url}/#/conflicts`);
  const place = (/** @type {string} */ path) => page.locator('conflict-view').filter({ hasText: path });
  await place('/title').getByText('<b>My plan</b>').first().waitFor();
  await place('/title').getByRole('button', { name: 'Take theirs' }).click();
  await place('/title').waitFor({ state: 'detached' });
  assert.equal((await server.document('notes/plan')).state.title, '<b>My plan</b>');
  await place('/boss/name').getByLabel('Another value').fill('Dragon');
  await place('/boss/name').getByRole('button', { name: 'Use it' }).click();
  await page.getByText('No conflicts').waitFor();
  assert.equal((await server.document('notes/plan')).state.boss.name, 'Dragon');
  await page.getByRole('region', { name: 'Audit' }).getByText('/boss/name').first().waitFor();
});

test('people: a session ends, limits and plans are set, a job runs', async (t) => {
  const server = await start(t);
  const page = await openDashboard(t, browser, `${server.url}/#/people`);
  const dialog = page.getByRole('dialog');
  await page.getByRole('button', { name: /End the session of ana/ }).click();
  await dialog.getByRole('button', { name: 'End it' }).click();
  await page.getByText('No sessions').waitFor();
  assert.deepEqual((await call(server, 'GET', '/api/v1/admin/sessions')).items, []);
  await page.getByRole('link', { name: 'Rate limits' }).click();
  await page.getByRole('button', { name: 'Add a rule' }).click();
  await dialog.getByLabel('Name').fill('<i>actions</i>');
  await dialog.getByLabel('Paths').fill('/api/v1/*/*/actions');
  await dialog.getByLabel('Requests at once').fill('20');
  await checkAccessible(page, 'a rule');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByText('20 at once').waitFor();
  await page.getByRole('button', { name: 'Remove <i>actions</i>' }).click();
  await dialog.getByRole('button', { name: 'Remove' }).click();
  await page.getByText('There is none').waitFor();
  await page.getByRole('button', { name: 'Undo' }).click();
  await page.getByText('20 at once').waitFor();
  await page.getByRole('button', { name: 'Add one' }).click();
  await dialog.getByLabel('User').fill('dice-bot');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByText('dice-bot').waitFor();
  await page.getByRole('link', { name: 'Plans and usage' }).click();
  await page.getByRole('button', { name: 'Set a plan' }).click();
  await dialog.getByLabel('User').fill('ana');
  await dialog.getByLabel('Plan', { exact: true }).fill('gold');
  await dialog.getByLabel('Encounters').fill('7');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByText('0 of 7').waitFor();
  await page.getByRole('link', { name: 'Jobs' }).click();
  await page.getByRole('button', { name: 'Run now: history-trim' }).click();
  await page.getByText('history-trim: succeeded.').waitFor();
});

test('a game’s player of one’s own machine sees no place that is not theirs', async (t) => {
  const server = await start(t);
  const invitation = await call(server, 'POST', '/api/v1/invitations', {
    name: 'ask',
    documents: ['games/friday'],
    seat: 'any',
    to: '/_/#/games/friday',
  });
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(invitation.url);
  await page.getByLabel('Your name').fill('Dora');
  /** @type {string[]} */
  const refused = [];
  page.on('response', (answer) => answer.status() >= 400 && refused.push(`${answer.status()} ${answer.url()}`));
  await page.getByRole('button', { name: 'Join' }).click();
  await page.getByRole('heading', { name: 'Friday' }).waitFor();
  await page.getByText('Dora').first().waitFor();
  assert.equal(await page.getByRole('button', { name: 'Complete' }).count(), 0);
  assert.equal(await page.getByText('deck').count(), 0);
  const places = await page.getByRole('navigation').getByRole('link').allInnerTexts();
  assert.deepEqual(places, ['Home', 'Documents', 'Games', 'Encounters', 'People']);
  for (const name of places) {
    await page.getByRole('navigation').getByRole('link', { name }).click();
    await page.locator(`screen-${name.toLowerCase()} h1`).waitFor();
  }
  await page.getByRole('button', { name: 'Leave' }).waitFor();
  assert.deepEqual(refused, []);
});

test('the host’s screens are right again when a killed server is back', async (t) => {
  const server = await start(t);
  for (const [name, [hash, words]] of Object.entries(SCREENS)) {
    const page = await openDashboard(t, browser, `${server.url}/#/${hash}`);
    await page.locator('main').getByText(words).first().waitFor();
    const { port } = server;
    await server.kill();
    await page.getByText('Live updates paused').waitFor();
    assert.ok(await page.locator('main').getByText(words).first().isVisible(), `${name} keeps what was there`);
    await server.start(port);
    const back = Date.now();
    await page.getByText('Live updates paused').waitFor({ state: 'detached' });
    await page.locator('main').getByText(words).first().waitFor();
    await page.locator('main .note.warn, main .note.bad').first().waitFor({ state: 'detached' });
    t.diagnostic(`${name}: right again after ${Date.now() - back} ms`);
    await page.close();
  }
});
