// An evening at the dashboard: an encounter is made, run and completed, players look on and act from their phones, and
// an interaction is reviewed.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch } from './support/chromium.js';
import { checkAccessible, checkFits, openDashboard, picture, WINDOWS } from './support/dashboard.js';
import { Server } from './support/server.js';

/** @typedef {import('playwright-core').Page} Page */

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/**
 * @param {Server} server
 * @param {string} name
 * @param {string} type
 * @param {object} [payload]
 * @param {Record<string, string>} [as]
 */
async function act(server, name, type, payload = {}, as = {}) {
  const { status, body } = await server.call('POST', `/api/v1/${name}/actions`, { type, payload }, as);
  assert.ok(status < 300, `${type}: ${status} ${JSON.stringify(body)}`);
  return body;
}

/** An encounter that runs. @param {import('node:test').TestContext} t */
async function start(t) {
  const server = await Server.start(t);
  await server.create('encounters', 'ambush', { name: 'Goblin ambush' });
  const name = 'encounters/ambush';
  await act(server, name, 'addCombatant', {
    name: 'Ana',
    side: 'party',
    hitPoints: 22,
    armorClass: 16,
    playerId: 'ana',
    initiative: 20,
  });
  await act(server, name, 'addCombatant', { name: 'Goblin', side: 'foe', hitPoints: 7, initiative: 15 });
  await act(server, name, 'addCombatant', {
    name: 'Boss',
    alias: 'Shadow',
    concealed: true,
    side: 'foe',
    hitPoints: 21,
    initiative: 10,
  });
  await act(server, name, 'start');
  await act(server, name, 'addCondition', { combatantId: 'ana', name: 'Poisoned', rounds: 3 });
  return server;
}

/** What the server has of it. @param {Server} server */
const state = async (server) => (await server.document('encounters/ambush')).state;

/** Waits until the server has it so. @param {() => Promise<boolean>} holds @param {string} what */
async function until(holds, what) {
  for (let tries = 0; !(await holds()); tries += 1) {
    assert.ok(tries < 400, what);
    await new Promise((resolve) => {
      setTimeout(resolve, 25);
    });
  }
}

for (const size of /** @type {const} */ (['wide', 'phone'])) {
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    test(`encounters fit a ${size} window, ${colorScheme}, and axe finds nothing`, async (t) => {
      const server = await start(t);
      await server.create('interactions', 'cellar', { campaignId: 'mine' });
      await act(server, 'interactions/cellar', 'open');
      for (const [name, hash, words] of [
        ['encounters', 'encounters', 'Goblin ambush'],
        ['tracker', 'encounters/ambush?combatant=ana', 'Conditions'],
        ['interaction', 'encounters/interactions/cellar', 'What happened'],
      ]) {
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

test('an evening by keyboard alone: made, started, damaged, next turn, completed', async (t) => {
  const server = await Server.start(t);
  const page = await openDashboard(t, browser, `${server.url}/`);
  /** Goes with Tab to the next thing with this name. @param {string} name */
  const tabTo = async (name) => {
    for (let tries = 0; tries < 150; tries += 1) {
      await page.keyboard.press('Tab');
      const focused = await page.evaluate(() => {
        const one = document.activeElement;
        return one?.getAttribute('aria-label') ?? one?.textContent ?? '';
      });
      if (focused.trim().startsWith(name)) return;
    }
    assert.fail(`${name} is not reached by Tab`);
  };
  await page.keyboard.press('/');
  await page.keyboard.type('make an enc');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: 'Make an encounter' }).waitFor();
  await page.keyboard.type('The bridge');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'The bridge' }).waitFor();
  const read = async () => (await server.document('encounters/the-bridge')).state;
  await tabTo('Add monsters');
  await page.keyboard.press('Enter');
  await page.getByLabel('Search monsters').waitFor();
  await page.keyboard.type('hobg');
  await tabTo('Add 3 Hobgoblin');
  await page.keyboard.press('Enter');
  await until(async () => (await read()).order.length === 3, 'three hobgoblins');
  await page.keyboard.press('Escape');
  await tabTo('Add a player');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: 'Add a player' }).waitFor();
  await page.keyboard.type('Ana');
  await page.keyboard.press('Tab');
  await page.keyboard.type('22');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await tabTo('Start');
  await page.keyboard.press('Enter');
  await until(async () => (await read()).status === 'active', 'it has started');
  const first = (await read()).turn;
  await page.getByRole('button', { name: 'Next turn' }).waitFor();
  await tabTo('Next turn');
  await page.keyboard.press('Enter');
  await until(async () => (await read()).turn !== first, 'the turn passed');
  await page.keyboard.press('p');
  await until(async () => (await read()).turn === first, 'the turn came back');
  const row = page.getByRole('region', { name: 'Initiative' }).getByRole('button').filter({ hasText: 'Ana' });
  await row.focus();
  await page.keyboard.press('Enter');
  await tabTo('Amount for Ana');
  await page.keyboard.type('9');
  await page.keyboard.press('Enter');
  await until(async () => (await read()).combatants.ana.hitPoints.current === 13, 'nine damage');
  await tabTo('Complete');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await tabTo('Complete');
  await page.keyboard.press('Enter');
  await until(async () => (await read()).status === 'completed', 'it is over');
});

