import assert from 'node:assert/strict';
import { test } from 'node:test';

import { sorted, summary } from '../data/summary.js';

const verdict = (/** @type {string} */ service, /** @type {string} */ status) => ({ [service]: { service, status } });

test('what needs somebody comes first', () => {
  const all = { ...verdict('a', 'verified'), ...verdict('c', 'discrepancy'), ...verdict('b', 'stale') };
  assert.deepEqual(
    sorted(all).map((one) => one.service),
    ['c', 'b', 'a'],
  );
});

test('one sentence says whether all is well', () => {
  assert.equal(summary({}), 'Nothing has been compared yet.');
  assert.equal(
    summary({ ...verdict('log', 'verified'), ...verdict('mail', 'verified') }),
    'All 2 services are verified.',
  );
  assert.equal(
    summary({ ...verdict('log', 'verified'), ...verdict('mail', 'stale') }),
    'mail: not known at the moment.',
  );
  const differing = summary({ ...verdict('mail', 'discrepancy'), ...verdict('log', 'stale') });
  assert.equal(differing, 'mail: what is there is not what should be.');
});
