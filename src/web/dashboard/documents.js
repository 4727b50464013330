// Documents: collections, what is in them, one document with its past.

import {
  attempt,
  badge,
  bytes,
  button,
  call,
  caller,
  copy,
  count,
  dialog,
  difference,
  differenceList,
  empty,
  failed,
  followFor,
  ask,
  go,
  h,
  link,
  ownDocuments,
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
  when,
  words,
} from './app.js';

const PAGE = 50;
/** Most versions whose states are kept. */
const STATES_MAX = 100;

class DocumentsScreen extends Part {
  start() {
    this.moved();
  }

  moved() {
    const {
      rest: [collection, id],
      query,
    } = route();
    if (query.get('create')) {
      setQuery({ create: undefined });
      void create(collection);
    }
    if (collection && id) return;
    if (ownDocuments()) return;
    if (!collection) {
      this.collections ??= this.fetch('/api/v1/collections?limit=200', 3);
      return;
    }
    const text = query.get('search') ?? '';
    const parts = {
      limit: PAGE,
      sort: '-updatedAt',
      cursor: query.get('cursor'),
      where: text && JSON.stringify({ id: { contains: text } }),
    };
    const path = `/api/v1/${encodeURIComponent(collection)}?${Object.entries(parts)
      .filter(([, one]) => one)
      .map(([name, one]) => `${name}=${encodeURIComponent(one)}`)
      .join('&')}`;
    if (this.list) this.list.go(path);
    else this.list = this.fetch(path, 2);
  }

  view() {
    const {
      rest: [collection, id],
      query,
    } = route();
    if (collection && id) {
      return h('document-view', { class: 'page', 'data-key': `${collection}/${id}` });
    }
    const own = ownDocuments();
    if (own) {
      return [
        h('h1', {}, 'Documents'),
        panel(
          'Yours',
          null,
          h(
            'ul.list',
            {},
            own.map((one) => h('li', {}, link(`documents/${one}`, one))),
          ),
        ),
      ];
    }
    const head = (title) =>
      h(
        'div.head',
        { 'data-key': 'head' },
        h('div', {}, collection && h('p.crumbs', {}, link('documents', 'Documents')), h('h1', {}, title)),
        button('Create', () => create(collection), 'primary'),
      );
    if (!collection) {
      return [
        head('Documents'),
        panel(
          'Collections',
          null,
          shown(this.collections, ({ items }) =>
            items.length
              ? table(
                  ['Collection', 'Documents', 'Changed'],
                  items.map((one) => {
                    const cells = [link(`documents/${one.name}`, one.name), count(one.documents), when(one.updatedAt)];
                    return Object.assign(cells, { key: one.name, flash: one.updatedAt });
                  }),
                )
              : empty(
                  'No documents yet',
                  'A document is any JSON object with a name. It keeps its whole history, and ' +
                    'everybody who follows it sees each change.',
                  button('Create the first', () => create(), 'primary'),
                ),
          ),
        ),
      ];
    }
    return [
      head(collection),
      h('input.search', {
        type: 'search',
        'data-key': 'search',
        placeholder: 'Search by id',
        'aria-label': 'Search by id',
        value: query.get('search') ?? '',
        spellcheck: 'false',
        oninput: (event) =>
          setQuery({
            search: event.target.value.trim(),
            cursor: undefined,
          }),
      }),
      h(
        'section.panel',
        { 'data-key': 'list', 'aria-label': `Documents of ${collection}` },
        shown(this.list, (page) => this.page(collection, query, page), 8),
      ),
    ];
  }

