// A real browser, and what its own `EventSource` receives.

import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // What the environment says about proxies must not send a made-up host name out of this machine.
  '--no-proxy-server',
];

/** How long a page may take to see what it is waiting for, in milliseconds. */
const PATIENCE_MS = 20_000;

/** Every event that a stream may carry. */
const NAMES = [
  'snapshot',
  'resumed',
  'change',
  'durable',
  'notification',
  'presence',
  'reconciliation.update',
  'reconciliation.removed',
  'heartbeat',
  'bye',
  'message',
];

/**
 * @typedef {object} Seen Something that happened to an `EventSource`.
 * @property {string} event the event's name; `open` and `error` are the browser's own
 * @property {string} id `lastEventId` at that moment
 * @property {any} data parsed; of `error`: the `readyState`
 */

/**
 * Starts the browser.
 * @param {string[]} [flags] more flags
 * @returns {Promise<import('playwright-core').Browser>}
 */
export async function launch(flags = []) {
  const options = { executablePath: executable(), args: [...FLAGS, ...flags] };
  try {
    return await chromium.launch(options);
  } catch (error) {
    // Chromium itself crashes now and then before it has a page (SIGSEGV); what is tested has not begun then.
    if (!String(error).includes('signal=')) throw error;
    console.error(`Chromium crashed when it started, and is started once more: ${String(error).split('\n')[0]}`);
    return chromium.launch(options);
  }
}

/** `CHROMIUM`, else `chromium` on the PATH, else where Debian has it. */
function executable() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const found = (process.env.PATH ?? '').split(delimiter).filter(Boolean).map((folder) => join(folder, 'chromium'));
  return found.find(isExecutable) ?? '/usr/bin/chromium';
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** An `EventSource` in a page, with nothing but its address: what it received, in order. */
export class Follower {
  /** @param {import('playwright-core').Page} page */
  constructor(page) {
    /** @readonly */
    this.page = page;
  }

  /**
   * Opens a page of the server's own origin in a window of its own and follows `path` from there.
   *
   * The page is `/readyz`: the HTML pages forbid themselves every connection (`default-src 'none'`), and no protection
   * is turned off here.
   * @param {import('playwright-core').Browser} browser
   * @param {string} url of the server
   * @param {string} path
   * @returns {Promise<Follower>}
   */
  static async open(browser, url, path) {
    const context = await browser.newContext();
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    await page.goto(`${url}/readyz`);
    await page.evaluate(record, { path, names: NAMES });
    return new Follower(page);
  }

  /** Everything so far, heartbeats and who is there left out. @returns {Promise<Seen[]>} */
  async seen() {
    const all = await this.page.evaluate(() => /** @type {any} */ (globalThis).seen);
    return all.filter((/** @type {Seen} */ one) => one.event !== 'heartbeat' && one.event !== 'presence');
  }

  /** What each connection brought, the first one first. @returns {Promise<Seen[][]>} */
  async connections() {
    /** @type {Seen[][]} */
    const connections = [];
    for (const one of await this.seen()) {
      if (one.event === 'open') connections.push([]);
      else if (one.event !== 'error') connections.at(-1)?.push(one);
    }
    return connections;
  }

  /**
   * Waits until an event of this name came, whose data has these members.
   * @param {string} event
   * @param {Record<string, unknown>} [members]
   */
  async until(event, members = {}) {
    /** @param {{event: string, members: Record<string, unknown>}} wanted */
    const found = ({ event, members }) =>
      /** @type {any} */ (globalThis).seen.some(
        (/** @type {Seen} */ one) =>
          one.event === event && Object.entries(members).every(([name, value]) => one.data[name] === value),
      );
    // A page in the background draws no frames, so the look must not wait for one.
    await this.page.waitForFunction(found, { event, members }, { polling: 20 });
  }
}

/**
 * Runs in the page.
 * @param {{path: string, names: string[]}} what
 */
function record({ path, names }) {
  /** @type {Seen[]} */
  const seen = [];
  Object.assign(globalThis, { seen });
  const source = new EventSource(path);
  source.onopen = () => seen.push({ event: 'open', id: '', data: null });
  source.onerror = (event) => {
    // A server's own event of this name would be a message with data.
    const data = event instanceof MessageEvent ? event.data : source.readyState;
    seen.push({ event: 'error', id: '', data });
  };
  for (const name of names) {
    source.addEventListener(name, (event) => {
      seen.push({ event: name, id: event.lastEventId, data: JSON.parse(event.data) });
    });
  }
}
