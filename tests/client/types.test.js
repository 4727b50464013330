// The sources are what their comments say they are, and their declarations can be used.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const CLIENT = fileURLToPath(new URL('../../src/web/client/', import.meta.url));
const MODULES = fileURLToPath(new URL('./node_modules/', import.meta.url));
const TSC = fileURLToPath(new URL('./node_modules/typescript/bin/tsc', import.meta.url));

/** What a program says that fails. @param {string} program @param {string[]} args @param {string} cwd */
function run(program, args, cwd) {
  try {
    return execFileSync(program, args, { cwd, encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    const { stdout, stderr } = /** @type {any} */ (error);
    throw new Error(`${args.join(' ')}: ${stdout}${stderr}`, { cause: error });
  }
}

const USE = `
import { createCollection } from '@tanstack/db';
import { connectStream, createRejoin, errorRecovery, isFeatureEnabled, RejoinError } from 'rejoin-client';
import { onMessage, sendMessage } from 'rejoin-client/messages';
import { useDocument, useLiveInteraction, useReliableQuery, withErrorBoundary } from 'rejoin-client/react';
import { rejoinCollectionOptions } from 'rejoin-client/tanstack-db';
const rejoin = createRejoin({ url: 'http://localhost:7766', token: null });
const game = rejoin.document('games/g1');
const version: number = game.version;
const durable: boolean = game.durable;
const pending: number = game.pending;
const stop: () => void = game.subscribe((document) => document.state);
const quiet: () => void = onMessage(rejoin, 'games/g1', ({ from, type }) => [from.length, type.length]);
const sent: Promise<void> = sendMessage(rejoin, 'games/g1', { type: 'ping' });
const enabled: boolean = isFeatureEnabled('AI_DELEGATION');
const stream = connectStream('/api/v1/games/g1/events', {
  onEvent: ({ event, data, id }) => [event.length, data, id.length],
  onStatus: (status) => status === 'polling-fallback',
});
const status: 'connected' | 'reconnecting' | 'polling-fallback' | 'offline' | 'closed' = stream.status;
const text: Promise<string> = errorRecovery.executeWithRetry(async () => 'done', { maxRetries: 1 });
game.act({ type: 'raise', payload: { by: 5 } }).catch((error: RejoinError) => error.kind === 'conflict');
// @ts-expect-error: an action has a type
game.act({ payload: {} });
// @ts-expect-error: there is no such status
stream.status === 'open';
export function Component() {
  const { state, pending } = useDocument('games/g1');
  const count: number = useLiveInteraction((all) => all.activeInteractions.length);
  const current: string | null = useLiveInteraction().currentInteractionId;
  const query = useReliableQuery({ queryKey: ['rejoin', 'games'], queryFn: async () => [1, 2] });
  const stale: boolean = query.isStale;
  const at: Date | null = query.lastUpdatedAt;
  return [state, pending + 1, count, current, stale, at].join();
}
withErrorBoundary(Component);
const notes = createCollection(rejoinCollectionOptions({ collection: 'notes', rejoin }));
const item: { id: string } | undefined = notes.get('n1');
export default [quiet, sent, item, version, durable, pending, stop, enabled, status, text];
`;

/**
 * A folder with the client's sources in `rejoin-client`, and installed beside them what they and pages need.
 * @param {import('node:test').TestContext} t
 */
function copyClient(t) {
  const folder = mkdtempSync(join(tmpdir(), 'rejoin-client-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const sources = join(folder, 'rejoin-client');
  cpSync(CLIENT, sources, { recursive: true, filter: (path) => !/\/(?:types|node_modules)(?:\/|$)/.test(path) });
  mkdirSync(join(folder, 'node_modules'));
  for (const name of readdirSync(MODULES)) symlinkSync(join(MODULES, name), join(folder, 'node_modules', name));
  return { folder, sources };
}

test('the sources pass the strict type check, and the package has declarations that a strict program can use', (t) => {
  const { folder, sources } = copyClient(t);
  const installed = join(folder, 'node_modules/rejoin-client');
  run(process.execPath, [TSC, '-p', sources, '--outDir', join(installed, 'types')], folder);
  cpSync(join(sources, 'package.json'), join(installed, 'package.json'));
  writeFileSync(join(folder, 'package.json'), '{"type": "module"}');
  writeFileSync(join(folder, 'use.ts'), USE);
  const strict = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2022', 'use.ts'];
  run(process.execPath, [TSC, ...strict], folder);
});

test('the package holds the modules, their declarations, and nothing else', (t) => {
  const { sources } = copyClient(t);
  run(process.execPath, [TSC, '-p', sources], sources);
  const listed = JSON.parse(run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], sources));
  /** @type {string[]} */
  const files = listed[0].files.map((/** @type {{path: string}} */ file) => file.path).sort();
  for (const file of files) assert.match(file, /^(?:types\/)?[a-z-]+(?:\.d\.ts|\.js)$|^package\.json$|^README\.md$/);
  const declared = ['types/rejoin.d.ts', 'types/react.d.ts', 'types/tanstack-db.d.ts', 'types/types.d.ts'];
  for (const wanted of ['rejoin.js', 'react.js', 'tanstack-db.js', ...declared, 'package.json', 'README.md']) {
    assert.ok(files.includes(wanted), wanted);
  }
  const modules = files.filter((file) => /^[a-z-]+\.js$/.test(file));
  for (const module of modules) assert.ok(files.includes(`types/${module.replace('.js', '.d.ts')}`), module);
  assert.ok(existsSync(join(sources, 'types/rejoin.d.ts')));
});
