// Games: tables, who sits there, what is stored of them, how a player sees them, and where they go.

import {
  ask,
  attempt,
  badge,
  bytes,
  button,
  call,
  caller,
  count,
  createRejoin,
  differenceList,
  dialog,
  difference,
  empty,
  followFor,
  form,
  go,
  h,
  link,
  movedNote,
  ownDocuments,
  panel,
  Part,
  plural,
  rejoin,
  route,
  setQuery,
  shown,
  skeleton,
  table,
  toast,
  when,
  words,
} from './app.js';

class GamesScreen extends Part {
  start() {
    this.moved();
  }

  moved() {
    if (route().query.get('create')) {
      setQuery({ create: undefined });
      void create();
    }
    if (route().rest.length || ownDocuments()) return;
    const cursor = route().query.get('cursor');
    const path = `/api/v1/games?fields=title,maxSeats&sort=-updatedAt&limit=50${
      cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''
    }`;
    if (this.list) this.list.go(path);
    else this.list = this.fetch(path, 3);
  }

  view() {
    const {
      rest: [id],
      query,
    } = route();
    if (id) return h('game-view', { class: 'page', 'data-key': id });
    const own = ownDocuments();
    if (own) {
      const mine = own.filter((name) => name.startsWith('games/'));
      return [
        h('h1', {}, 'Games'),
        panel(
          'Yours',
          null,
          mine.length
            ? h(
                'ul.list',
                {},
                mine.map((name) => h('li', {}, link(name, name))),
              )
            : empty('No game yet', 'When the host invites you to one, it is here.'),
        ),
      ];
    }
    return [
      h('div.head', {}, h('h1', {}, 'Games'), button('Make a game', create, 'primary')),
      panel(
        'Tables',
        null,
        shown(this.list, ({ items, nextCursor }) =>
          items.length
            ? [
                table(
                  ['Game', 'Seats', 'Version', 'Changed'],
                  items.map((one) =>
                    Object.assign(
                      [
                        one.movedTo
                          ? movedNote(one.movedTo, `games/${one.id}`)
                          : link(`games/${one.id}`, one.state?.title ?? one.id),
                        one.movedTo ? badge('info', 'moved') : plural(one.state?.maxSeats ?? 10, 'seat'),
                        h('span', {}, 'v', count(one.version)),
                        when(one.updatedAt),
                      ],
                      { key: one.id, flash: one.version },
                    ),
                  ),
                ),
                h(
                  'div.acts',
                  {},
                  query.get('cursor') && button('First page', () => setQuery({ cursor: undefined })),
                  nextCursor && button('Next page', () => setQuery({ cursor: nextCursor }, true)),
                ),
              ]
            : empty(
                'No games yet',
                'A game is a document with seats. Players take one, leave, lose their connection and get their ' +
                  'seat back.',
                button('Make the first', create, 'primary'),
              ),
        ),
      ),
    ];
  }
}
customElements.define('screen-games', GamesScreen);

async function create() {
  const made = await form(
    'Make a game',
    [
      { name: 'title', label: 'Title', required: true, maxlength: 100, autocomplete: 'off' },
      { name: 'seats', label: 'Seats', type: 'number', min: 1, max: 1000, value: '4', required: true },
    ],
    'Make it',
    ({ title, seats }) => call('POST', '/api/v1/games', { state: { title, maxSeats: Number(seats) } }),
  );
  if (made?.id) go(`games/${made.id}`);
}

/** One game. */
class GameView extends Part {
  info = null;
  wrong = null;
  eye = null;
  eyeFor = null;

  start() {
    [this.gameId] = route().rest;
    this.name = `games/${this.gameId}`;
    try {
      this.game = followFor(this, this.name);
    } catch {
      return;
    }
    this.until(() => this.closeEye());
    const gone = () =>
      this.eye && fetch(`/api/v1/admin/sessions/${this.eye.session.id}`, { method: 'DELETE', keepalive: true });
    window.addEventListener('pagehide', gone);
    this.until(() => window.removeEventListener('pagehide', gone));
    let seatsOf = '';
    this.until(
      this.game.subscribe(() => {
        // Seats and figures follow what the stream tells.
        const now = `${this.game.version} ${(this.game.players ?? []).map((one) => `${one.playerId}${one.connected}`)}`;
        if (now !== seatsOf) void this.seats?.refresh();
        seatsOf = now;
        void this.openEye();
        this.draw();
      }),
    );
    for (const name of ['rejoin-moved', 'rejoin-back']) {
      const fn = () => {
        if (name === 'rejoin-back') {
          void this.game.refresh();
          void this.look();
        }
        void this.openEye();
        this.draw();
      };
      window.addEventListener(name, fn);
      this.until(() => window.removeEventListener(name, fn));
    }
    this.seats = this.fetch(`/api/v1/${this.name}/seats`, 10);
    this.stored = this.fetch(`/api/v1/${this.name}/persistence`, 5);
    void this.look();
    void this.openEye();
  }

