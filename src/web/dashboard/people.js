// People: sessions; for administrators also limits, plans and usage, and the jobs of the server.

import {
  ask,
  attempt,
  badge,
  button,
  call,
  caller,
  count,
  empty,
  form,
  h,
  hasFailed,
  link,
  ownDocuments,
  panel,
  Part,
  plural,
  rejoin,
  route,
  setQuery,
  shown,
  table,
  toast,
  when,
} from './app.js';

const TABS = [
  ['sessions', 'Sessions'],
  ['limits', 'Rate limits'],
  ['usage', 'Plans and usage'],
  ['jobs', 'Jobs'],
];
const LIMIT = [
  { name: 'bucketCapacity', label: 'Requests at once', type: 'number', min: 1, value: '100', required: true },
  {
    name: 'refillRate',
    label: 'Requests that come back in each window',
    type: 'number',
    min: 1,
    value: '100',
    required: true,
  },
  {
    name: 'windowSeconds',
    label: 'Length of the window, in seconds',
    type: 'number',
    min: 1,
    value: '10',
    required: true,
  },
];
const COUNTED = { partiesCreated: 'Parties', encountersCreated: 'Encounters', creaturesCreated: 'Creatures' };

/** The numbers of a form's limit. */
const limitOf = (values) => Object.fromEntries(LIMIT.map(({ name }) => [name, Number(values[name])]));

class PeopleScreen extends Part {
  running = new Set();

  start() {
    this.moved();
  }

  get tab() {
    return caller.me.administrator ? (TABS.find(([name]) => name === route().rest[0])?.[0] ?? 'sessions') : 'sessions';
  }

  moved() {
    const { tab } = this;
    if (tab === 'sessions') {
      // A session that came by an invitation knows itself, and sees no others.
      if (caller.me.administrator) this.sessions ??= this.fetch('/api/v1/admin/sessions?limit=200', 5);
      else if (!ownDocuments()) this.sessions ??= this.fetch('/api/v1/sessions?limit=200', 5);
      if (!caller.me.administrator && !ownDocuments()) this.mine ??= this.fetch('/api/v1/usage', 10);
    } else if (tab === 'limits') {
      this.rules ??= this.fetch('/api/v1/admin/rate-limits/rules', 5);
      this.configs ??= this.fetch('/api/v1/admin/rate-limits/configs?limit=200', 5);
      this.metrics ??= this.fetch('/api/v1/admin/rate-limits/metrics?limit=20', 3);
    } else if (tab === 'usage') {
      this.subscriptions ??= this.fetch('/api/v1/admin/subscriptions?limit=200', 10);
      const user = route().query.get('user');
      if (!user) this.usage = null;
      else if (this.usage) this.usage.go(`/api/v1/usage?user=${encodeURIComponent(user)}`);
      else this.usage = this.fetch(`/api/v1/usage?user=${encodeURIComponent(user)}`, 10);
    } else {
      this.jobs ??= this.fetch('/api/v1/admin/jobs', 3);
    }
  }

  view() {
    const { tab } = this;
    return [
      h('h1', { 'data-key': 'title' }, 'People'),
      caller.me.administrator
        ? h(
            'div.switch',
            { 'data-key': 'tabs', role: 'group', 'aria-label': 'What to show' },
            TABS.map(([name, title]) =>
              h('a.button', { href: `#/people/${name}`, 'aria-current': name === tab ? 'true' : null }, title),
            ),
          )
        : null,
      h(
        'div.stack',
        { 'data-key': tab },
        {
          sessions: () => this.sessionPanels(),
          limits: () => this.limitPanels(),
          usage: () => this.usagePanels(),
          jobs: () => this.jobPanel(),
        }[tab](),
      ),
    ];
  }

  // -- sessions

