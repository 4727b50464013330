// The client stays small: its core, as bundlers and servers deliver it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** Bytes, minified and gzipped. */
const CORE_MAX = 15 * 1024;

/** @param {string} name of a module of the client */
async function size(name) {
  const entry = fileURLToPath(new URL(`../../src/web/client/${name}`, import.meta.url));
  const options = /** @type {const} */ ({ bundle: true, minify: true, format: 'esm', write: false, target: 'es2022' });
  const { outputFiles } = await build({ ...options, entryPoints: [entry], packages: 'external' });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
}

test('the core is at most 15 KB', async (t) => {
  const bytes = await size('rejoin.js');
  t.diagnostic(`rejoin.js: ${bytes} bytes`);
  assert.ok(bytes > 1_000 && bytes <= CORE_MAX, `${bytes} bytes`);
});
