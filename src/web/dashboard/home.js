// Home: is all well?

import {
  ago,
  attempt,
  badge,
  bytes,
  call,
  caller,
  button,
  count,
  empty,
  Fetched,
  go,
  h,
  link,
  ownDocuments,
  panel,
  Part,
  plural,
  rejoin,
  shown,
  skeleton,
  sparkline,
  table,
  when,
} from './ui.js';

/** As many measurements a sparkline has. */
const KEPT = 60;
/** Since the page was loaded, also while another screen is shown. */
const rates = [];
const latencies = new Map();

/** Whether a run of a job did not do what it should. */
export const hasFailed = (run) => run !== undefined && !['succeeded', 'running'].includes(run.outcome);

/** What is not well, worst first: `[state, sentence, more]`. */
export function troubles(ready, verdicts, jobs, errors) {
  const found = [];
  const storage = ready?.storage ?? {};
  if (ready && ready.status !== 'ready' && storage.state === 'ok') {
    found.push(['warn', `The server is ${ready.status}.`, 'It answers, but does not take changes yet.']);
  }
  if (ready && storage.state !== 'ok') {
    const waiting = ready.backlog?.events ? ` ${plural(ready.backlog.events, 'change')} wait in memory.` : '';
    found.push([
      'bad',
      'Changes are not being saved.',
      `Storage is ${storage.state}${
        storage.reason ? `: ${storage.reason}` : ''
      }.${waiting} Play goes on, and all of it is saved once the disk takes writes again. Free some space, or look ` +
        'at the disk; do not stop the server before.',
    ]);
  }
  if (ready && ready.clock?.trusted === false) {
    found.push([
      'warn',
      'The clock of this machine is in doubt.',
      'Nothing is removed by age until the time is confirmed.',
    ]);
  }
  const bad = verdicts.filter((one) => one.status !== 'verified');
  if (bad.length) {
    found.push([
      bad.some((one) => one.status === 'discrepancy') ? 'bad' : 'warn',
      `${plural(bad.length, 'service')} ${bad.length === 1 ? 'differs' : 'differ'} from what was expected.`,
      bad
        .slice(0, 4)
        .map((one) => one.service)
        .join(', '),
    ]);
  }
  const failedJobs = (jobs ?? []).filter((job) => hasFailed(job.runs[0]));
  if (failedJobs.length) {
    found.push([
      'warn',
      `${plural(failedJobs.length, 'job')} failed the last time.`,
      failedJobs.map((job) => job.name).join(', '),
    ]);
  }
  const fresh = (errors ?? []).filter((one) => Date.now() - new Date(one.lastSeen) < 86_400_000);
  if (fresh.length) {
    found.push(['warn', `Browsers reported ${plural(fresh.length, 'error')} in the last day.`, fresh[0].message]);
  }
  return found;
}

class HomeScreen extends Part {
  start() {
    this.collections = ownDocuments() ? null : this.fetch('/api/v1/collections?limit=100', 5);
    if (!caller.me.administrator) return;
    this.ready = new Fetched(
      '/readyz',
      (fetched) => {
        this.measure(fetched);
        this.draw();
      },
      2,
    );
    this.until(() => this.ready.end());
    this.jobs = this.fetch('/api/v1/admin/jobs', 20);
    this.errors = this.fetch('/audit/client-errors?limit=20', 20);
    this.subscribers = this.fetch('/api/v1/admin/subscribers', 3);
    this.verdicts = new Map();
    const stream = rejoin.connectStream('/reconciliation/stream', {
      onEvent: ({ event, data }) => {
        if (event === 'reconciliation.update') {
          this.verdicts.set(data.service, data);
          const kept = latencies.get(data.service) ?? [];
          if (kept.at(-1)?.at !== data.at) kept.push({ at: data.at, ms: data.latencyMs ?? 0 });
          latencies.set(data.service, kept.slice(-KEPT));
        } else if (event === 'reconciliation.removed') this.verdicts.delete(data.service);
        else return;
        this.draw();
      },
    });
    this.until(() => stream.close());
  }

