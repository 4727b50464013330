// The server as a process of its own: started on a free port, killed, and started again where it was.

import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const BINARY = process.env.REJOIN_BINARY || fileURLToPath(new URL('../../../target/debug/rejoin', import.meta.url));
/** How long a server may take to start or to stop, in milliseconds. Generous: other work shares the machine. */
const PATIENCE_MS = 20_000;

/** Flags with which a server logs each request, for `answered`. */
export const LOG_REQUESTS = ['--log', 'rejoin::http=debug', '--log-format', 'json'];

/**
 * @typedef {object} Change An event of the log, as history pages and streams have it.
 * @property {number} seq
 * @property {string} collection
 * @property {string} id
 * @property {number} version
 * @property {string} type
 * @property {any} payload
 * @property {string} hash
 */

/** One server with its data. It runs until `kill`, `terminate` or `close`. */
export class Server {
  /** @type {import('node:child_process').ChildProcess | null} */
  #child = null;
  #folder = mkdtempSync(join(tmpdir(), 'rejoin-browser-'));
  /** Where it is now: `http://127.0.0.1:<port>`. */
  url = '';

  /**
   * Starts a server on a free port with new data, and ends it with the test.
   * @param {import('node:test').TestContext} t
   * @param {number} [port] 0, or left out, takes a free one
   * @param {string[]} [flags]
   * @returns {Promise<Server>}
   */
  static async start(t, port = 0, flags = []) {
    const server = new Server();
    t.after(() => server.close());
    await server.start(port, flags);
    return server;
  }

  /** The port that it listens on, or did before it ended. */
  get port() {
    return Number(new URL(this.url).port);
  }

  /**
   * Starts the process, on the data that there is.
   * @param {number} port 0 takes a free one
   * @param {string[]} [flags]
   */
  async start(port, flags = []) {
    const errors = openSync(this.#log, 'a');
    const all = ['--listen', `127.0.0.1:${port}`, '--data-dir', this.#data, ...flags];
    // The tests' own environment must not configure the server.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('REJOIN_')));
    const child = spawn(BINARY, all, { stdio: ['ignore', 'pipe', errors], env, cwd: this.#folder });
    closeSync(errors);
    this.#child = child;
    /** @type {Promise<string>} */
    const listening = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', () => reject(new Error(`the server did not start: ${readFileSync(this.#log, 'utf8')}`)));
      createInterface(/** @type {import('node:stream').Readable} */ (child.stdout)).on('line', (line) => {
        if (line.startsWith('listening: ')) resolve(line.slice('listening: '.length));
      });
    });
    this.url = `http://${await within(listening, 'the server did not start')}`;
  }

  get #data() {
    return join(this.#folder, 'data');
  }

  get #log() {
    return join(this.#folder, 'log');
  }

  /**
   * Every request that it answered, as `<method> <path> <status>`. It tells them when started with `LOG_REQUESTS`.
   * @returns {string[]}
   */
  answered() {
    const entries = readFileSync(this.#log, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
    const requests = entries.filter((entry) => entry.message === 'request');
    return requests.map(({ method, path, status }) => `${method} ${path} ${status}`);
  }

  /** `kill -9`. */
  kill() {
    return this.#end('SIGKILL');
  }

  /** Asks it to stop, and gives its exit code. */
  terminate() {
    return this.#end('SIGTERM');
  }

  /**
   * @param {NodeJS.Signals} signal
   * @returns {Promise<number | null>}
   */
  async #end(signal) {
    const child = this.#child;
    if (!child) return null;
    this.#child = null;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    /** @type {Promise<number | null>} */
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    return within(ended, `the server did not end on ${signal}`).catch((error) => {
      child.kill('SIGKILL');
      throw error;
    });
  }

  /** Copies the data of a server that does not run, as a backup would. */
  backUp() {
    cpSync(this.#data, join(this.#folder, 'backup'), { recursive: true });
  }

  /** Puts the copy in place of the data. */
  restore() {
    rmSync(this.#data, { recursive: true });
    cpSync(join(this.#folder, 'backup'), this.#data, { recursive: true });
  }

  /** Ends the process and removes all that it left. */
  async close() {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /**
   * One call; JSON in, JSON out.
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @param {Record<string, string>} [headers]
   */
  async call(method, path, body, headers = {}) {
    const response = await fetch(this.url + path, {
      method,
      headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) };
  }

  /**
   * A document, which must be there.
   * @param {string} name `collection/id`
   */
  async document(name) {
    const { status, body } = await this.call('GET', `/api/v1/${name}`);
    if (status !== 200) throw new Error(`${name}: ${status} ${JSON.stringify(body)}`);
    return body;
  }

  /**
   * Makes a document.
   * @param {string} collection
   * @param {string} id
   * @param {object} state
   */
  async create(collection, id, state) {
    const { status, body } = await this.call('POST', `/api/v1/${collection}`, { id, state });
    if (status !== 201) throw new Error(`${collection}/${id}: ${status} ${JSON.stringify(body)}`);
    return body;
  }

  /**
   * All that ever happened to a document, oldest first.
   * @param {string} name `collection/id`
   * @returns {Promise<Change[]>}
   */
  async history(name) {
    const items = [];
    let cursor = '';
    do {
      const { body } = await this.call('GET', `/api/v1/${name}/events?limit=500${cursor}`);
      items.push(...body.items);
      cursor = body.nextCursor ? `&cursor=${encodeURIComponent(body.nextCursor)}` : '';
    } while (cursor !== '');
    return items;
  }

  /** The place of the newest change in the whole log. */
  async seq() {
    return (await this.call('GET', '/readyz')).body.seq;
  }
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {string} otherwise
 * @returns {Promise<T>}
 */
function within(promise, otherwise) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(otherwise)), PATIENCE_MS);
  });
  return /** @type {Promise<T>} */ (Promise.race([promise, late])).finally(() => clearTimeout(timer));
}