test('hit points, conditions and turns by tapping, and taken back', async (t) => {
  const server = await start(t);
  const page = await openDashboard(t, browser, `${server.url}/#/encounters/ambush`, { size: 'phone' });
  const row = (/** @type {string} */ name) => page.locator('.combatant').filter({ hasText: name });
  await row('Goblin').tap();
  for (const key of ['1', '2', 'Delete a digit', '0']) await page.getByRole('button', { name: key, exact: true }).tap();
  await until(async () => (await page.getByLabel('Amount for Goblin').inputValue()) === '10', 'ten are typed');
  await page.getByRole('button', { name: 'Damage', exact: true }).tap();
  await until(async () => (await state(server)).combatants.goblin.down, 'the goblin is down');
  await row('Goblin').getByText('down').waitFor();
  await page.getByRole('button', { name: 'Undo' }).tap();
  await until(async () => !(await state(server)).combatants.goblin.down, 'it is up again');
  await page.getByRole('button', { name: '1 damage to Goblin' }).tap();
  await until(async () => (await state(server)).combatants.goblin.hitPoints.current === 6, 'one damage');
  await page.getByLabel('Condition', { exact: true }).selectOption('Prone');
  await page.getByLabel('Rounds').fill('2');
  await page.getByRole('button', { name: 'Add', exact: true }).tap();
  await until(async () => (await state(server)).combatants.goblin.conditions[0]?.rounds === 2, 'it is prone');
  await page.getByRole('button', { name: /^Prone 2/ }).tap();
  await until(async () => (await state(server)).combatants.goblin.conditions.length === 0, 'it stands');
  await row('Boss').tap();
  await page.getByRole('button', { name: 'Reveal' }).tap();
  await until(async () => (await state(server)).combatants.shadow.concealed === false, 'the boss is seen');
  await page.reload();
  await page.getByRole('button', { name: 'Initiative' }).waitFor();
});

