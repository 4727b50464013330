// The client stays small: its core, as bundlers and servers deliver it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** Bytes, minified and gzipped. */
const CORE_MAX = 15 * 1024;
const REACT_MAX = 22 * 1024;

/** @param {string} name of a module of the client */
async function size(name) {
  const entry = fileURLToPath(new URL(`../../src/web/client/${name}`, import.meta.url));
  const options = /** @type {const} */ ({ bundle: true, minify: true, format: 'esm', write: false, target: 'es2022' });
  const { outputFiles } = await build({ ...options, entryPoints: [entry], packages: 'external' });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
}

for (const [name, most] of /** @type {const} */ ([['rejoin.js', CORE_MAX], ['react.js', REACT_MAX]])) {
  test(`${name} and what it imports are at most ${most} bytes`, async (t) => {
    const bytes = await size(name);
    t.diagnostic(`${name}: ${bytes} bytes`);
    assert.ok(bytes > 1_000 && bytes <= most, `${bytes} bytes`);
  });
}