  measure({ value, error }) {
    if (!value || error) return;
    const now = Date.now();
    const last = rates.at(-1);
    rates.push({
      at: now,
      seq: value.seq,
      rate: last && now > last.at && value.seq >= last.seq ? ((value.seq - last.seq) * 1000) / (now - last.at) : 0,
    });
    rates.splice(0, rates.length - KEPT);
  }

  view() {
    if (!caller.me.administrator) return this.guestView();
    const ready = this.ready.value ?? this.ready.error?.problem;
    const found = troubles(ready, [...this.verdicts.values()], this.jobs.value?.items, this.errors.value?.items);
    const isAway = this.ready.error && !this.ready.error.status;
    const isEmpty = this.collections.value?.items.length === 0;
    return [
      h('h1', {}, 'Home'),
      this.verdict(ready, found, isAway),
      isEmpty ? firstSteps() : null,
      h('div.tiles', {}, this.rateTile(ready), this.subscriberTile(), this.storageTile(ready), this.backupTile(ready)),
      h(
        'div.columns',
        {},
        panel('Services', link('reconciliation', 'Details'), this.services()),
        h(
          'div.stack',
          {},
          panel(
            'Collections',
            link('documents', 'All'),
            shown(this.collections, ({ items }) =>
              items.length
                ? h(
                    'ul.list',
                    {},
                    items
                      .slice(0, 8)
                      .map((one) =>
                        h(
                          'li',
                          { 'data-key': one.name },
                          link(`documents/${one.name}`, one.name),
                          h('span.soft.right', {}, count(one.documents), ' · ', when(one.updatedAt)),
                        ),
                      ),
                  )
                : h('p.soft', {}, 'Nothing is stored yet.'),
            ),
          ),
          panel(
            'Connected',
            null,
            shown(
              this.subscribers,
              ({ items }) =>
                items.length
                  ? h(
                      'ul.list',
                      {},
                      items.map((one) =>
                        h(
                          'li',
                          { 'data-key': one.viewer },
                          one.viewer === 'owner' ? 'the owner of this server' : one.viewer,
                          h('span.soft.right', {}, plural(one.streams, 'stream')),
                        ),
                      ),
                    )
                  : h('p.soft', {}, 'Nobody follows anything now.'),
              2,
            ),
          ),
          panel(
            'Jobs',
            null,
            shown(this.jobs, ({ items }) =>
              h(
                'ul.list',
                {},
                items.map((job) => this.job(job)),
              ),
            ),
          ),
          this.errors.value?.items.length
            ? panel(
                'Errors in browsers',
                null,
                h(
                  'ul.list',
                  {},
                  this.errors.value.items
                    .slice(0, 5)
                    .map((one) =>
                      h('li', {}, h('span.clip', {}, one.message), h('span.soft.right', {}, when(one.lastSeen))),
                    ),
                ),
              )
            : null,
        ),
      ),
    ];
  }

  verdict(ready, found, isAway) {
    if (isAway) {
      return h(
        'p.verdict.bad',
        { role: 'status' },
        'The server does not answer.',
        h(
          'small',
          {},
          this.ready.at
            ? `What is below is as of ${ago(this.ready.at)}. Whatever it said was saved is on disk; start it again.`
            : 'This page goes on by itself when it does.',
        ),
      );
    }
    if (!ready) return h('div.verdict', {}, skeleton(1));
    if (!found.length) {
      const services = this.verdicts.size;
      return h(
        'p.verdict.good',
        { role: 'status' },
        'All is well.',
        h(
          'small',
          {},
          services ? `${plural(services, 'service')} verified, every change is on disk.` : 'Every change is on disk.',
        ),
      );
    }
    return h(
      'div.verdicts',
      { role: 'status' },
      found.map(([state, sentence, more]) => h(`p.verdict.${state}`, {}, sentence, h('small', {}, more))),
    );
  }

