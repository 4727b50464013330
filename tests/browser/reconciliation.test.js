// What a dashboard receives, judged by the schema that dashboards use: live events, in a browser's plain `EventSource`,
// also across `kill -9`.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { z } from 'zod';

import { Follower, launch } from './support/chromium.js';
import { Server } from './support/server.js';

const Counts = z.record(z.string(), z.number());
const Details = z.strictObject({ expected: Counts, actual: Counts, missingJobIds: z.array(z.string()) });
const members = {
  eventId: z.string().min(1),
  service: z.string().min(1),
  counts: Counts,
  checksum: z.string().regex(/^[0-9a-f]{64}$/),
  latencyMs: z.number().nonnegative(),
};
/** What every update is, whatever else it carries. */
const Update = z.discriminatedUnion('status', [
  z.looseObject({ ...members, status: z.literal('verified'), discrepancyDetails: z.undefined().optional() }),
  z.looseObject({ ...members, status: z.literal('stale'), discrepancyDetails: Details.optional() }),
  z.looseObject({ ...members, status: z.literal('discrepancy'), discrepancyDetails: Details }),
]);
const Heartbeat = z.looseObject({ at: z.iso.datetime() });

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/**
 * @param {Server} server
 * @param {unknown} body
 */
async function report(server, body) {
  const answer = await server.call('POST', '/reconciliation/services/billing/reports', body);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return Update.parse(answer.body.verdict);
}

/**
 * @param {Server} server
 * @param {number} seconds
 */
async function register(server, seconds) {
  const { status } = await server.call('PUT', '/reconciliation/services/billing', { reportEverySeconds: seconds });
  assert.ok(status === 200 || status === 201);
}

test('every live event is what the schema says, and a dashboard misses none over a kill', async (t) => {
  const flags = ['--heartbeat-seconds', '1'];
  const server = await Server.start(t, 0, flags);
  await server.create('games', 'g1', {});
  await register(server, 3600);
  const dashboard = await Follower.open(browser, server.url, '/reconciliation/stream');
  // What was there before the page's connection is told too, so the first report may come whenever it likes.
  const reports = [
    { expected: { rows: 3 }, actual: { rows: 3 } },
    { expected: { rows: 3 }, actual: { rows: 2.5 }, expectedJobIds: ['a', 'b'], actualJobIds: ['b'], latencyMs: 12.5 },
    { expected: {}, actual: {} },
  ];
  const told = [];
  for (const body of reports) {
    told.push(await report(server, body));
    await dashboard.until('reconciliation.update', { eventId: told.at(-1)?.eventId });
  }
  await dashboard.until('heartbeat');
  const run = await server.call('POST', '/reconciliation/run', {});
  assert.equal(run.status, 200);
  for (const update of run.body.items) {
    await dashboard.until('reconciliation.update', { eventId: Update.parse(update).eventId });
  }

  await server.kill();
  await server.start(server.port, flags);
  const missed = await report(server, { expected: { rows: 1 }, actual: {} });
  await dashboard.until('reconciliation.update', { eventId: missed.eventId });
  await register(server, 1);
  await dashboard.until('reconciliation.update', { service: 'billing', status: 'stale' });

  const all = await dashboard.page.evaluate(() => /** @type {any} */ (globalThis).seen);
  const updates = all.filter((/** @type {any} */ one) => one.event === 'reconciliation.update');
  for (const { id, data } of updates) {
    const { success, error } = Update.safeParse(data);
    assert.ok(success, `${JSON.stringify(data)}: ${error}`);
    assert.equal(id, data.eventId, 'the id is the eventId');
  }
  let last = '';
  for (const { event, id, data } of all) {
    if (event === 'heartbeat') {
      Heartbeat.parse(data);
      assert.equal(id, last, 'a heartbeat has no id of its own');
    } else if (event === 'reconciliation.update') {
      last = id;
    }
    assert.notEqual(event, 'snapshot', 'what was missed could be told');
  }
  const ids = updates.map((/** @type {any} */ one) => one.id);
  assert.equal(new Set(ids).size, ids.length, 'nothing came twice');
  const seen = updates.filter((/** @type {any} */ one) => one.data.service === 'billing');
  assert.deepEqual(
    seen.map((/** @type {any} */ one) => one.data.status),
    ['verified', 'discrepancy', 'verified', 'verified', 'discrepancy', 'stale'],
  );
  assert.deepEqual(seen[1].data.discrepancyDetails, {
    expected: { rows: 3 },
    actual: { rows: 2.5 },
    missingJobIds: ['a'],
  });
  assert.equal(seen[1].data.latencyMs, 12.5);
});

test('the schema can say no', () => {
  const good = {
    eventId: '1-00000000', service: 'log', status: 'verified', counts: {}, checksum: '0'.repeat(64), latencyMs: 1,
  };
  assert.ok(Update.safeParse(good).success);
  for (const bad of [
    { ...good, counts: { rows: '3' } },
    { ...good, status: 'fine' },
    { ...good, latencyMs: null },
    { ...good, status: 'discrepancy' },
    { ...good, status: 'discrepancy', discrepancyDetails: { expected: {}, actual: {}, missingJobIds: [1] } },
    { ...good, eventId: undefined },
  ]) {
    assert.ok(!Update.safeParse(bad).success, JSON.stringify(bad));
  }
});
