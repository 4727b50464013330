// Those who change a document while the server comes and goes.

import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';

/** @typedef {import('./server.js').Server} Server */

/** How long a writer waits before it asks a server again that was not there, in milliseconds. */
const AGAIN_MS = 10;

/** Several writers at once. Each repeats a change, with the same key, until it is acknowledged. */
export class Writers {
  /** The acknowledged changes: what each was about, and the version that it became. @type {Map<string, number>} */
  acknowledged = new Map();
  #stopped = false;
  /** @type {Promise<void[]>} */
  #running;

  /**
   * Begins to write.
   * @param {Server} server asked where it is at each attempt
   * @param {string} name the document, `collection/id`
   * @param {{count?: number, mark?: string}} [options] how many write at once; what tells these from other writers
   */
  constructor(server, name, { count = 4, mark = 'w' } = {}) {
    this.#running = Promise.all(Array.from({ length: count }, (_, i) => this.#write(server, name, `${mark}${i}`)));
    // Whoever waits for them is told; until then a failure is not unhandled.
    this.#running.catch(() => {});
  }

  /**
   * @param {Server} server
   * @param {string} name
   * @param {string} writer
   */
  async #write(server, name, writer) {
    for (let n = 1; !this.#stopped; n += 1) {
      const key = `${writer}-${n}`;
      const body = { type: 'count', payload: { key }, patch: { [writer]: n } };
      this.acknowledged.set(key, await this.#once(server, name, key, body));
    }
  }

  /**
   * @param {Server} server
   * @param {string} name
   * @param {string} key
   * @param {object} body
   * @returns {Promise<number>}
   */
  async #once(server, name, key, body) {
    for (;;) {
      let answer;
      try {
        answer = await server.call('POST', `/api/v1/${name}/actions`, body, { 'idempotency-key': key });
      } catch (error) {
        // Nobody there, or a connection that broke: the change may be in the log or not. The key makes asking again
        // safe.
        if (!(error instanceof TypeError)) throw error;
        await wait(AGAIN_MS);
        continue;
      }
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
      return Number(/^"(\d+)-/.exec(answer.headers.get('etag') ?? '')?.[1]);
    }
  }

  /**
   * Waits until so many more changes are acknowledged.
   * @param {number} count
   */
  async more(count) {
    const goal = this.acknowledged.size + count;
    const failed = this.#running.then(() => {});
    while (this.acknowledged.size < goal) await Promise.race([wait(AGAIN_MS), failed]);
  }

  /** Lets each finish its change, and gives what was acknowledged. The server must be there. */
  async stop() {
    this.#stopped = true;
    await this.#running;
    return this.acknowledged;
  }

  /** Ends them with the test, also when it failed and the server is gone. */
  abandon() {
    this.#stopped = true;
  }
}
