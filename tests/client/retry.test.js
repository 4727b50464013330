// What is tried again, when, and what never is.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

import { createErrorRecovery, RejoinError } from '../../src/web/client/rejoin.js';
import { classify } from '../../src/web/client/retry.js';
import { endPage, pass, pretendPage } from './support.js';

beforeEach(pretendPage);
afterEach(endPage);

/** @param {number} status @param {object} [more] */
const failure = (status, more) => Object.assign(new Error(String(status)), { status, ...more });

/**
 * Runs an operation that fails so often, and gives when its attempts were, in ms from the beginning.
 * @param {unknown[]} failures
 * @param {import('../../src/web/client/types.js').RetryOptions} [options]
 */
async function attempts(failures, options) {
  const { executeWithRetry } = createErrorRecovery();
  const begun = Date.now();
  /** @type {number[]} */
  const at = [];
  const left = [...failures];
  /** @type {any} */
  let outcome = null;
  executeWithRetry(async () => {
    at.push(Date.now() - begun);
    if (left.length > 0) throw left.shift();
    return 'done';
  }, options).then(
    (value) => (outcome = value),
    (error) => (outcome = error),
  );
  for (let step = 0; step < 200 && outcome === null; step += 1) await pass(500);
  return { at, outcome };
}

test('failures that may pass are tried again after 1 s, 2 and 4, three times', async () => {
  for (const error of [new TypeError('fetch failed'), failure(500), failure(503), failure(408)]) {
    const { at, outcome } = await attempts([error, error, error]);
    assert.deepEqual([at, outcome], [[0, 1000, 3000, 7000], 'done']);
  }
  const last = failure(502);
  assert.deepEqual(await attempts([1, 2, 3, 4].map(() => last)), { at: [0, 1000, 3000, 7000], outcome: last });
});

test('conflicts and rejections are never tried again', async () => {
  for (const status of [400, 401, 403, 404, 409, 412, 413, 415, 422]) {
    const error = failure(status, { retryAfter: 1 });
    assert.deepEqual(await attempts([error]), { at: [0], outcome: error });
  }
});

test('a rate limit is waited for as long as the server says at least', async () => {
  assert.deepEqual((await attempts([failure(429, { retryAfter: 7 })])).at, [0, 7000]);
  assert.deepEqual((await attempts([failure(429, { retryAfter: 0 })])).at, [0, 1000]);
  const headers = new Headers({ 'retry-after': '5' });
  assert.deepEqual((await attempts([{ response: { status: 429, headers } }])).at, [0, 5000]);
  const date = new Headers({ 'retry-after': new Date(Date.now() + 9000).toUTCString() });
  assert.deepEqual((await attempts([{ response: { status: 503, headers: date } }])).at, [0, 9000]);
});

test('options say how often, how long and how much longer', async () => {
  const options = { maxRetries: 2, retryDelay: 500, backoffMultiplier: 3 };
  assert.deepEqual((await attempts([1, 2, 3].map(() => failure(500)), options)).at, [0, 500, 2000]);
  assert.deepEqual((await attempts([failure(500)], { maxRetries: 0 })).at, [0]);
});

test('an attempt that takes longer than 10 s is given up, told so, and tried again', async () => {
  const { executeWithRetry } = createErrorRecovery();
  let calls = 0;
  let aborted = 0;
  const running = executeWithRetry((signal) => {
    calls += 1;
    signal.addEventListener('abort', () => (aborted += 1));
    return calls === 1 ? new Promise(() => {}) : 'done';
  });
  await pass(9_999);
  assert.deepEqual([calls, aborted], [1, 0]);
  await pass(1);
  assert.deepEqual([calls, aborted], [1, 1]);
  await pass(1000);
  assert.equal(await running, 'done');
});

test('failures have a kind', () => {
  for (const [error, kind] of /** @type {[any, string][]} */ ([
    [new TypeError('Failed to fetch'), 'network'],
    [failure(0), 'network'],
    [failure(429), 'rate-limit'],
    [{ response: { status: 409 } }, 'conflict'],
    [failure(412), 'conflict'],
    [failure(422), 'rejection'],
    [failure(500), 'server'],
    [failure(507), 'server'],
    [Object.assign(new Error(), { name: 'TimeoutError' }), 'timeout'],
    [new RejoinError('no answer', { kind: 'timeout' }), 'timeout'],
  ])) {
    assert.equal(classify(error), kind);
  }
});

test('what failed for good waits, is counted, runs again in order, and can be given up', async () => {
  const recovery = createErrorRecovery();
  /** @type {string[]} */
  const done = [];
  let works = false;
  /** @param {string} name */
  const operation = (name) => async () => {
    if (!works) throw failure(503);
    done.push(name);
  };
  const once = { maxRetries: 0 };
  for (const name of ['a', 'b']) {
    await assert.rejects(recovery.executeWithRetry(operation(name), once), { status: 503 });
  }
  await assert.rejects(recovery.executeWithRetry(async () => { throw failure(409); }, once), { status: 409 });
  assert.equal(recovery.getPendingOperationsCount(), 2, 'a conflict is not worth another attempt');
  assert.deepEqual(await recovery.retryPendingOperations(), { succeeded: 0, failed: 2 });
  assert.equal(recovery.getPendingOperationsCount(), 2);
  works = true;
  assert.deepEqual(await recovery.retryPendingOperations(), { succeeded: 2, failed: 0 });
  assert.deepEqual(done, ['a', 'b']);
  assert.equal(recovery.getPendingOperationsCount(), 0);
  works = false;
  await assert.rejects(recovery.executeWithRetry(operation('c'), once));
  await recovery.clearPendingOperations();
  assert.equal(recovery.getPendingOperationsCount(), 0);
});
