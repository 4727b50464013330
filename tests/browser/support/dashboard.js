// The dashboard in a browser: opened at a size and in a scheme, its complaints noted, looked at by axe.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

export const WINDOWS = { wide: { width: 1440, height: 900 }, phone: { width: 360, height: 740 } };
/** Where pictures of the screens go, for people to look at; left out: nowhere. */
const PICTURES = process.env.PICTURES;
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** What the browser logs of answers that the page expects, such as those of a server that was killed. */
const EXPECTED = /Failed to load resource|ERR_CONNECTION|ERR_EMPTY_RESPONSE|net::ERR_/;

/** @typedef {import('playwright-core').Page} Page */

/**
 * A window with the dashboard in it. What the page complains of fails the test.
 * @param {import('node:test').TestContext} t
 * @param {import('playwright-core').Browser} browser
 * @param {string} address
 * @param {{size?: 'wide' | 'phone', colorScheme?: 'light' | 'dark', options?: object}} [how]
 */
export async function openDashboard(t, browser, address, { size = 'wide', colorScheme = 'light', options } = {}) {
  const context = await browser.newContext({
    viewport: WINDOWS[size],
    colorScheme,
    isMobile: size === 'phone',
    hasTouch: size === 'phone',
    ...options,
  });
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  /** @type {string[]} */
  const complaints = [];
  page.on('console', (message) => EXPECTED.test(message.text()) || complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error.stack)));
  t.after(() => assert.deepEqual(complaints, []));
  await page.goto(address);
  await page.getByRole('status', { name: 'Connection' }).getByText('Live').waitFor();
  return page;
}

/** @param {Page} page @param {string} name */
export async function picture(page, name) {
  if (!PICTURES) return;
  mkdirSync(PICTURES, { recursive: true });
  await page.screenshot({ path: join(PICTURES, `dashboard-${name}.png`) });
}

/** Fails where axe finds something serious or critical. @param {Page} page @param {string} where */
export async function checkAccessible(page, where) {
  await page.evaluate(`if (!window.axe) (0, eval)(${JSON.stringify(AXE)})`).catch(async () => {
    // The page's policy has no eval; the protocol's own is not bound to it.
    await page.addScriptTag({ content: AXE });
  });
  const found = await page.evaluate(async () => {
    const { violations } = await /** @type {any} */ (globalThis).axe.run(document, { resultTypes: ['violations'] });
    return violations
      .filter((/** @type {any} */ one) => one.impact === 'serious' || one.impact === 'critical')
      .map(
        (/** @type {any} */ one) =>
          `${one.id}: ${one.nodes
            .slice(0, 3)
            .map((/** @type {any} */ node) => node.html)
            .join(' | ')} ${one.nodes[0].failureSummary}`,
      );
  });
  assert.deepEqual(found, [], where);
}

/** Fails where the page is wider than its window. @param {Page} page @param {string} where */
export async function checkFits(page, where) {
  const { width, inner } = await page.evaluate(() => ({
    width: document.documentElement.scrollWidth,
    inner: innerWidth,
  }));
  assert.ok(width <= inner, `${where}: ${width} wide in a window of ${inner}`);
}