  rateTile(ready) {
    const rate = rates.at(-1)?.rate ?? 0;
    const shownRate = rate >= 10 ? count(Math.round(rate)) : rate.toFixed(1);
    return tile(
      'Changes a second',
      ready ? shownRate : null,
      ready && `${plural(ready.seq, 'change')} in all`,
      sparkline(
        rates.map((one) => one.rate),
        `Changes a second, lately at most ${Math.max(0, ...rates.map((one) => one.rate)).toFixed(1)}`,
      ),
    );
  }

  subscriberTile() {
    const items = this.subscribers.value?.items;
    const { streams = 0, viewers = 0 } = this.subscribers.value ?? {};
    return tile('Subscribers', items && count(streams), items && plural(viewers, 'viewer'));
  }

  storageTile(ready) {
    const ok = ready?.storage?.state === 'ok';
    return tile(
      'Storage',
      ready && badge(ok ? 'good' : 'bad', ok ? 'saving' : (ready.storage?.state ?? ready.status)),
      ready &&
        (ready.backlog?.events
          ? `${plural(ready.backlog.events, 'change')} waiting`
          : `last saved ${ago(ready.lastCommit)}`),
      ready && h('small.soft', {}, `log ${bytes(ready.walBytes ?? 0)}`),
    );
  }

  backupTile(ready) {
    const last = ready?.lastBackup;
    return tile(
      'Last backup',
      ready && (last ? when(last.at ?? last.finishedAt ?? last) : 'none yet'),
      ready && (last ? 'verified' : 'one is made each night'),
      ready &&
        button(
          'Back up now',
          () =>
            attempt(async () => {
              await call('POST', '/api/v1/admin/backups', {});
              await this.ready.refresh();
            }, 'The backup is made and verified.'),
          'small',
        ),
    );
  }

  services() {
    const all = [...this.verdicts.values()];
    if (!all.length) return skeleton(6);
    const rank = { discrepancy: 0, stale: 1 };
    all.sort(
      (one, other) => (rank[one.status] ?? 3) - (rank[other.status] ?? 3) || (one.service < other.service ? -1 : 1),
    );
    const tables = all.filter((one) => one.service.startsWith('tables/') && one.status === 'verified');
    const rest = all.filter((one) => !tables.includes(one));
    const row = (one) => {
      const counts = Object.entries(one.counts ?? {})
        .map(([name, n]) => plural(n, name.replace(/s$/, ''), name))
        .join(', ');
      const cells = [
        h('strong', {}, one.service),
        badge(verdictState(one.status), one.status),
        counts,
        h('code', { title: one.checksum }, (one.checksum ?? '').slice(0, 8)),
        this.latency(one.service),
      ];
      cells.key = one.service;
      return cells;
    };
    return [
      table(['Service', 'Verdict', 'Counts', 'Checksum', 'Latency'], rest.map(row)),
      tables.length > 0 &&
        h(
          'details',
          {},
          h('summary', {}, `${plural(tables.length, 'table')} of the server itself, all verified`),
          table(['Table', 'Verdict', 'Counts', 'Checksum', 'Latency'], tables.map(row)),
        ),
    ];
  }

  latency(service) {
    const kept = latencies.get(service) ?? [];
    const last = kept.at(-1)?.ms ?? 0;
    return h(
      'span.latency',
      {},
      sparkline(
        kept.map((one) => one.ms),
        `Latency of ${service}: ${last.toFixed(1)} ms`,
      ),
      h('span', {}, `${last.toFixed(1)} ms`),
    );
  }

  job(job) {
    const [last] = job.runs;
    const state = !last ? 'idle' : hasFailed(last) ? 'bad' : last.outcome === 'running' ? 'info' : 'good';
    return h(
      'li',
      { 'data-key': job.name },
      h('span', {}, job.name),
      h('span.right', {}, badge(state, last ? ago(last.endedAt ?? last.startedAt) : `next ${ago(job.nextRun)}`)),
    );
  }