  page(collection, query, { items, nextCursor }) {
    const text = query.get('search');
    if (!items.length && !nextCursor) {
      return text
        ? empty(
            'Nothing found',
            `No id in ${collection} has “${text}” in it.`,
            button('Show all', () =>
              setQuery({
                search: undefined,
              }),
            ),
          )
        : empty(
            'No documents',
            `${collection} has no documents, or none that you may see.`,
            button('Create one', () => create(collection), 'primary'),
          );
    }
    const rows = items.map((one) =>
      Object.assign(
        [
          link(`documents/${collection}/${one.id}`, one.id),
          h('span', {}, 'v', count(one.version)),
          one.movedTo ? badge('info', 'moved') : when(one.updatedAt),
        ],
        { key: one.id, flash: one.version },
      ),
    );
    return [
      table(['Id', 'Version', 'Changed'], rows),
      h(
        'div.acts',
        {},
        query.get('cursor') && button('First page', () => setQuery({ cursor: undefined })),
        nextCursor && button('Next page', () => setQuery({ cursor: nextCursor }, true)),
      ),
    ];
  }
}
customElements.define('screen-documents', DocumentsScreen);

/** One document: live, its past, what can be done with it. */
class DocumentView extends Part {
  states = new Map();
  events = new Map();
  info = null;

  start() {
    const {
      rest: [collection, id],
    } = route();
    this.name = `${collection}/${id}`;
    this.collection = collection;
    this.documentId = id;
    try {
      this.document = followFor(this, this.name);
    } catch (error) {
      this.wrong = error;
      return;
    }
    this.until(
      this.document.onEvent(({ event, data }) => {
        if (event === 'change') this.events.set(data.version, data);
        if (this.events.size > STATES_MAX) this.events.delete(this.events.keys().next().value);
      }),
    );
    window.addEventListener('rejoin-moved', this.draw);
    window.addEventListener('rejoin-back', this.again);
    this.until(() => {
      window.removeEventListener('rejoin-moved', this.draw);
      window.removeEventListener('rejoin-back', this.again);
    });
    void this.look();
  }

  /** After the server was away: what was not answered is asked again. */
  again = () => {
    for (const kept of [this.states, this.events]) {
      for (const [version, value] of kept) if (value instanceof Error) kept.delete(version);
    }
    void this.document?.refresh();
    void this.look();
    this.draw();
  };

  /** Who is its host and how far its history goes. */
  async look() {
    try {
      const path = `/api/v1/${this.name}`;
      const [{ body }, { body: page }] = await Promise.all([
        rejoin.requests.get(path).catch((error) => {
          if (error.status === 410) return { body: {} };
          throw error;
        }),
        rejoin.requests.get(`${path}/events?limit=1`),
      ]);
      this.info = body;
      this.first = page.firstVersion ?? 1;
      this.wrong = null;
    } catch (error) {
      if (error.status) this.wrong = error;
    }
    this.draw();
  }

  get isHost() {
    return caller.me.administrator || this.info?.host !== undefined;
  }

  /** The state of a version; undefined until it is here, an error when it cannot be had. */
  stateAt(version) {
    if (version === this.document.version && this.document.confirmed) return this.document.confirmed;
    return this.kept(
      this.states,
      version,
      `/api/v1/${this.name}?version=${version}`,
      (body) => body.state,
      (error) => (error.status === 410 ? null : error),
    );
  }

  eventAt(version) {
    return this.kept(
      this.events,
      version,
      `/api/v1/${this.name}/events?after=${version - 1}&limit=1`,
      (body) => body.items[0],
    );
  }

  kept(map, key, path, read, orElse = (error) => error) {
    if (map.has(key)) return map.get(key);
    map.set(key, undefined);
    if (map.size > STATES_MAX) map.delete(map.keys().next().value);
    rejoin.requests
      .get(path)
      .then(
        ({ body }) => map.set(key, read(body)),
        (error) => map.set(key, orElse(error)),
      )
      .then(this.draw);
    return undefined;
  }

