// Reconciliation: what should be against what is, the audit of it, repair, and services of others that report.

import {
  ask,
  attempt,
  badge,
  button,
  call,
  count,
  dialog,
  empty,
  form,
  h,
  panel,
  Part,
  plural,
  rejoin,
  route,
  setQuery,
  short,
  shown,
  skeleton,
  table,
  toast,
  verdictState,
  when,
  words,
} from './app.js';

const STATUSES = ['verified', 'stale', 'discrepancy'];

class ReconciliationScreen extends Part {
  verdicts = new Map();
  isRunning = false;

  start() {
    const stream = rejoin.connectStream('/reconciliation/stream', {
      onEvent: ({ event, data }) => {
        if (event === 'reconciliation.update') this.verdicts.set(data.service, data);
        else if (event === 'reconciliation.removed') this.verdicts.delete(data.service);
        else return;
        this.draw();
      },
    });
    this.until(() => stream.close());
    this.services = this.fetch('/reconciliation/services?limit=200', 5);
    this.moved();
  }

  moved() {
    const { query } = route();
    const parts = ['service', 'status', 'since', 'cursor']
      .map((name) => [name, query.get(name)])
      .filter(([, one]) => one)
      .map(([name, one]) => `${name}=${encodeURIComponent(name === 'since' ? new Date(one).toISOString() : one)}`);
    const path = `/reconciliation/audit?${['limit=30', ...parts].join('&')}`;
    if (this.audit) this.audit.go(path);
    else this.audit = this.fetch(path, 5);
  }

  view() {
    const all = [...this.verdicts.values()].sort((one, other) => (one.service < other.service ? -1 : 1));
    const wrong = all.filter((one) => one.status !== 'verified');
    return [
      h(
        'div.head',
        { 'data-key': 'head' },
        h('h1', {}, 'Reconciliation'),
        button(this.isRunning ? 'Comparing…' : 'Compare now', () => this.run(), 'primary', {
          disabled: this.isRunning,
        }),
      ),
      all.length
        ? h(
            'p.verdict',
            {
              'data-key': 'verdict',
              role: 'status',
              class: wrong.length ? (wrong.some((one) => one.status === 'discrepancy') ? 'bad' : 'warn') : 'good',
            },
            wrong.length
              ? `${plural(wrong.length, 'service')} ${wrong.length === 1 ? 'is' : 'are'} not as expected.`
              : 'Everything adds up.',
            h(
              'small',
              {},
              wrong.length
                ? 'Look at what is missing, then ' + 'choose which side is right.'
                : `${plural(all.length, 'service')} verified.`,
            ),
          )
        : h('div.verdict', { 'data-key': 'verdict' }, skeleton(1)),
      wrong.length
        ? h(
            'div.stack',
            { 'data-key': 'wrong' },
            wrong.map((one) => this.discrepancy(one)),
          )
        : null,
      this.outside(),
      this.auditPanel(),
    ];
  }

  async run(service) {
    this.isRunning = true;
    this.draw();
    await attempt(async () => {
      await rejoin.requests.send('POST', '/reconciliation/run', { body: service ? { service } : {}, timeout: 120_000 });
      await this.audit.refresh();
    }, 'Compared.');
    this.isRunning = false;
    this.draw();
  }

  /** Expected and actual side by side. */
  discrepancy(one) {
    const { expected = {}, actual = {}, missingJobIds = [] } = one.discrepancyDetails ?? {};
    const names = [...new Set([...Object.keys(expected), ...Object.keys(actual)])];
    const value = (side, name) =>
      side[name] === undefined ? '–' : typeof side[name] === 'number' ? count(side[name]) : short(side[name]);
    return h(
      'section.panel',
      { 'data-key': one.service, 'aria-label': one.service },
      h('header', {}, h('h2', {}, one.service), badge(verdictState(one.status), one.status)),
      names.length > 0 &&
        table(
          ['What', 'Expected', 'Actual'],
          names.map((name) => [
            h('strong', {}, name),
            value(expected, name),
            h('span', { class: value(expected, name) === value(actual, name) ? '' : 'differs' }, value(actual, name)),
          ]),
        ),
      missingJobIds.length > 0 &&
        h(
          'div',
          {},
          h('h3', {}, `${plural(missingJobIds.length, 'id')} missing`),
          h(
            'p.chips',
            {},
            missingJobIds.slice(0, 100).map((id) => h('code.chip', {}, id)),
          ),
        ),
      one.documents?.length > 0 &&
        h(
          'ul.list',
          {},
          one.documents.map((document) =>
            h(
              'li',
              { 'data-key': document.document },
              h('div', {}, h('strong', {}, document.document), h('p.soft', {}, document.what)),
              button('Repair', () => this.repair(one, document), 'danger'),
            ),
          ),
        ),
      !names.length &&
        !one.documents?.length &&
        h(
          'p.soft',
          {},
          one.status === 'stale'
            ? 'It has not reported in time, or could ' + 'not be compared.'
            : 'It says no more than that.',
        ),
      h('p.soft', {}, 'found ', when(one.firstAt), ', last ', when(one.at)),
    );
  }

