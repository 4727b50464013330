// A reverse proxy between a page and the server, with the faults that real ones have.

import { once } from 'node:events';
import { createServer, request } from 'node:http';

export class Proxy {
  /** What it does to streams: `pass` on, `buffer` until the end, or `alter` each through `change`. */
  mode = 'pass';
  /** Applied to what the server says, in the mode `alter`. @type {(text: string) => string} */
  change = (text) => text;
  /** Where requests go. */
  target = '';
  url = '';
  /** The paths of all requests. @type {string[]} */
  paths = [];
  #server = createServer((from, to) => this.#pass(from, to));

  /**
   * @param {import('node:test').TestContext} t
   * @param {string} target address of the server
   */
  static async start(t, target) {
    const proxy = new Proxy();
    proxy.target = target;
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    const { port } = /** @type {import('node:net').AddressInfo} */ (proxy.#server.address());
    proxy.url = `http://127.0.0.1:${port}`;
    t.after(() => {
      proxy.#server.close();
      proxy.#server.closeAllConnections();
    });
    return proxy;
  }

  /** Ends every connection that goes through it. */
  cut() {
    this.#server.closeAllConnections();
  }

  /** @param {import('node:http').IncomingMessage} from @param {import('node:http').ServerResponse} to */
  #pass(from, to) {
    this.paths.push(from.url ?? '');
    const { host } = new URL(this.target);
    const headers = { ...from.headers, host };
    if (headers.origin) headers.origin = this.target;
    if (headers.referer) headers.referer = this.target;
    const onward = request(this.target + from.url, { method: from.method, headers }, (answer) => {
      to.writeHead(answer.statusCode ?? 502, answer.headers);
      const isStream = answer.headers['content-type'] === 'text/event-stream';
      if (isStream) to.flushHeaders();
      let kept = '';
      answer.setEncoding('utf8');
      answer.on('data', (text) => {
        if (isStream && this.mode === 'buffer') kept += text;
        else to.write(isStream && this.mode === 'alter' ? this.change(text) : text);
      });
      answer.on('end', () => to.end(kept));
      answer.on('error', () => to.destroy());
    });
    onward.on('error', () => {
      if (to.headersSent) to.destroy();
      else to.writeHead(502, { 'content-type': 'text/html' }).end('<h1>502 Bad Gateway</h1>');
    });
    to.on('close', () => onward.destroy());
    from.pipe(onward);
  }
}
