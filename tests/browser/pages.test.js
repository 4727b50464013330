// The pages that the server itself serves, as people see them on a desk and on a phone.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { launch } from './support/chromium.js';
import { Server } from './support/server.js';

const PAGES = {
  front: '/',
  problems: '/problems',
  problem: '/problems/version-conflict',
  docs: '/docs/',
  api: '/docs/api',
  documents: '/docs/documents',
  embedding: '/docs/embedding',
  configuration: '/docs/configuration',
};
const WINDOWS = { wide: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
/** Where pictures of the pages go, for people to look at; left out: nowhere. */
const PICTURES = process.env.PICTURES;

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

for (const [size, viewport] of Object.entries(WINDOWS)) {
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    test(`the pages fit a ${size} window, ${colorScheme}`, async (t) => {
      const server = await Server.start(t);
      const context = await browser.newContext({ viewport, colorScheme, isMobile: size === 'phone' });
      t.after(() => context.close());
      const page = await context.newPage();
      page.setDefaultTimeout(20_000);
      /** @type {string[]} */
      const complaints = [];
      page.on('console', (message) => complaints.push(message.text()));
      page.on('pageerror', (error) => complaints.push(String(error)));
      for (const [name, path] of Object.entries(PAGES)) {
        const response = await page.goto(server.url + path);
        assert.equal(response?.status(), 200);
        if (PICTURES) {
          mkdirSync(PICTURES, { recursive: true });
          await page.screenshot({ path: join(PICTURES, `${name}-${size}-${colorScheme}.png`), fullPage: true });
        }
        const seen = await page.evaluate(look);
        assert.ok(seen.width <= viewport.width, `${path} is ${seen.width} wide in a window of ${viewport.width}`);
        assert.equal(seen.inner, viewport.width, `${path}: the window was widened to hold the page`);
        assert.ok(seen.styled, `${path}: its own policy does not let its style through`);
        assert.ok(seen.contrast >= 4.5, `${path}: ${seen.contrast} is too little contrast to read`);
        assert.deepEqual(seen.small, [], `${path}: too small to touch`);
        assert.deepEqual(seen.cut, [], `${path}: only to be read by scrolling`);
      }
      assert.deepEqual(complaints, []);
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
  /** The colour behind an element. @param {Element | null} element @returns {string} */
  const behind = (element) => {
    if (!element) {
      // Nothing of the page's own: the window itself, in the scheme of the root.
      const probe = document.documentElement.appendChild(document.createElement('i'));
      probe.style.color = 'Canvas';
      const { color } = getComputedStyle(probe);
      probe.remove();
      return color;
    }
    const { backgroundColor } = getComputedStyle(element);
    return backgroundColor === 'rgba(0, 0, 0, 0)' ? behind(element.parentElement) : backgroundColor;
  };
  const contrasts = [...document.querySelectorAll('h1, h2, p, li, a, code, pre, td')].map((element) => {
    const [front, back] = [luminance(getComputedStyle(element).color), luminance(behind(element))];
    return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  });
  const links = [...document.querySelectorAll('a')];
  const boxes = [...document.querySelectorAll('pre')];
  /** @param {Element} link */
  const isSmall = (link) => link.getClientRects().length > 0 && link.getBoundingClientRect().height < 24;
  return {
    width: document.documentElement.scrollWidth,
    inner: innerWidth,
    styled: getComputedStyle(document.body).fontFamily.includes('system-ui'),
    contrast: Math.min(...contrasts),
    small: links.filter(isSmall).map((link) => link.textContent),
    cut: boxes.filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.textContent),
  };
}