  sessionPanels() {
    const { me } = caller;
    const who = panel(
      'You',
      null,
      h('p', {}, h('strong', {}, me.name ?? me.user), me.administrator ? ', administrator' : ''),
      h('p.soft', {}, me.why),
    );
    if (ownDocuments()) {
      return [
        who,
        panel(
          'Your session',
          null,
          h(
            'p',
            {},
            `It came by an invitation and reaches ${plural(ownDocuments().length, 'document')}. `,
            me.session?.expiresAt && ['It is good until ', when(me.session.expiresAt), ' unless you use it.'],
          ),
          h(
            'div.acts',
            {},
            button('Leave', () => this.leave(), 'danger'),
          ),
        ),
      ];
    }
    return [
      who,
      h(
        'section.panel',
        { 'aria-label': 'Sessions' },
        h(
          'header',
          {},
          h('h2', {}, me.administrator ? 'Everybody’s sessions' : 'Your sessions'),
          me.session && button('End all of my others', () => this.endOthers(), 'danger'),
        ),
        shown(this.sessions, ({ items }) =>
          items.length
            ? table(
                ['Who', 'Device', 'Last seen', 'Good until', ''],
                items.map((one) =>
                  Object.assign(
                    [
                      h(
                        'div',
                        {},
                        h('strong', {}, one.user),
                        one.current && [' ', badge('good', 'this one')],
                        one.currentPhase && h('p.soft', {}, one.currentPhase),
                        one.documents && h('p.soft', {}, one.documents.slice(0, 3).join(', ')),
                      ),
                      h(
                        'div',
                        {},
                        one.device.name ?? one.device.kind ?? browserOf(one.userAgent),
                        h('p.soft', {}, one.address),
                      ),
                      when(one.lastSeenAt),
                      when(one.expiresAt),
                      button('End', () => this.end(one), 'small danger', {
                        'aria-label': `End the session of ${one.user}, ${one.device.name ?? browserOf(one.userAgent)}`,
                      }),
                    ],
                    { key: one.id },
                  ),
                ),
              )
            : empty(
                'No sessions',
                'Who comes in by an invitation or logs in has one, for each browser. On this machine you need none.',
              ),
        ),
      ),
      this.mine ? this.usageOf(this.mine, 'What you have made') : null,
    ];
  }

  async end(one) {
    const isSure = await ask(
      `End the session of ${one.user}?`,
      h(
        'p',
        {},
        `${one.device.name ?? browserOf(one.userAgent)} at ${
          one.address
        } is out at once, with all that is open there. They need another invitation or login to come back.`,
      ),
      'End it',
    );
    if (!isSure) return;
    await attempt(async () => {
      await call('DELETE', caller.me.administrator ? `/api/v1/admin/sessions/${one.id}` : `/api/v1/sessions/${one.id}`);
      await this.sessions.refresh();
    }, 'The session has ended.');
  }

  async endOthers() {
    const isSure = await ask(
      'End all of your other sessions?',
      h('p', {}, 'Every other browser and device of yours is out at ' + 'once. This one stays.'),
      'End them',
    );
    if (!isSure) return;
    await attempt(async () => {
      await call('DELETE', '/api/v1/sessions');
      await this.sessions.refresh();
    }, 'They have ended.');
  }

  async leave() {
    const isSure = await ask(
      'Leave?',
      h('p', {}, 'This browser is not known any more. To come back you need another ' + 'invitation.'),
      'Leave',
    );
    if (isSure) await attempt(() => rejoin.endSession(), 'You have left.');
  }

  // -- limits