  view() {
    const { document } = this;
    const head = [
      h('p.crumbs', {}, link('documents', 'Documents'), ' / ', link(`documents/${this.collection}`, this.collection)),
      h('h1', {}, this.documentId),
    ];
    const isMissing = document?.loaded && document.state === null && document.version === 0;
    if (!document || isMissing || (this.wrong && this.wrong.status !== 410 && !document.loaded)) {
      return [
        h('div.head', {}, h('div', {}, head)),
        empty(
          'There is no such document',
          isMissing || !this.wrong.status ? 'It was never made, or it is not shared with you.' : words(this.wrong),
          link('documents', 'See all documents'),
        ),
      ];
    }
    if (!document.loaded) return [h('div.head', {}, h('div', {}, head)), h('section.panel', {}, skeleton(8))];
    const isGone = document.state === null;
    return [
      h(
        'div.head',
        { 'data-key': 'head' },
        h('div', {}, head),
        h(
          'div.acts',
          {},
          !isGone && button('Edit', () => this.edit(), 'primary'),
          button('Copy as curl', () => this.curl()),
          !isGone && this.isHost && button('Delete', () => this.askToDelete(), 'danger'),
        ),
      ),
      this.movedTo ? movedNote(this.movedTo, `documents/${this.name}`) : null,
      this.facts(document, isGone),
      h(
        'div.columns',
        { 'data-key': 'columns' },
        h(
          'section.panel',
          { 'aria-label': 'State' },
          h('header', {}, h('h2', {}, 'State'), this.pending(document)),
          isGone
            ? empty(
                'It was deleted',
                `Version ${count(document.version)} was its end. Its history is kept for a while.`,
                this.isHost && button('Bring it back', () => this.rollBack(document.version - 1), 'primary'),
              )
            : h('state-tree', { data: { state: document.state, name: this.name } }),
        ),
        h('section.panel', { 'aria-label': 'History' }, this.history(document)),
      ),
    ];
  }

  pending(document) {
    if (document.pending) return badge('warn', `${plural(document.pending, 'change')} not yet saved`);
    return document.durable ? badge('good', 'on disk') : badge('warn', 'in memory');
  }

  facts(document, isGone) {
    const connected = document.players?.filter((one) => one.connected) ?? [];
    const names = connected.map((one) => one.name ?? one.playerId).join(', ');
    return h(
      'p.facts',
      { 'data-key': 'facts' },
      h('span', { 'data-flash': document.version }, 'Version ', count(document.version)),
      isGone && badge('bad', 'deleted'),
      this.info?.host && h('span', {}, 'Host ', this.info.host),
      !isGone && h('span', {}, bytes(JSON.stringify(document.state).length)),
      names && h('span', {}, 'Here now: ', names),
    );
  }

  history(document) {
    const { query } = route();
    const last = document.version;
    const first = Math.min(this.first ?? 1, last);
    const isLive = !query.get('version');
    const version = Math.min(Math.max(Number(query.get('version')) || last, first), last);
    const other = Number(query.get('with')) || null;
    const to = (n) => setQuery({ version: n >= last ? undefined : Math.max(n, first) });
    return [
      h(
        'header',
        {},
        h('h2', {}, 'History'),
        isLive
          ? badge('good', 'the present')
          : button('To the present', () => setQuery({ version: undefined, with: undefined }), 'small'),
      ),
      h(
        'div.slider',
        {},
        button('‹', () => to(version - 1), '', { 'aria-label': 'One version back', disabled: version <= first }),
        h('input', {
          type: 'range',
          min: first,
          max: last,
          value: String(version),
          'aria-label': 'Version',
          'aria-valuetext': `Version ${version} of ${last}`,
          oninput: (event) => to(Number(event.target.value)),
        }),
        button('›', () => to(version + 1), '', { 'aria-label': 'One version on', disabled: version >= last }),
      ),
      this.event(version, last),
      h(
        'div.acts',
        {},
        h('label', { for: 'with' }, 'Compare with version'),
        h('input.number', {
          id: 'with',
          type: 'number',
          min: first,
          max: last,
          value: other ?? '',
          placeholder: String(Math.max(version - 1, first)),
          oninput: (event) => setQuery({ with: event.target.value }),
        }),
      ),
      this.changes(version, other),
      h(
        'div.acts',
        {},
        version < last &&
          this.isHost &&
          button(`Roll back to version ${count(version)}`, () => this.rollBack(version), 'danger'),
        version < last && button('Show this state', () => this.showState(version)),
      ),
    ];
  }

