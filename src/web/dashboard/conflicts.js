// Conflicts: places that two sides changed, to be decided by a person; and what was decided by rules.

import {
  attempt,
  badge,
  button,
  call,
  empty,
  h,
  link,
  Part,
  plural,
  route,
  setQuery,
  shown,
  table,
  when,
} from './app.js';

class ConflictsScreen extends Part {
  start() {
    this.open = this.fetch('/api/v1/conflicts?status=open&limit=50', 3);
    this.moved();
  }

  moved() {
    const { query } = route();
    const document = query.get('document');
    const path = `/api/v1/conflicts/audit?limit=30${document ? `&document=${encodeURIComponent(document)}` : ''}${
      query.get('cursor') ? `&cursor=${encodeURIComponent(query.get('cursor'))}` : ''
    }`;
    if (this.audit) this.audit.go(path);
    else this.audit = this.fetch(path, 5);
  }

  view() {
    const { query } = route();
    const items = this.open.value?.items;
    return [
      h('h1', { 'data-key': 'title' }, 'Conflicts'),
      items?.length
        ? h(
            'p.verdict.warn',
            { 'data-key': 'verdict', role: 'status' },
            `${plural(items.length, 'conflict')} ${items.length === 1 ? 'waits' : 'wait'} for you.`,
            h('small', {}, 'The server’s value stands until you choose.'),
          )
        : null,
      h(
        'div.stack',
        { 'data-key': 'open' },
        shown(this.open, () =>
          items.length
            ? items.map((one) =>
                h('conflict-view', {
                  class: 'panel',
                  'data-key': one.id,
                  data: { one, done: () => this.refresh() },
                }),
              )
            : h(
                'section.panel',
                {},
                empty(
                  'No conflicts',
                  'When a device that was away and somebody here changed the same place, and ' +
                    'no rule decides it, both values stand here side by side.',
                ),
              ),
        ),
      ),
      h(
        'section.panel',
        { 'data-key': 'audit', 'aria-label': 'Audit' },
        h(
          'header',
          {},
          h('h2', {}, 'What both sides changed'),
          query.get('document') &&
            button('All documents', () => setQuery({ document: undefined, cursor: undefined }), 'small'),
        ),
        shown(this.audit, ({ items: all, nextCursor }) =>
          all.length
            ? [
                table(
                  ['Document', 'Place', 'Decided by', 'Whose edits', 'When'],
                  all.map((one) => [
                    link(`documents/${one.document}`, one.document),
                    h('code', {}, one.path),
                    badge(
                      one.status === 'open' ? 'warn' : 'good',
                      one.status === 'open'
                        ? 'open'
                        : one.resolvedBy
                          ? `${one.resolution ?? 'merge'}, ${one.resolvedBy}`
                          : one.rule,
                    ),
                    one.madeBy,
                    when(one.resolvedAt ?? one.at),
                  ]),
                ),
                h(
                  'div.acts',
                  {},
                  query.get('cursor') && button('Newest', () => setQuery({ cursor: undefined })),
                  nextCursor && button('Older', () => setQuery({ cursor: nextCursor }, true)),
                ),
              ]
            : h('p.soft', {}, 'Nothing yet.'),
        ),
      ),
    ];
  }

  async refresh() {
    await Promise.all([this.open.refresh(), this.audit.refresh()]);
  }
}
customElements.define('screen-conflicts', ConflictsScreen);

const NONE = Symbol('nothing');
const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const show = (value) =>
  value === NONE ? 'nothing' : typeof value === 'string' ? value : JSON.stringify(value, null, 2);

/** One conflict: base, local and server side by side, by field where they are objects. */
class ConflictView extends Part {
  choices = {};
  moved = null;

  set data({ one, done }) {
    this.one = one;
    this.done = done;
    if (this.isConnected) this.draw();
  }

  side(name) {
    return name in this.one ? this.one[name] : NONE;
  }

