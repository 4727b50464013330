// Pages of the server's own origin with the client loaded. What a test puts on `page` in the browser stays there.

import { readFileSync } from 'node:fs';

/** A folder to take the client from instead of the server's binary, so that work on it needs no build. */
const SOURCES = process.env.CLIENT_SOURCES;
/** How long a page may take to see what it is waiting for, in milliseconds. */
const PATIENCE_MS = 20_000;

/**
 * A window of its own with a client.
 * @param {import('node:test').TestContext} t
 * @param {import('playwright-core').Browser} browser
 * @param {string} url of the server
 * @param {object} [options] of `createRejoin`
 */
export async function openPage(t, browser, url, options = {}) {
  const context = await browser.newContext();
  t.after(() => context.close());
  return openTab(context, url, options);
}

/**
 * One more tab of a window.
 * @param {import('playwright-core').BrowserContext} context
 * @param {string} url of the server
 * @param {object} [options] of `createRejoin`
 */
export async function openTab(context, url, options = {}) {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await serveSources(page);
  await page.goto(`${url}/readyz`);
  await load(page, options);
  return page;
}

/** Has the client come from `CLIENT_SOURCES`, if that is set. @param {import('playwright-core').Page |
 * import('playwright-core').BrowserContext} place */
export async function serveSources(place) {
  if (!SOURCES) return;
  await place.route('**/client/*.js', (route) => {
    const name = new URL(route.request().url()).pathname.split('/').pop();
    return route.fulfill({ contentType: 'text/javascript', body: readFileSync(`${SOURCES}/${name}`) });
  });
}

/**
 * Loads the client into a page, again after it was reloaded.
 * @param {import('playwright-core').Page} page
 * @param {object} [options] of `createRejoin`
 */
export async function load(page, options = {}) {
  await page.evaluate(async (options) => {
    const path = '/client/rejoin.js';
    const client = await import(path);
    Object.assign(globalThis, { page: { client, rejoin: client.createRejoin(options) } });
  }, options);
}

/**
 * Waits until something is true here.
 * @param {() => Promise<unknown>} condition
 */
export async function eventually(condition) {
  for (const end = Date.now() + PATIENCE_MS; !(await condition()); ) {
    if (Date.now() > end) throw new Error(`it never came to be: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/**
 * Waits until something is true in a page, whether it draws frames or not. A promise is true at once.
 * @param {import('playwright-core').Page} page
 * @param {(argument: any) => unknown} condition
 * @param {any} [argument]
 */
export function until(page, condition, argument) {
  return page.waitForFunction(condition, argument, { polling: 20 });
}