  /** For who is no administrator: what is theirs. */
  guestView() {
    const own = ownDocuments();
    const name = caller.me.name ?? caller.me.user;
    return [
      h('h1', {}, `Hello, ${name}`),
      h('p.verdict.good', { role: 'status' }, 'You are connected.', h('small', {}, 'What changes shows here at once.')),
      own
        ? panel(
            'Your documents',
            null,
            h(
              'ul.list',
              {},
              own.map((one) => h('li', { 'data-key': one }, link(`documents/${one}`, one))),
            ),
          )
        : panel(
            'What you can see',
            link('documents', 'All'),
            shown(this.collections, ({ items }) =>
              items.length
                ? h(
                    'ul.list',
                    {},
                    items.map((one) =>
                      h(
                        'li',
                        { 'data-key': one.name },
                        link(`documents/${one.name}`, one.name),
                        h('span.soft.right', {}, plural(one.documents, 'document')),
                      ),
                    ),
                  )
                : empty('Nothing is here for you yet', 'Documents that the host shares with you appear here.'),
            ),
          ),
    ];
  }
}
customElements.define('screen-home', HomeScreen);

const VERDICTS = { verified: 'good', discrepancy: 'bad' };
export const verdictState = (status) => VERDICTS[status] ?? 'warn';

function tile(title, value, more, extra) {
  return h(
    'section.tile',
    {},
    h('h2', {}, title),
    value == null ? skeleton(1) : h('p.big', {}, value),
    h('p.soft', {}, more || ' '),
    extra,
  );
}

/** For a server without documents: three things that work by clicking. */
function firstSteps() {
  return h(
    'section.steps',
    { 'aria-label': 'First steps' },
    h('h2', {}, 'Three ways to begin'),
    h(
      'div.tiles',
      {},
      step(
        'Make an encounter',
        'Goblins wait at a bridge. Initiative, turns and hit points are kept for you.',
        'Make it',
        makeEncounter,
      ),
      step(
        'Play a sample game',
        'A table with two seats taken and a pot that grows while you look.',
        'Play it',
        playGame,
      ),
      step(
        'Follow a document',
        'A note that anything can change: you see each change as it happens.',
        'Follow it',
        followDocument,
      ),
    ),
  );
}

const step = (title, text, label, act) =>
  h(
    'div.tile',
    {},
    h('h3', {}, title),
    h('p', {}, text),
    button(label, () => attempt(act), 'primary'),
  );

async function makeEncounter() {
  const act = (type, payload) => call('POST', '/api/v1/encounters/bridge/actions', { type, payload });
  await call('PUT', '/api/v1/encounters/bridge', { state: { name: 'Goblins at the bridge' } });
  await act('addCombatant', { name: 'Ana', side: 'party', hitPoints: 22, armorClass: 16, dexterity: 14 });
  await act('addCombatant', {
    combatantId: 'goblin',
    name: 'Goblin',
    side: 'foe',
    hitPoints: 7,
    armorClass: 15,
    dexterity: 14,
  });
  await act('duplicate', { combatantId: 'goblin', count: 2 });
  await act('rollInitiative', {});
  await act('start', {});
  go('encounters/bridge');
}

async function playGame() {
  await call('PUT', '/api/v1/games/sample', { state: { title: 'Sample table', maxSeats: 4, pot: 0, round: 1 } });
  for (const playerId of ['ana', 'bo']) await call('POST', '/api/v1/games/sample/seats', { playerId }).catch(() => {});
  go('games/sample');
  for (let round = 1; round <= 12; round += 1) {
    await new Promise((resolve) => {
      setTimeout(resolve, 900);
    });
    const bet = 5 + ((round * 7) % 20);
    await call('POST', '/api/v1/games/sample/actions', {
      type: 'bet',
      payload: { by: round % 2 ? 'ana' : 'bo', bet },
      patch: { pot: round * 10 + bet, round, lastBet: { by: round % 2 ? 'ana' : 'bo', amount: bet } },
    });
  }
}

async function followDocument() {
  await call('PUT', '/api/v1/notes/first', { state: { title: 'First note', lines: ['Follow me'], seen: 0 } });
  go('documents/notes/first');
  for (let seen = 1; seen <= 8; seen += 1) {
    await new Promise((resolve) => {
      setTimeout(resolve, 1200);
    });
    await call('PATCH', '/api/v1/notes/first', { seen }, { 'content-type': 'application/merge-patch+json' });
  }
}