  /** Shows what either side has before one is chosen. */
  async repair(verdict, { document, what, version }) {
    const isRow = verdict.service.startsWith('tables/');
    const sides = isRow
      ? []
      : await Promise.all(
          [
            ['Memory', `/api/v1/${document}`],
            [
              'Disk',
              document.startsWith('games/')
                ? `/api/game/${document.slice(6)}/restore`
                : `/api/v1/${document}?version=${version}`,
            ],
          ].map(async ([title, path]) => {
            try {
              const { body } = await rejoin.requests.send('GET', path);
              return [title, `version ${body.version}`, body.state];
            } catch (error) {
              return [title, words(error), null];
            }
          }),
        );
    const choices = isRow
      ? [
          ['disk', 'Take the row as it is'],
          ['neither', 'Remove the row'],
          ['memory', 'Write it anew from memory'],
        ]
      : [
          ['memory', 'Memory is right'],
          ['disk', 'The disk is right'],
        ];
    const source = await dialog(
      `Repair ${document}`,
      (close) => [
        h(
          'div.body',
          {},
          h('p', {}, what),
          sides.length > 0 &&
            h(
              'div.sides',
              {},
              sides.map(([title, about, state]) =>
                h(
                  'div',
                  {},
                  h('h3', {}, title),
                  h('p.soft', {}, about),
                  state && h('pre', { tabindex: '0' }, JSON.stringify(state, null, 2)),
                ),
              ),
            ),
        ),
        h(
          'div.acts',
          {},
          button('Cancel', () => close()),
          choices.map(([name, label]) => button(label, () => close(name), 'danger')),
        ),
      ],
      'wide',
    );
    if (!source) return;
    await attempt(async () => {
      const done = await call('POST', '/reconciliation/repair', { [isRow ? 'row' : 'document']: document, source });
      toast(`${done.done} ${verdict.service} is ${done.status}.`);
      await this.audit.refresh();
    });
  }

  outside() {
    return h(
      'section.panel',
      { 'data-key': 'outside' },
      h(
        'header',
        {},
        h('h2', {}, 'Outside services'),
        button('Add one', () => this.declare(), 'small'),
      ),
      shown(
        this.services,
        ({ items }) =>
          items.length
            ? table(
                ['Service', 'Verdict', 'Last report', 'Next is due', ''],
                items.map((one) => {
                  const verdict = this.verdicts.get(one.service)?.status ?? one.verdict?.status ?? 'stale';
                  return Object.assign(
                    [
                      h('div', {}, h('strong', {}, one.service), one.description && h('p.soft', {}, one.description)),
                      badge(verdictState(verdict), verdict),
                      one.reportedAt ? when(one.reportedAt) : 'none yet',
                      when(one.deadline),
                      button('Forget', () => this.forget(one), 'small', { 'aria-label': `Forget ${one.service}` }),
                    ],
                    { key: one.service },
                  );
                }),
              )
            : empty(
                'No outside services',
                'A nightly job, a mailer, a bot: it reports what it should have done and what it did, and ' +
                  'what is missing shows here.',
                button('Add one', () => this.declare(), 'primary'),
              ),
        2,
      ),
    );
  }

  declare() {
    return form(
      'Add an outside service',
      [
        {
          name: 'service',
          label: 'Name',
          required: true,
          pattern: '[a-z][a-z0-9\\-]*',
          autocomplete: 'off',
          hint: 'Lower-case letters, digits and “-”.',
        },
        { name: 'description', label: 'What it is' },
        {
          name: 'every',
          label: 'Reports at least every … minutes',
          type: 'number',
          min: 1,
          value: '60',
          required: true,
        },
      ],
      'Add',
      async ({ service, description, every }) => {
        await call('PUT', `/reconciliation/services/${encodeURIComponent(service)}`, {
          reportEverySeconds: Number(every) * 60,
          ...(description && { description }),
        });
        await this.services.refresh();
      },
    );
  }

  async forget({ service }) {
    const isSure = await ask(
      `Forget ${service}?`,
      h('p', {}, 'Its verdict goes, and its reports are refused from now on. The ' + 'audit stays.'),
      'Forget',
    );
    if (!isSure) return;
    await attempt(async () => {
      await call('DELETE', `/reconciliation/services/${encodeURIComponent(service)}`);
      await this.services.refresh();
    }, `${service} is forgotten.`);
  }

  auditPanel() {
    const { query } = route();
    const field = (name, label, input) => h('label.filter', {}, h('span', {}, label), input);
    const select = (name, label, options) =>
      field(
        name,
        label,
        h(
          'select',
          { onchange: (event) => setQuery({ [name]: event.target.value, cursor: undefined }) },
          h('option', { value: '' }, 'all'),
          options.map((one) => h('option', { value: one, selected: query.get(name) === one }, one)),
        ),
      );
    const services = [...new Set([...this.verdicts.keys(), query.get('service')].filter(Boolean))].sort();
    return h(
      'section.panel',
      { 'data-key': 'audit', 'aria-label': 'Audit' },
      h('header', {}, h('h2', {}, 'Audit')),
      h(
        'div.filters',
        {},
        select('service', 'Service', services),
        select('status', 'Status', STATUSES),
        field(
          'since',
          'Since',
          h('input', {
            type: 'datetime-local',
            value: query.get('since') ?? '',
            onchange: (event) => setQuery({ since: event.target.value, cursor: undefined }),
          }),
        ),
      ),
      shown(
        this.audit,
        ({ items, nextCursor }) =>
          items.length
            ? [
                table(
                  ['Service', 'Verdict', 'What', 'How often', 'When'],
                  items.map((one) =>
                    Object.assign(
                      [
                        h('strong', {}, one.service),
                        badge(verdictState(one.status), one.status),
                        one.action,
                        `${count(one.count)} ×`,
                        when(one.at),
                      ],
                      { key: one.eventId },
                    ),
                  ),
                ),
                h(
                  'div.acts',
                  {},
                  query.get('cursor') && button('Newest', () => setQuery({ cursor: undefined })),
                  nextCursor && button('Older', () => setQuery({ cursor: nextCursor }, true)),
                ),
              ]
            : h('p.soft', {}, 'Nothing in the audit is like that.'),
        6,
      ),
    );
  }
}
customElements.define('screen-reconciliation', ReconciliationScreen);