  /** The fields to choose from; null: the value is one. */
  fields() {
    const [local, server] = [this.side('local'), this.side('server')];
    if (!isObject(local) || !isObject(server)) return null;
    return [...new Set([...Object.keys(local), ...Object.keys(server)])].filter(
      (name) => JSON.stringify(local[name]) !== JSON.stringify(server[name]),
    );
  }

  view() {
    const { one } = this;
    const fields = this.fields();
    const sides = [
      ['base', 'Before'],
      ['local', `${one.madeBy ?? 'The device'} wrote`],
      ['server', 'It is now'],
    ];
    const differs = (name) => name !== 'base' && JSON.stringify(this.side(name)) !== JSON.stringify(this.side('base'));
    return [
      h(
        'header',
        {},
        h('h2', {}, link(`documents/${one.document}`, one.document), ' ', h('code', {}, one.path)),
        h('span.soft', {}, when(one.at)),
      ),
      h(
        'div.sides',
        {},
        sides.map(([name, title]) =>
          h(
            'div.side',
            { class: differs(name) ? 'changed' : '' },
            h('h3', {}, title),
            h('pre', { tabindex: '0' }, this.side(name) === NONE ? h('em', {}, 'nothing') : show(this.side(name))),
          ),
        ),
      ),
      fields
        ? h(
            'div',
            {},
            h('h3', {}, 'Choose by field'),
            fields.map((name) =>
              h(
                'div.choice',
                { role: 'group', 'aria-label': name },
                h('code', {}, name),
                ['local', 'server'].map((side) =>
                  button(
                    `${side === 'local' ? 'Theirs' : 'As it is'}: ${
                      JSON.stringify(this.side(side)[name]) ?? 'nothing'
                    }`,
                    () => {
                      this.choices[name] = side;
                      this.draw();
                    },
                    '',
                    { 'aria-pressed': String((this.choices[name] ?? 'server') === side) },
                  ),
                ),
              ),
            ),
          )
        : null,
      this.moved && h('p.note.warn', { role: 'alert' }, this.moved),
      h(
        'div.acts',
        {},
        button('Take theirs', () => this.resolve({ resolution: 'local' })),
        button('Keep it as it is', () => this.resolve({ resolution: 'server' })),
        fields &&
          button('Merge as chosen', () => this.resolve({ resolution: 'merge', value: this.merged(fields) }), 'primary'),
        !fields &&
          'suggestion' in one &&
          button(
            `Take ${JSON.stringify(one.suggestion)}`,
            () => this.resolve({ resolution: 'merge', value: one.suggestion }),
            'primary',
          ),
      ),
      !fields &&
        h(
          'form.own',
          {
            onsubmit: (event) => {
              event.preventDefault();
              const text = event.target.elements.value.value;
              let value = text;
              try {
                value = JSON.parse(text);
              } catch {
                // It is a text.
              }
              void this.resolve({ resolution: 'merge', value });
            },
          },
          h('input', {
            name: 'value',
            'aria-label': 'Another value',
            placeholder: 'Another value',
            required: true,
            autocomplete: 'off',
          }),
          h('button', { type: 'submit' }, 'Use it'),
        ),
    ];
  }

  merged(fields) {
    const value = { ...this.side('server') };
    for (const name of fields) {
      const from = this.side(this.choices[name] ?? 'server');
      if (name in from) value[name] = from[name];
      else delete value[name];
    }
    return value;
  }

  async resolve(body) {
    const path = `/api/v1/conflicts/${this.one.id}/resolve`;
    await attempt(async () => {
      try {
        await call('POST', path, { ...body, ...(this.version && { expectedVersion: this.version }) });
      } catch (error) {
        if (!String(error.problem?.type).endsWith('conflict-moved')) throw error;
        this.version = error.problem.currentVersion;
        const now = JSON.stringify(error.problem.value);
        this.moved = `The place has changed since: it is ${now} now. Choose again to decide all the same.`;
        this.draw();
        throw error;
      }
      await this.done();
    }, 'Decided.');
  }
}
customElements.define('conflict-view', ConflictView);