  limitPanels() {
    return [
      panel(
        'Now',
        null,
        shown(
          this.metrics,
          (one) => [
            h(
              'p',
              {},
              `${plural(one.allowed, 'request')} passed and ${count(one.limited)} refused since `,
              when(one.since),
              '.',
            ),
            one.topOffenders.length
              ? [
                  h('h3', {}, 'Refused most'),
                  table(
                    ['Who', 'Passed', 'Refused', 'Last'],
                    one.topOffenders.map((user) => [
                      h('strong', {}, user.id ?? 'the owner'),
                      count(user.allowed),
                      badge('warn', count(user.limited)),
                      user.lastLimitedAt ? when(user.lastLimitedAt) : '–',
                    ]),
                  ),
                ]
              : h('p.soft', {}, 'Nobody is being limited.'),
            one.byUser.length > 0 &&
              h(
                'details',
                {},
                h('summary', {}, 'Who asks most'),
                table(
                  ['Who', 'Passed', 'Refused'],
                  one.byUser.map((user) => [user.id ?? 'the owner', count(user.allowed), count(user.limited)]),
                ),
              ),
          ],
          2,
        ),
      ),
      panel(
        'Rules',
        button('Add a rule', () => this.addRule(), 'small'),
        shown(
          this.rules,
          ({ items }) =>
            items.length
              ? table(
                  ['Rule', 'For', 'Limit', ''],
                  items.map((one) =>
                    Object.assign(
                      [
                        h('strong', {}, one.name),
                        h('code', {}, `${one.httpMethod ?? 'any'} ${one.endpointPattern}`),
                        perWindow(one),
                        h(
                          'div.acts',
                          {},
                          button('Change', () => this.addRule(one), 'small', { 'aria-label': `Change ${one.name}` }),
                          button('Remove', () => this.removeRule(one), 'small danger', {
                            'aria-label': `Remove ${one.name}`,
                          }),
                        ),
                      ],
                      { key: one.id },
                    ),
                  ),
                )
              : h('p.soft', {}, 'There is none: everybody has the same limit, which the configuration sets.'),
          2,
        ),
      ),
      panel(
        'Users with a limit of their own',
        button('Add one', () => this.addConfig(), 'small'),
        shown(
          this.configs,
          ({ items }) =>
            items.length
              ? table(
                  ['User', 'Limit', ''],
                  items.map((one) =>
                    Object.assign(
                      [
                        h('strong', {}, one.userId),
                        perWindow(one),
                        button('Remove', () => this.removeConfig(one), 'small danger', {
                          'aria-label': `Remove the limit of ${one.userId}`,
                        }),
                      ],
                      { key: one.userId },
                    ),
                  ),
                )
              : h('p.soft', {}, 'Nobody has one.'),
          2,
        ),
      ),
    ];
  }