  event(version, last) {
    const event = this.eventAt(version);
    if (event instanceof Error) return h('p.soft', {}, words(event));
    if (!event) return h('div.facts.event', {}, `Version ${count(version)} of ${count(last)}`);
    const payload = event.payload && Object.keys(event.payload).length > 0;
    return h(
      'div.facts.event',
      {},
      h('strong', {}, event.type),
      h('span', {}, `version ${count(version)} of ${count(last)}`),
      h('span', {}, 'by ', event.actor ?? 'unknown'),
      when(event.at),
      payload && h('code.clip', {}, short(event.payload)),
    );
  }

  changes(version, other) {
    const from = other ?? version - 1;
    const [before, after] = [from < (this.first ?? 1) ? {} : this.stateAt(from), this.stateAt(version)];
    if (before === undefined || after === undefined) return skeleton(3);
    for (const one of [before, after]) if (one instanceof Error) return failed(one);
    const title = other ? `From version ${count(from)} to ${count(version)}` : 'What it changed';
    return h('div', {}, h('h3', {}, title), differenceList(difference(before ?? {}, after ?? {})));
  }

  showState(version) {
    const state = this.stateAt(version);
    return dialog(
      `Version ${count(version)}`,
      () => h('div.body', {}, h('pre', { tabindex: '0' }, JSON.stringify(state, null, 2))),
      'wide',
    );
  }

  async rollBack(version) {
    const { body } = await rejoin.requests.get(`/api/v1/${this.name}?version=${version}`).catch((error) => {
      toast(words(error), { bad: true });
      return {};
    });
    if (!body) return;
    const before = this.document.version;
    const found = difference(this.document.confirmed ?? {}, body.state);
    const isSure = await ask(
      `Roll back to version ${count(version)}?`,
      [
        h(
          'p',
          {},
          `${this.name} gets a new version with ` +
            `the state of version ${count(version)}. Nothing of the history goes.`,
        ),
        differenceList(found),
      ],
      'Roll back',
    );
    if (!isSure) return;
    await attempt(async () => {
      await call('POST', `/api/v1/${this.name}/rollback`, { toVersion: version, expectedVersion: before });
      setQuery({ version: undefined, with: undefined });
      toast(`Rolled back to version ${count(version)}.`, {
        undo: () =>
          call('POST', `/api/v1/${this.name}/rollback`, {
            toVersion: before,
          }),
      });
    });
  }

  async askToDelete() {
    const { version } = this.document;
    const isSure = await ask(
      `Delete ${this.name}?`,
      h(
        'p',
        {},
        `Its state goes for everybody at once. Its ${plural(
          version,
          'version',
        )} are kept for a while: until then it can be brought back.`,
      ),
      'Delete',
    );
    if (!isSure) return;
    await attempt(async () => {
      await call('DELETE', `/api/v1/${this.name}`, undefined);
      toast(`${this.name} is deleted.`, {
        undo: () =>
          call('POST', `/api/v1/${this.name}/rollback`, {
            toVersion: version,
          }),
      });
    });
  }

  edit() {
    const { version, confirmed } = this.document;
    return editState(`Edit ${this.name}`, confirmed, 'Save', async (state) => {
      try {
        await call('PUT', `/api/v1/${this.name}`, { state, expectedVersion: version });
      } catch (error) {
        if (error.status !== 409 && error.status !== 412) throw error;
        throw new Error(
          `It has changed while you wrote: it is at version ${this.document.version} now, you began with ` +
            `${version}. Copy what you wrote, close this and edit again.`,
        );
      }
      toast('Saved.', { undo: () => call('POST', `/api/v1/${this.name}/rollback`, { toVersion: version }) });
    });
  }

  curl() {
    const at = `${location.origin}/api/v1/${this.name}`;
    const quoted = (text) => `'${text.replace(/'/g, "'\\''")}'`;
    const all = [
      ['Read it', `curl ${at}`],
      ['Follow it', `curl -N ${at}/events -H 'Accept: text/event-stream'`],
      [
        'Replace its state',
        `curl -X PUT ${at} -H 'Content-Type: application/json' -d ${quoted(
          JSON.stringify({ state: this.document.state ?? {} }),
        )}`,
      ],
      ['Change a part', `curl -X PATCH ${at} -H 'Content-Type: application/merge-patch+json' -d '{"member": "value"}'`],
      ['Read its history', `curl ${at}/events`],
    ];
    return dialog(
      'Copy as curl',
      () =>
        h(
          'div.body',
          {},
          all.map(([title, text]) =>
            h(
              'div.command',
              {},
              h('h3', {}, title),
              h('pre', { tabindex: '0' }, text),
              button('Copy', () => copy(text), 'small'),
            ),
          ),
        ),
      'wide',
    );
  }
}
customElements.define('document-view', DocumentView);

