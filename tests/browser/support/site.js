// Web servers of somebody else's: pages of another origin, and a development server that passes requests on.

import { once } from 'node:events';
import { createServer } from 'node:http';
import httpProxy from 'http-proxy-3';

/** A page without anything of its own. */
const PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Page</title><link rel="icon" href="data:,">';

/**
 * Serves a page at `http://localhost:<port>`, and passes `/api` and `/client` on where `proxy` says so, as Vite does:
 * Vite's `server.proxy` is this very library with these very options.
 * @param {import('node:test').TestContext} t
 * @param {{target: string, changeOrigin: boolean}} [proxy]
 */
export async function servePages(t, proxy) {
  const onward = proxy && httpProxy.createProxyServer(proxy);
  // As Vite answers when there is nobody behind it.
  onward?.on('error', (_, __, response) => {
    if ('writeHead' in response && !response.headersSent) response.writeHead(500, { 'content-type': 'text/plain' });
    response.end();
  });
  const server = createServer((request, response) => {
    if (onward && /^\/(api|client)\//.test(request.url ?? '')) return onward.web(request, response);
    response.setHeader('content-type', 'text/html; charset=utf-8');
    return response.end(PAGE);
  });
  t.after(() => {
    onward?.close();
    server.close();
    server.closeAllConnections();
  });
  server.listen(0, 'localhost');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return `http://localhost:${port}`;
}