  addRule(rule) {
    const fields = [
      { name: 'name', label: 'Name', required: true },
      {
        name: 'endpointPattern',
        label: 'Paths',
        value: '/api/v1/**',
        required: true,
        hint: '* is one segment, ** the rest.',
      },
      {
        name: 'httpMethod',
        label: 'Method',
        kind: 'select',
        options: [['', 'any'], ...['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].map((one) => [one, one])],
      },
      { name: 'priority', label: 'Priority', type: 'number', min: 0, max: 1000, value: '0' },
      ...LIMIT,
    ];
    const known = rule ? fields.map((one) => ({ ...one, value: String(rule[one.name] ?? '') })) : fields;
    return form(rule ? `Change ${rule.name}` : 'Add a rule', known, 'Save', async (values) => {
      const body = {
        name: values.name,
        endpointPattern: values.endpointPattern,
        priority: Number(values.priority),
        ...(values.httpMethod && { httpMethod: values.httpMethod }),
        ...limitOf(values),
      };
      const path = '/api/v1/admin/rate-limits/rules';
      await (rule ? call('PUT', `${path}/${rule.id}`, body) : call('POST', path, body));
      await this.rules.refresh();
    });
  }

  async removeRule(rule) {
    const isSure = await ask(
      `Remove ${rule.name}?`,
      h('p', {}, 'What it limited has the next rule that matches, or the default.'),
      'Remove',
    );
    if (!isSure) return;
    const { id, createdAt, updatedAt, rank, ...body } = rule;
    await attempt(async () => {
      await call('DELETE', `/api/v1/admin/rate-limits/rules/${id}`);
      await this.rules.refresh();
      toast(`${rule.name} is removed.`, {
        undo: async () => {
          await call('POST', '/api/v1/admin/rate-limits/rules', { ...body, id });
          await this.rules.refresh();
        },
      });
    });
  }

  addConfig() {
    return form(
      'Give a user a limit of their own',
      [{ name: 'userId', label: 'User', required: true, autocomplete: 'off' }, ...LIMIT],
      'Save',
      async (values) => {
        await call('PUT', `/api/v1/admin/rate-limits/configs/${encodeURIComponent(values.userId)}`, limitOf(values));
        await this.configs.refresh();
      },
    );
  }

  removeConfig({ userId, createdAt, updatedAt, ...body }) {
    const path = `/api/v1/admin/rate-limits/configs/${encodeURIComponent(userId)}`;
    return attempt(async () => {
      await call('DELETE', path);
      await this.configs.refresh();
      toast(`${userId} has the common limit again.`, {
        undo: async () => {
          await call('PUT', path, body);
          await this.configs.refresh();
        },
      });
    });
  }

  // -- plans and usage

  usagePanels() {
    const user = route().query.get('user') ?? '';
    return [
      panel(
        'Look at a user',
        null,
        h(
          'form.own',
          {
            onsubmit: (event) => {
              event.preventDefault();
              setQuery({ user: event.target.elements.user.value.trim() });
            },
          },
          h('input', { name: 'user', 'aria-label': 'User', placeholder: 'User', value: user, autocomplete: 'off' }),
          h(
            'button',
            {
              type: 'submit',
            },
            'Look',
          ),
        ),
      ),
      this.usage ? this.usageOf(this.usage, user) : null,
      panel(
        'Plans',
        button('Set a plan', () => this.setPlan(user), 'small'),
        shown(
          this.subscriptions,
          ({ items }) =>
            items.length
              ? table(
                  ['User', 'Plan', 'Status', 'Until'],
                  items.map((one) =>
                    Object.assign(
                      [
                        link(`people/usage?user=${encodeURIComponent(one.userId)}`, one.userId),
                        one.plan,
                        badge(one.status === 'active' ? 'good' : 'idle', one.status),
                        when(one.currentPeriodEnd),
                      ],
                      { key: one.userId },
                    ),
                  ),
                )
              : h('p.soft', {}, 'Nobody has a plan: the configuration’s limits hold for everybody.'),
          2,
        ),
      ),
    ];
  }

  usageOf(fetched, title) {
    return panel(
      title,
      null,
      shown(
        fetched,
        (one) => [
          h(
            'p.facts',
            {},
            h('span', {}, 'Plan ', one.plan),
            badge(one.status === 'active' ? 'good' : 'idle', one.status),
            one.resetAt && h('span', {}, 'set back ', when(one.resetAt)),
          ),
          h(
            'ul.list',
            {},
            Object.entries(COUNTED).map(([name, label]) => {
              const limit = one.limits[name];
              const part = limit ? Math.min(1, one.counters[name] / limit) : 0;
              return h(
                'li',
                {},
                h('span', {}, label),
                h(
                  'span.right',
                  {},
                  count(one.counters[name]),
                  limit == null ? ' of any number' : ` of ${count(limit)}`,
                ),
                limit != null &&
                  h(
                    'svg.bar',
                    {
                      class: part >= 1 ? 'bad' : part > 0.8 ? 'warn' : 'good',
                      viewBox: '0 0 100 6',
                      preserveAspectRatio: 'none',
                      'aria-hidden': 'true',
                    },
                    h('rect.back', { width: 100, height: 6 }),
                    h('rect', {
                      width: part * 100,
                      height: 6,
                    }),
                  ),
              );
            }),
          ),
        ],
        3,
      ),
    );
  }

  setPlan(user) {
    const day = (add) => new Date(Date.now() + add * 86_400_000).toISOString().slice(0, 10);
    return form(
      'Set a plan',
      [
        { name: 'user', label: 'User', value: user, required: true, autocomplete: 'off' },
        { name: 'plan', label: 'Plan', required: true, maxlength: 64 },
        {
          name: 'status',
          label: 'Status',
          kind: 'select',
          options: ['active', 'paused', 'cancelled'].map((one) => [one, one]),
        },
        { name: 'from', label: 'From', type: 'date', value: day(0), required: true },
        { name: 'until', label: 'Until', type: 'date', value: day(30), required: true },
        ...Object.entries(COUNTED).map(([name, label]) => ({
          name,
          label,
          type: 'number',
          min: 0,
          hint: 'Left empty: any number.',
        })),
      ],
      'Save',
      async (values) => {
        const limits = Object.fromEntries(
          Object.keys(COUNTED)
            .filter((name) => values[name] !== '')
            .map((name) => [name, Number(values[name])]),
        );
        await call('PUT', `/api/v1/admin/subscriptions/${encodeURIComponent(values.user)}`, {
          plan: values.plan,
          status: values.status,
          currentPeriodStart: `${values.from}T00:00:00Z`,
          currentPeriodEnd: `${values.until}T00:00:00Z`,
          limits,
        });
        await this.subscriptions.refresh();
        setQuery({ user: values.user });
      },
    );
  }

  // -- jobs

  jobPanel() {
    return panel(
      'Jobs',
      null,
      shown(
        this.jobs,
        ({ items }) =>
          table(
            ['Job', 'Runs', 'Last', 'Next', ''],
            items.map((job) => {
              const [last] = job.runs;
              const isRunning = this.running.has(job.name) || last?.outcome === 'running';
              const state = !last ? 'idle' : isRunning ? 'info' : hasFailed(last) ? 'bad' : 'good';
              const counts =
                last &&
                Object.entries(last.counts)
                  .filter(([, n]) => n > 0)
                  .map(([name, n]) => `${count(n)} ${name}`);
              return Object.assign(
                [
                  h('strong', {}, job.name),
                  job.schedule,
                  h(
                    'div',
                    {},
                    last ? badge(state, last.outcome, last.dryRun ? ', tried only' : '') : badge('idle', 'not yet'),
                    last && h('p.soft', {}, when(last.startedAt), counts.length ? `: ${counts.join(', ')}` : ''),
                    last?.error && h('p.soft', {}, last.error),
                  ),
                  when(job.nextRun),
                  h(
                    'div.acts',
                    {},
                    job.canDryRun &&
                      button('Try', () => this.run(job, true), 'small', {
                        disabled: isRunning,
                        'aria-label': `Try ${job.name}`,
                      }),
                    button(isRunning ? 'Running…' : 'Run now', () => this.run(job, false), 'small', {
                      disabled: isRunning,
                      'aria-label': `${isRunning ? 'Running…' : 'Run now'}: ${job.name}`,
                    }),
                  ),
                ],
                { key: job.name, flash: last?.id },
              );
            }),
          ),
        8,
      ),
    );
  }

  async run(job, dryRun) {
    this.running.add(job.name);
    this.draw();
    await attempt(async () => {
      const run = await rejoin.requests.send(
        'POST',
        `/api/v1/admin/jobs/${job.name}/run${dryRun ? '?dryRun=true' : ''}`,
        {
          timeout: job.timeoutSeconds * 1000,
        },
      );
      const { outcome } = run.body;
      toast(`${job.name}: ${outcome}${dryRun ? ', tried only' : ''}.`, { bad: hasFailed(run.body) });
    });
    this.running.delete(job.name);
    await this.jobs.refresh();
    this.draw();
  }
}
customElements.define('screen-people', PeopleScreen);

const perWindow = (one) => `${count(one.bucketCapacity)} at once, ${count(one.refillRate)} each ${one.windowSeconds} s`;

/** The browser that a program says it is. */
function browserOf(agent) {
  const found = /(Firefox|Edg|OPR|Chrome|Safari|curl)\/?/.exec(agent ?? '');
  return found ? ({ Edg: 'Edge', OPR: 'Opera' }[found[1]] ?? found[1]) : 'Unknown device';
}