  async look() {
    try {
      this.info = (await rejoin.requests.get(`/api/v1/${this.name}`)).body;
    } catch (error) {
      if (error.status) this.wrong = error;
    }
    this.draw();
  }

  get isHost() {
    return caller.me.administrator || this.info?.host !== undefined;
  }

  view() {
    const { game } = this;
    const title = h(
      'div',
      {},
      h('p.crumbs', {}, link('games', 'Games')),
      h('h1', {}, game?.state?.title ?? this.gameId),
    );
    if (!game || (game.loaded && !game.state) || (this.wrong && !game.loaded)) {
      return [
        title,
        empty(
          'There is no such game',
          'It was removed or never made, or it is not shared with you.',
          link('games', 'See all games'),
        ),
      ];
    }
    if (!game.loaded) return [title, h('section.panel', {}, skeleton(6))];
    const completed = this.info?.completedAt ?? game.state.completedAt;
    return [
      h(
        'div.head',
        { 'data-key': 'head' },
        title,
        this.isHost &&
          h(
            'div.acts',
            {},
            button('Persist', () => this.persist()),
            button('Restore', () => this.restore()),
            button('Migrate', () => this.migrate()),
            button('Complete', () => this.complete()),
            button('Document', () => go(`documents/${this.name}`)),
          ),
      ),
      this.movedTo ? movedNote(this.movedTo, this.name) : null,
      h(
        'p.facts',
        { 'data-key': 'facts' },
        h('span', { 'data-flash': game.version }, 'Version ', count(game.version)),
        game.durable ? badge('good', 'on disk') : badge('warn', 'in memory'),
        completed && badge('idle', 'completed'),
      ),
      h(
        'div.columns',
        { 'data-key': 'columns' },
        h('section.panel', { 'aria-label': 'State' }, this.stateHeader(), this.stateShown()),
        h('div.stack', {}, this.seatPanel(), this.storedPanel()),
      ),
    ];
  }

  stateHeader() {
    const seated = this.seats.value?.items ?? [];
    const as = route().query.get('as') ?? '';
    return h(
      'header',
      {},
      h('h2', {}, as ? `As ${as} sees it` : 'State'),
      caller.me.administrator &&
        seated.length > 0 &&
        h(
          'label.inline',
          {},
          'View as ',
          h(
            'select',
            { value: as, onchange: (event) => setQuery({ as: event.target.value }) },
            h('option', { value: '' }, 'myself'),
            seated.map((one) =>
              h('option', { value: one.playerId, selected: one.playerId === as }, one.name ?? one.playerId),
            ),
          ),
        ),
    );
  }

  stateShown() {
    const as = route().query.get('as');
    if (!as) return h('state-tree', { data: { state: this.game.state, name: this.name } });
    const seen = this.eyeFor === as ? this.eye?.seen : undefined;
    if (this.eyeError) return h('p.note.bad', { role: 'alert' }, words(this.eyeError));
    if (seen === undefined) return skeleton(5);
    if (seen === null) return h('p.note.warn', {}, `${as} may not see this game.`);
    const found = difference(this.game.confirmed, seen);
    return [
      h('state-tree', { data: { state: seen, name: `${this.name} ${as}` } }),
      found.length > 0 &&
        h(
          'details',
          {},
          h('summary', {}, `${plural(found.length, 'place')} that ${as} does not see as you do`),
          differenceList(found),
        ),
    ];
  }

  /** Looks with a session of the player's, so that it is the server that leaves out what they may not see. It follows
   * nothing: who looks as somebody does not make them seem to be here. */
  async openEye() {
    const as = route().query.get('as');
    if (as !== this.eyeFor) {
      this.closeEye();
      this.eyeFor = as;
      this.eyeError = null;
      if (!as || !caller.me.administrator) return;
      try {
        const session = await call('POST', '/api/v1/sessions', {
          user: as,
          device: { name: 'view as, from the dashboard' },
        });
        const eye = { session, client: createRejoin({ token: session.token }), seen: undefined };
        if (this.eyeFor !== as || !this.isConnected) return this.endEye(eye);
        this.eye = eye;
      } catch (error) {
        this.eyeError = error;
      }
    }
    const { eye } = this;
    if (eye && eye.version !== this.game.version) {
      eye.version = this.game.version;
      try {
        eye.seen = (await eye.client.requests.get(`/api/v1/${this.name}`)).body.state;
      } catch (error) {
        if (error.status) eye.seen = null;
        eye.version = undefined;
      }
    }
    this.draw();
  }

  closeEye() {
    if (this.eye) this.endEye(this.eye);
    this.eye = this.eyeFor = null;
  }

  endEye({ client, session }) {
    client.close();
    void call('DELETE', `/api/v1/admin/sessions/${session.id}`).catch(() => {});
  }