/** Where a text is no JSON, in words, and the place. */
function misfit(text, error) {
  const found = /position (\d+)/.exec(error.message);
  const lineColumn = /line (\d+) column (\d+)/.exec(error.message);
  let at = found ? Number(found[1]) : text.length;
  if (!found && lineColumn) {
    at =
      text
        .split('\n')
        .slice(0, lineColumn[1] - 1)
        .join('\n').length + Number(lineColumn[2]);
  }
  const before = text.slice(0, at).split('\n');
  const why = error.message.replace(/\s*(in JSON )?at position.*$/, '').replace(/^JSON.parse: /, '');
  return { at, text: `Line ${before.length}, column ${before.at(-1).length + 1}: ${why}.` };
}

/** A dialog with a state as text. */
export function editState(title, state, act, send, more = []) {
  return dialog(
    title,
    (close) => {
      const wrong = h('p.note.bad', { role: 'alert', id: 'wrong', hidden: true });
      const area = h('textarea.code', {
        'aria-label': 'State as JSON',
        'aria-describedby': 'wrong',
        spellcheck: 'false',
        value: JSON.stringify(state, null, 2),
      });
      const say = (text) => {
        wrong.textContent = text;
        wrong.hidden = !text;
        area.setAttribute('aria-invalid', String(Boolean(text)));
      };
      const read = () => {
        try {
          const value = JSON.parse(area.value);
          if (value === null || typeof value !== 'object' || Array.isArray(value))
            throw new Error('a state is an object');
          say('');
          return value;
        } catch (error) {
          const found = misfit(area.value, error);
          say(found.text);
          return found;
        }
      };
      area.addEventListener('input', read);
      area.addEventListener('keydown', (event) => {
        if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) area.form.requestSubmit();
      });
      return h(
        'form',
        {
          onsubmit: async (event) => {
            event.preventDefault();
            const value = read();
            if (!wrong.hidden) {
              area.focus();
              area.setSelectionRange(value.at, value.at + 1);
              return;
            }
            const values = Object.fromEntries(
              [...event.target.elements].filter((one) => one.name).map((one) => [one.name, one.value.trim()]),
            );
            try {
              close((await send(value, values)) ?? true);
            } catch (error) {
              say(error.status || error.kind ? words(error) : error.message);
            }
          },
        },
        h('div.body', {}, more, area, wrong),
        h(
          'div.acts',
          {},
          button('Cancel', () => close()),
          h(
            'button.primary',
            {
              type: 'submit',
            },
            act,
          ),
        ),
      );
    },
    'wide',
  );
}

/** Asks for a new document, and goes there. */
async function create(collection = '') {
  const field = (name, label, value, hint, more = {}) =>
    h(
      'div.field',
      {},
      h('label', { for: `f-${name}` }, label),
      h('input', { id: `f-${name}`, name, value, autocomplete: 'off', spellcheck: 'false', ...more }),
      h('small', {}, hint),
    );
  const made = await editState(
    'Create a document',
    { title: '' },
    'Create',
    (state, { collection: into, id }) =>
      call('POST', `/api/v1/${encodeURIComponent(into)}`, { ...(id && { id }), state }),
    [
      field('collection', 'Collection', collection, 'Lower-case letters, digits and “-”. It need not exist yet.', {
        required: true,
        autofocus: !collection,
      }),
      field('id', 'Id', '', 'Left empty: the server chooses one.', { autofocus: Boolean(collection) }),
    ],
  );
  if (made?.id) go(`documents/${made.collection}/${made.id}`);
}
