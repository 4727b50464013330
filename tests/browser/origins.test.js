// Web pages of other origins can neither read nor change anything, whatever they try.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch } from './support/chromium.js';
import { LOG_REQUESTS, Server } from './support/server.js';
import { Stranger } from './support/stranger.js';

/** A name of somebody else that leads to this machine. */
const FOREIGN = 'stranger.example';
const NAME = 'games/g1';

/**
 * @typedef {object} Outcome What a page got for its trouble.
 * @property {Record<string, string>} got per attempt: `refused`, or what the page could read: a status, or `opaque`
 * @property {number} events of the stream
 */

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  browser = await launch([`--host-resolver-rules=MAP ${FOREIGN} 127.0.0.1`]);
});
after(() => browser?.close());

/**
 * A page at `url`.
 * @param {import('node:test').TestContext} t
 * @param {string} url
 */
async function visit(t, url) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  await page.goto(url);
  return page;
}

/**
 * Runs in the page: tries all that a script can do to the server at `target`.
 * @param {{target: string, name: string}} what
 * @returns {Promise<Outcome>}
 */
async function attack({ target, name }) {
  const document = `${target}/api/v1/${name}`;
  let events = 0;
  /** @param {RequestInit} [options] @param {string} [path] */
  const call = async (options, path = '') => {
    try {
      const response = await fetch(document + path, options);
      return response.type === 'opaque' ? 'opaque' : String(response.status);
    } catch {
      return 'refused';
    }
  };
  const follow = () =>
    new Promise((resolve) => {
      const source = new EventSource(`${document}/events`);
      source.addEventListener('snapshot', () => {
        events += 1;
        source.close();
        resolve('200');
      });
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) resolve('refused');
      };
    });
  const body = JSON.stringify({ type: 'steal', patch: { stolen: true } });
  const json = { 'content-type': 'application/json' };
  const merge = { 'content-type': 'application/merge-patch+json' };
  const got = {
    follow: await follow(),
    read: await call(),
    'read without asking': await call({ mode: 'no-cors' }),
    act: await call({ method: 'POST', headers: json, body }, '/actions'),
    'act as text': await call({ method: 'POST', mode: 'no-cors', body }, '/actions'),
    'act as a form': await call(
      { method: 'POST', mode: 'no-cors', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body },
      '/actions',
    ),
    patch: await call({ method: 'PATCH', headers: merge, body: '{"stolen": true}' }),
    delete: await call({ method: 'DELETE' }),
  };
  return { got, events };
}

const REFUSED = {
  follow: 'refused',
  read: 'refused',
  // Not even that there was an answer: every response keeps itself from other origins.
  'read without asking': 'refused',
  act: 'refused',
  'act as text': 'refused',
  'act as a form': 'refused',
  patch: 'refused',
  delete: 'refused',
};

/** @param {Server} server */
async function create(server) {
  return server.create('games', 'g1', { pot: 20 });
}

/**
 * @param {Server} server
 * @param {object} document
 */
async function assertUntouched(server, document) {
  assert.deepEqual(await server.document(NAME), document);
  assert.equal(await server.seq(), 1);
}

for (const name of ['127.0.0.1', FOREIGN]) {
  test(`a page of another server at ${name} is refused everything`, async (t) => {
    const server = await Server.start(t, 0, LOG_REQUESTS);
    const document = await create(server);
    const stranger = await Stranger.start(t);
    const page = await visit(t, `http://${name}:${stranger.port}/`);

    const before = server.answered().length;
    const outcome = await page.evaluate(attack, { target: server.url, name: NAME });
    assert.deepEqual(outcome, { got: REFUSED, events: 0 });
    // It is the server that refuses: the browser alone would keep the answers from the page and let simple posts
    // through.
    const path = `/api/v1/${NAME}`;
    assert.deepEqual(server.answered().slice(before), [
      `GET ${path}/events 403`,
      `GET ${path} 403`,
      `GET ${path} 403`,
      `OPTIONS ${path}/actions 403`,
      `POST ${path}/actions 403`,
      `POST ${path}/actions 403`,
      `OPTIONS ${path} 403`,
      `OPTIONS ${path} 403`,
    ]);
    await assertUntouched(server, document);
  });
}