  seatPanel() {
    const seats = Number(this.game.state.maxSeats ?? 10);
    return panel(
      'Seats',
      this.isHost && button('Seat somebody', () => this.seat(), 'small'),
      shown(this.seats, ({ items }) =>
        items.length
          ? [
              h(
                'ul.list',
                {},
                items.map((one) =>
                  h(
                    'li',
                    { 'data-key': one.playerId, 'data-flash': String(one.connected) },
                    h('span', {}, h('span.soft', {}, `${one.seat + 1} `), h('strong', {}, one.name ?? one.playerId)),
                    h(
                      'span.right',
                      {},
                      one.connected ? badge('good', 'here') : badge('idle', one.lastSeen ? seen(one) : 'not here'),
                    ),
                    this.isHost &&
                      button('Leave', () => this.leave(one), 'small', {
                        'aria-label': `Leave: take ${one.playerId} from the seat`,
                      }),
                  ),
                ),
              ),
              h('p.soft', {}, `${plural(Math.max(0, seats - items.length), 'seat')} free`),
            ]
          : h('p.soft', {}, `Nobody sits here. ${plural(seats, 'seat')} free.`),
      ),
    );
  }

  storedPanel() {
    const fact = (name, value) => h('li', {}, h('span.soft', {}, name), h('span.right', {}, value));
    return panel(
      'On disk',
      null,
      shown(this.stored, (one) =>
        h(
          'ul.list',
          {},
          fact('Stored version', `${count(one.persistedVersion)} of ${count(one.version)}`),
          fact('Stored', when(one.lastPersisted)),
          fact('Events', count(one.events)),
          one.bytes !== undefined && fact('Size', bytes(one.bytes)),
          one.snapshots !== undefined && fact('Snapshots', count(one.snapshots)),
          // Null until something was saved since the start.
          typeof one.server?.commitP99Ms === 'number' &&
            fact(
              'Saving takes',
              `${one.server.commitP50Ms.toFixed(1)} ms, 99 % within ${one.server.commitP99Ms.toFixed(1)} ms`,
            ),
        ),
      ),
    );
  }

  seat() {
    return form(
      'Seat somebody',
      [
        { name: 'playerId', label: 'Player', required: true, autocomplete: 'off', spellcheck: 'false' },
        { name: 'seat', label: 'Seat', type: 'number', min: 1, hint: 'Left empty: the lowest free one.' },
      ],
      'Seat them',
      async ({ playerId, seat }) => {
        await call('POST', `/api/v1/${this.name}/seats`, { playerId, ...(seat && { seat: Number(seat) - 1 }) });
        await this.seats.refresh();
      },
    );
  }

  leave(one) {
    return attempt(async () => {
      await call('DELETE', `/api/v1/${this.name}/seats/${encodeURIComponent(one.playerId)}`);
      await this.seats.refresh();
      toast(`${one.playerId} has left the seat.`, {
        undo: async () => {
          await call('POST', `/api/v1/${this.name}/seats`, { playerId: one.playerId, seat: one.seat });
          await this.seats.refresh();
        },
      });
    });
  }

  persist() {
    return attempt(async () => {
      const done = await call('POST', `/api/game/${this.gameId}/persist`, { gameId: this.gameId });
      await this.stored.refresh();
      toast(`Stored whole, as version ${count(done.version)}.`);
    });
  }

  restore() {
    return attempt(async () => {
      const { body } = await rejoin.requests.send('GET', `/api/game/${this.gameId}/restore`, { timeout: 60_000 });
      const found = difference(body.state, this.game.confirmed ?? {});
      await dialog('Read back from disk', () =>
        h(
          'div.body',
          {},
          h(
            'p',
            {},
            badge('good', 'verified'),
            ` Its whole history was ` + `read and adds up to version ${count(body.version)}.`,
          ),
          found.length ? differenceList(found) : h('p.soft', {}, 'It is what is in memory.'),
        ),
      );
    });
  }

  async complete() {
    const isSure = await ask(
      'Complete this game?',
      h(
        'p',
        {},
        `${this.game.state.title ?? this.gameId} is over then: its ` +
          'history is kept for a day and its state for a week, unless the server is configured otherwise. This ' +
          'cannot be undone.',
      ),
      'Complete',
    );
    if (!isSure) return;
    await attempt(async () => {
      const { completedAt } = await call('POST', `/api/v1/${this.name}/complete`, {});
      this.info = { ...this.info, completedAt };
      this.draw();
    }, 'The game is completed.');
  }

  migrate() {
    return form(
      'Move the game to another server',
      [
        {
          name: 'to',
          label: 'Its address',
          type: 'url',
          required: true,
          placeholder: 'http://gamebox:7766',
          hint:
            'Another Rejoin on this machine or the tailnet. The whole history moves, with the seats; ' +
            'players go on there by themselves.',
        },
      ],
      'Move it',
      async ({ to }) => {
        const moved = await call('POST', `/api/v1/${this.name}/migrate`, { to });
        this.movedTo = moved.to;
        toast(`It goes on at ${moved.to}${moved.confirmed ? '' : ', which has not confirmed it yet'}.`);
      },
    );
  }
}
customElements.define('game-view', GameView);

const seen = (one) => ['seen ', when(one.lastSeen)];
