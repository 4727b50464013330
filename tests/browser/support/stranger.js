// A web server of somebody else: it serves empty pages, and nothing of it is known to ours.

import { createServer } from 'node:http';
import { once } from 'node:events';

/** Pages of another origin. */
export class Stranger {
  #server = createServer((_, response) => {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end('<!doctype html><title>Stranger</title>');
  });

  /**
   * Starts it on a free port; it ends with the test.
   * @param {import('node:test').TestContext} t
   */
  static async start(t) {
    const stranger = new Stranger();
    t.after(() => stranger.close());
    stranger.#server.listen(0, '127.0.0.1');
    await once(stranger.#server, 'listening');
    return stranger;
  }

  get port() {
    return /** @type {import('node:net').AddressInfo} */ (this.#server.address()).port;
  }

  /** Ends it, with all its connections, and frees its port. */
  async close() {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}