test('a form that a stranger sends off is refused, and its frame stays empty', async (t) => {
  const server = await Server.start(t, 0, LOG_REQUESTS);
  const document = await create(server);
  const stranger = await Stranger.start(t);
  const page = await visit(t, `http://127.0.0.1:${stranger.port}/`);

  const framed = page.waitForEvent('console', (message) => message.text().includes('frame-ancestors'));
  await page.evaluate((url) => {
    const frame = globalThis.document.createElement('iframe');
    frame.src = url;
    globalThis.document.body.append(frame);
  }, `${server.url}/`);
  await framed;

  const actions = `/api/v1/${NAME}/actions`;
  const arrived = page.waitForResponse(server.url + actions);
  // What the form sends reads as JSON: {"type":"steal","patch":{"stolen":true},"payload":"="}.
  await page.evaluate((url) => {
    const form = globalThis.document.createElement('form');
    Object.assign(form, { method: 'post', enctype: 'text/plain', action: url });
    const input = globalThis.document.createElement('input');
    Object.assign(input, { name: '{"type":"steal","patch":{"stolen":true},"payload":"', value: '"}' });
    form.append(input);
    globalThis.document.body.append(form);
    form.submit();
  }, server.url + actions);
  assert.equal((await arrived).status(), 403);
  assert.ok(server.answered().includes(`POST ${actions} 403`));
  await assertUntouched(server, document);
});

test('a stranger who turns the own name to the server is refused, unless the name is configured', async (t) => {
  const stranger = await Stranger.start(t);
  const { port } = stranger;
  const target = `http://${FOREIGN}:${port}`;
  const page = await visit(t, `${target}/`);
  // From here on the page's own origin leads to the server: to the browser, all of this is one place.
  await stranger.close();
  const server = await Server.start(t, port, LOG_REQUESTS);
  const document = await create(server);

  const before = server.answered().length;
  const { got, events } = await page.evaluate(attack, { target, name: NAME });
  assert.equal(events, 0);
  const { follow, ...others } = got;
  assert.equal(follow, 'refused');
  assert.deepEqual(new Set(Object.values(others)), new Set(['421']));
  const answered = server.answered().slice(before);
  // At least: a browser may ask once more on another connection, which is what this status invites to.
  assert.ok(answered.length >= Object.keys(got).length, answered.join('\n'));
  assert.deepEqual(answered.filter((answer) => !answer.endsWith(' 421')), []);
  await assertUntouched(server, document);

  // The same page, once the name is the server's: whoever comes by it is not the owner.
  await server.terminate();
  await server.start(port, ['--allowed-host', FOREIGN]);
  assert.deepEqual(await page.evaluate(attack, { target, name: NAME }), {
    got: {
      follow: 'refused',
      read: '401',
      'read without asking': '401',
      act: '401',
      'act as text': '401',
      'act as a form': '401',
      patch: '401',
      delete: '401',
    },
    events: 0,
  });

  // With a session there, what was tried above does work.
  const { status, body } = await server.call('POST', '/api/v1/sessions', { user: 'bob', device: { name: 'page' } });
  assert.equal(status, 201);
  await page.context().addCookies([{ name: 'rejoin_session', value: body.token, url: target, sameSite: 'Strict' }]);
  assert.deepEqual(await page.evaluate(attack, { target, name: NAME }), {
    got: {
      follow: '200',
      read: '200',
      'read without asking': '200',
      act: '200',
      'act as text': '415',
      'act as a form': '415',
      patch: '200',
      // Deleting is for the host.
      delete: '403',
    },
    events: 1,
  });
});