test('the players’ view on a phone: by the link, live, and only what is theirs', async (t) => {
  const server = await start(t);
  const page = await openDashboard(t, browser, `${server.url}/#/encounters/ambush`);
  await page.getByRole('button', { name: 'Invite players' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Who').selectOption('ana');
  await dialog.getByRole('button', { name: 'Make a link' }).click();
  await dialog.getByRole('img', { name: 'QR code of the link' }).waitFor();
  await checkAccessible(page, 'QR code');
  const url = (await dialog.locator('code').innerText()).trim();
  const context = await browser.newContext({ viewport: WINDOWS.phone, isMobile: true, hasTouch: true });
  t.after(() => context.close());
  const phone = await context.newPage();
  phone.setDefaultTimeout(20_000);
  await phone.goto(url);
  await phone.getByRole('button', { name: 'Join' }).tap();
  await phone.getByRole('region', { name: 'Turn' }).getByText('Your turn').waitFor();
  await phone.getByText('Shadow').waitFor();
  assert.equal(await phone.getByText('Boss').count(), 0, 'the server says nothing of who it is');
  for (const name of ['Undo', 'Invite players', 'Next turn', 'Complete']) {
    assert.equal(await phone.getByRole('button', { name }).count(), 0, name);
  }
  await picture(phone, 'player-phone');
  await checkAccessible(phone, 'the players’ view');
  await phone.getByRole('button', { name: /Notifications, \d unread/ }).tap();
  await phone.getByRole('dialog').getByText('Your turn').first().waitFor();
  await checkAccessible(phone, 'notifications');
  await phone.getByRole('dialog').getByRole('button', { name: 'All read' }).tap();
  await phone.getByRole('button', { name: 'Notifications', exact: true }).waitFor();
  await page.keyboard.press('Escape');
  await page.locator('.combatant').filter({ hasText: 'Ana' }).click();
  await page.getByLabel('Amount for Ana').fill('5');
  await page.getByRole('button', { name: 'Damage', exact: true }).click();
  await phone.locator('.combatant').filter({ hasText: 'Ana' }).getByText('17').waitFor();
  await phone.locator('.combatant').filter({ hasText: 'Ana' }).tap();
  await phone.getByRole('button', { name: 'Heal Ana by 1' }).tap();
  await page.locator('.combatant').filter({ hasText: 'Ana' }).getByText('18').waitFor();
  await phone.locator('.combatant').filter({ hasText: 'Goblin' }).tap();
  assert.equal(await phone.getByRole('button', { name: 'Damage', exact: true }).count(), 0, 'not theirs');
  await phone.getByRole('button', { name: 'End my turn' }).tap();
  await page.getByRole('region', { name: 'Turn' }).getByText('Goblin').waitFor();
});

test('actions of players are reviewed from the queue', async (t) => {
  const server = await Server.start(t);
  await server.create('interactions', 'cellar', { campaignId: 'mine' });
  const { body: session } = await server.call('POST', '/api/v1/sessions', { user: 'ana' });
  const ana = { authorization: `Bearer ${session.token}` };
  const name = 'interactions/cellar';
  await act(server, name, 'open');
  await act(server, name, 'join', { name: 'Ana' }, ana);
  await act(server, name, 'start');
  await act(server, name, 'submitAction', { action: '<i>I open the door</i>' }, ana);
  const page = await openDashboard(t, browser, `${server.url}/#/encounters`);
  const queue = page.locator('section').filter({ hasText: '1 action to review' });
  await queue.getByRole('link', { name: 'cellar' }).click();
  await page.getByText('<i>I open the door</i>').first().waitFor();
  await checkAccessible(page, 'review');
  await picture(page, 'review');
  await page.getByLabel('What comes of it').fill('It is locked');
  await page.getByRole('button', { name: 'Reject' }).click();
  await until(async () => (await server.document(name)).state.status === 'in-progress', 'it is given back');
  await act(server, name, 'submitAction', { action: 'I pick the lock' }, ana);
  await page.getByRole('button', { name: 'Approve' }).click();
  await until(async () => (await server.document(name)).state.round === 2, 'the turn has passed on');
  await page.getByText('I pick the lock').first().waitFor();
});

test('a tracker whose server is killed keeps what is done and goes on', async (t) => {
  const server = await start(t);
  const page = await openDashboard(t, browser, `${server.url}/#/encounters/ambush?combatant=goblin`);
  await page.getByLabel('Amount for Goblin').waitFor();
  const { port } = server;
  await server.kill();
  await page.getByText('Live updates paused').waitFor();
  assert.ok(await page.locator('.combatant').filter({ hasText: 'Ana' }).isVisible());
  await page.getByRole('button', { name: '1 damage to Goblin' }).click();
  await server.start(port);
  const back = Date.now();
  await page.getByText('Live updates paused').waitFor({ state: 'detached' });
  t.diagnostic(`right again after ${Date.now() - back} ms`);
  await until(async () => (await state(server)).combatants.goblin.hitPoints.current === 6, 'it was kept and sent');
  await page.locator('.combatant').filter({ hasText: 'Goblin' }).getByText('6').waitFor();
});
