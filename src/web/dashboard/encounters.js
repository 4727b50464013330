// Encounters: a tracker to run an evening on, the players' view of it, and the review of interactions.

import {
  ask,
  attempt,
  badge,
  button,
  call,
  caller,
  copy,
  count,
  dialog,
  empty,
  followFor,
  form,
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
  shown,
  skeleton,
  table,
  toast,
  when,
  words,
} from './app.js';

const CONDITIONS = [
  'Blinded',
  'Charmed',
  'Concentrating',
  'Deafened',
  'Exhausted',
  'Frightened',
  'Grappled',
  'Incapacitated',
  'Invisible',
  'Paralyzed',
  'Petrified',
  'Poisoned',
  'Prone',
  'Restrained',
  'Stunned',
  'Unconscious',
];
/** From the System Reference Document: name, armour class, hit points, dexterity. */
const MONSTERS = [
  ['Bandit', 12, 11, 12],
  ['Bandit captain', 15, 65, 16],
  ['Basilisk', 15, 52, 8],
  ['Black bear', 11, 19, 10],
  ['Bugbear', 16, 27, 14],
  ['Cultist', 12, 9, 12],
  ['Dire wolf', 14, 37, 15],
  ['Doppelganger', 14, 52, 18],
  ['Fire elemental', 13, 102, 17],
  ['Gargoyle', 15, 52, 11],
  ['Ghoul', 12, 22, 15],
  ['Giant spider', 14, 26, 16],
  ['Gnoll', 15, 22, 12],
  ['Goblin', 15, 7, 14],
  ['Guard', 16, 11, 12],
  ['Harpy', 11, 38, 13],
  ['Hill giant', 13, 105, 8],
  ['Hobgoblin', 18, 11, 12],
  ['Kobold', 12, 5, 15],
  ['Lizardfolk', 15, 22, 10],
  ['Manticore', 14, 68, 16],
  ['Minotaur', 14, 76, 11],
  ['Mummy', 11, 58, 8],
  ['Ogre', 11, 59, 8],
  ['Orc', 13, 15, 12],
  ['Owlbear', 13, 59, 12],
  ['Skeleton', 13, 13, 14],
  ['Specter', 12, 22, 14],
  ['Stirge', 14, 2, 16],
  ['Troll', 15, 84, 13],
  ['Vampire spawn', 15, 82, 16],
  ['Wight', 14, 45, 14],
  ['Wolf', 13, 11, 15],
  ['Worg', 13, 26, 13],
  ['Young red dragon', 18, 178, 10],
  ['Zombie', 8, 22, 6],
];
const STATUS = {
  planning: 'info',
  active: 'good',
  paused: 'warn',
  completed: 'idle',
  idle: 'idle',
  'in-progress': 'good',
  'waiting-for-players': 'info',
  'waiting-for-dm': 'warn',
  cancelled: 'idle',
};
const statusBadge = (status) => badge(STATUS[status] ?? 'info', (status ?? '').replaceAll('-', ' '));

class EncountersScreen extends Part {
  start() {
    this.moved();
  }

  moved() {
    const { rest, query } = route();
    if (query.get('create')) {
      setQuery({ create: undefined });
      void create();
    }
    if (rest.length || ownDocuments()) return;
    this.list ??= this.fetch('/api/v1/encounters?fields=name,status,round&sort=-updatedAt&limit=50', 3);
    this.interactions ??= this.fetch(
      '/api/v1/interactions?fields=name,status,pending,turn&sort=-updatedAt&limit=50',
      3,
    );
  }

  view() {
    const {
      rest: [id, second],
    } = route();
    if (id === 'interactions' && second)
      return h('interaction-view', { class: 'page', 'data-key': `interactions/${second}` });
    if (id) return h('encounter-view', { class: 'page', 'data-key': `encounters/${id}` });
    const own = ownDocuments();
    if (own) {
      const mine = own.filter((name) => /^(encounters|interactions)\//.test(name));
      return [
        h('h1', {}, 'Encounters'),
        panel(
          'Yours',
          null,
          mine.length
            ? h(
                'ul.list',
                {},
                mine.map((name) =>
                  h(
                    'li',
                    {},
                    link(
                      name.replace(/^encounters\//, 'encounters/').replace(/^interactions/, 'encounters/interactions'),
                      name,
                    ),
                  ),
                ),
              )
            : empty('No encounter yet', 'When the host invites you to one, it is here.'),
        ),
      ];
    }
    const waiting = this.interactions.value?.items.filter((one) => one.state?.status === 'waiting-for-dm') ?? [];
    return [
      h('div.head', {}, h('h1', {}, 'Encounters'), button('Make an encounter', create, 'primary')),
      waiting.length
        ? panel(
            `${plural(waiting.length, 'action')} to review`,
            null,
            h(
              'ul.list',
              {},
              waiting.map((one) =>
                h(
                  'li',
                  { 'data-key': one.id },
                  link(`encounters/interactions/${one.id}`, one.state?.name ?? one.id),
                  h(
                    'span.soft',
                    {},
                    one.state?.pending ? `${one.state.pending.playerId}: ${one.state.pending.action}` : '',
                  ),
                  h('span.right', {}, statusBadge('waiting-for-dm')),
                ),
              ),
            ),
          )
        : null,
      panel(
        'Encounters',
        null,
        shown(this.list, ({ items }) =>
          items.length
            ? table(
                ['Name', 'Status', 'Round', 'Changed'],
                items.map((one) =>
                  Object.assign(
                    [
                      link(`encounters/${one.id}`, one.state?.name || one.id),
                      statusBadge(one.state?.status),
                      one.state?.round ? count(one.state.round) : '–',
                      when(one.updatedAt),
                    ],
                    { key: one.id, flash: one.version },
                  ),
                ),
              )
            : empty(
                'No encounters yet',
                'An encounter keeps initiative, turns, hit points and conditions, and every player ' +
                  'follows it on their own phone.',
                button('Make the first', create, 'primary'),
              ),
        ),
      ),
      panel(
        'Interactions',
        button('Begin one', createInteraction, 'small'),
        shown(
          this.interactions,
          ({ items }) =>
            items.length
              ? table(
                  ['Name', 'Status', 'Changed'],
                  items.map((one) =>
                    Object.assign(
                      [
                        link(`encounters/interactions/${one.id}`, one.state?.name ?? one.id),
                        statusBadge(one.state?.status),
                        when(one.updatedAt),
                      ],
                      { key: one.id, flash: one.version },
                    ),
                  ),
                )
              : h('p.soft', {}, 'Players say in turn what they do, and you review it. There is none yet.'),
          2,
        ),
      ),
    ];
  }
}
customElements.define('screen-encounters', EncountersScreen);

/** An id of a name. */
const idOf = (name) =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 60);

async function create() {
  const made = await form(
    'Make an encounter',
    [
      {
        name: 'name',
        label: 'Name',
        required: true,
        maxlength: 100,
        placeholder: 'Goblins at the bridge',
        autocomplete: 'off',
      },
    ],
    'Make it',
    async ({ name }) => {
      const id = idOf(name);
      try {
        return await call('POST', '/api/v1/encounters', { ...(id && { id }), state: { name } });
      } catch (error) {
        if (error.status !== 409 && error.status !== 412) throw error;
        return call('POST', '/api/v1/encounters', { state: { name } });
      }
    },
  );
  if (made?.id) go(`encounters/${made.id}`);
}

async function createInteraction() {
  const made = await form(
    'Begin an interaction',
    [
      { name: 'name', label: 'Name', required: true, maxlength: 100 },
      { name: 'campaignId', label: 'Campaign', value: 'campaign', required: true, hint: 'The id of its campaign.' },
    ],
    'Begin',
    ({ name, campaignId }) => call('POST', '/api/v1/interactions', { state: { name, campaignId } }),
  );
  if (made?.id) {
    await attempt(() => call('POST', `/api/v1/interactions/${made.id}/actions`, { type: 'open' }));
    go(`encounters/interactions/${made.id}`);
  }
}

/** Something that is acted on: followed, with who its host is, and what can be taken back. */
class ActedOn extends Part {
  undo = [];
  info = null;
  isBusy = false;

  /** `address`: where it is in the dashboard. */
  follow(name, address = name) {
    this.name = name;
    this.address = address;
    try {
      this.document = followFor(this, name);
    } catch (error) {
      this.wrong = error;
      return;
    }
    const back = () => {
      void this.document.refresh();
      void this.look();
    };
    window.addEventListener('rejoin-back', back);
    this.until(() => window.removeEventListener('rejoin-back', back));
    void this.look();
  }

  async look() {
    try {
      this.info = (await rejoin.requests.get(`/api/v1/${this.name}`)).body;
      this.wrong = null;
    } catch (error) {
      if (error.status) this.wrong = error;
    }
    this.draw();
  }

  get isHost() {
    return caller.me.administrator || this.info?.host !== undefined;
  }

  /** Acts; while the server is away it is kept and sent when it is back. */
  async act(type, payload = {}) {
    const before = this.document.version;
    try {
      const answer = await this.document.act({ type, payload });
      if (answer?.queued) toast('Kept, and sent when the server is back.');
      else this.undo.push(before);
      if (this.undo.length > 100) this.undo.shift();
      const checks = answer?.checks ?? (answer?.check ? [answer.check] : answer?.payload?.checks);
      for (const { combatantId, dc } of checks ?? []) toast(`${this.nameOf?.(combatantId)}: concentration, DC ${dc}.`);
      this.draw();
      return true;
    } catch (error) {
      toast(words(error), { bad: true });
      return false;
    }
  }

  async takeBack() {
    const to = this.undo.pop();
    this.draw();
    if (to) {
      await attempt(() => call('POST', `/api/v1/${this.name}/rollback`, { toVersion: to }), 'Taken back.');
    }
  }

  /** A link, with its code, that opens the players' view for one of them. `players` are `[user, what they play]`. */
  async invite(players) {
    const known = caller.me.administrator ? players.map(([id, name]) => [id, `${id}, who plays ${name}`]) : [];
    const made = await form(
      'Invite players',
      [{ name: 'user', label: 'Who', kind: 'select', options: [...known, ['', 'anybody, who gives a name']] }],
      'Make a link',
      ({ user }) =>
        call('POST', '/api/v1/invitations', {
          ...(user ? { user } : { name: 'ask', uses: 20 }),
          documents: [this.name],
          to: `/_/#/${this.address}`,
        }),
    );
    if (!made) return;
    await dialog('The players’ view', () =>
      h(
        'div.body.qr',
        {},
        h('img', {
          src: `data:image/svg+xml,${encodeURIComponent(made.qr)}`,
          alt: 'QR code of the link',
          width: 260,
          height: 260,
        }),
        h(
          'p',
          {},
          'Scan it with a phone, or send the link. ' +
            `It is good for ${plural(made.uses, 'person', 'people')}, for a day.`,
        ),
        h('code', {}, made.url),
        button('Copy the link', () => copy(made.url), 'primary'),
      ),
    );
  }

  /** What is shown while there is no state; undefined when there is one. */
  instead(title) {
    const { document } = this;
    if (document?.loaded && document.state) return undefined;
    const head = h('div', {}, h('p.crumbs', {}, link('encounters', 'Encounters')), h('h1', {}, title));
    if (document && !document.loaded && !this.wrong) return [head, h('section.panel', {}, skeleton(8))];
    return [
      head,
      empty(
        'It is not here',
        'It was deleted or never made, or it is not shared with you.',
        link('encounters', 'See all'),
      ),
    ];
  }
}

const isNarrow = matchMedia('(max-width: 64rem)');

/** One encounter: for its host to run, for players to follow and act in. */
class EncounterView extends ActedOn {
  amount = '';
  condition = { name: CONDITIONS[0], rounds: '' };

  start() {
    this.follow(`encounters/${route().rest[0]}`);
    for (const [target, name, fn] of [
      [window, 'rejoin-moved', this.draw],
      [isNarrow, 'change', this.draw],
      [document, 'keydown', this.key],
    ]) {
      target.addEventListener(name, fn);
      this.until(() => target.removeEventListener(name, fn));
    }
  }

  key = (event) => {
    if (event.target.closest?.('input, textarea, select, dialog') || event.ctrlKey || event.metaKey || event.altKey)
      return;
    const { status } = this.document?.state ?? {};
    if (!this.isHost || status !== 'active') return;
    if (event.key === 'n') void this.act('nextTurn', { skipDown: true });
    else if (event.key === 'p') void this.act('previousTurn');
    else return;
    event.preventDefault();
  };

  /** A combatant with what only the host sees of it. */
  combatant(id) {
    const { combatants, hidden } = this.document.state;
    const secret = hidden?.combatants?.[id];
    return combatants[id] && { ...combatants[id], ...secret, id, shownAs: secret?.alias ? combatants[id].name : null };
  }

  nameOf(id) {
    return this.combatant(id)?.name ?? id;
  }

  get selected() {
    return this.combatant(route().query.get('combatant') ?? '') ?? null;
  }

  view() {
    const instead = this.instead(route().rest[0]);
    if (instead) return instead;
    const { state } = this.document;
    const { selected } = this;
    return [
      h(
        'div.head',
        { 'data-key': 'head' },
        h('div', {}, h('p.crumbs', {}, link('encounters', 'Encounters')), h('h1', {}, state.name || route().rest[0])),
        this.isHost &&
          h(
            'div.acts',
            {},
            button('Undo', () => this.takeBack(), '', {
              disabled: !this.undo.length,
            }),
            button('Invite players', () =>
              this.invite(
                state.order
                  .map((id) => this.combatant(id))
                  .filter((one) => one?.playerId)
                  .map((one) => [one.playerId, one.name]),
              ),
            ),
            button('Document', () => go(`documents/${this.name}`)),
          ),
      ),
      this.turnBar(state),
      this.isHost && state.status === 'planning' ? this.preparation(state) : null,
      h(
        'div',
        { class: selected ? 'columns tracker' : 'stack tracker', 'data-key': 'tracker' },
        h(
          'section.panel',
          { 'aria-label': 'Initiative' },
          state.order.length
            ? h(
                'ol.order',
                {},
                state.order.map((id) => this.row(state, id, selected)),
              )
            : empty(
                'Nobody is in it yet',
                this.isHost
                  ? 'Add monsters from the list and the players’ characters, roll ' + 'initiative and start.'
                  : 'The host is still preparing.',
              ),
        ),
        selected && !isNarrow.matches
          ? h('section.panel.sheet', { 'aria-label': selected.name }, this.sheet(state, selected))
          : null,
      ),
    ];
  }

  turnBar(state) {
    const turn = state.turn && this.combatant(state.turn);
    const isMine = turn?.playerId && turn.playerId === caller.me.user;
    const words =
      state.status === 'planning'
        ? 'Planning'
        : state.status === 'completed'
          ? 'It is over'
          : turn
            ? isMine && !this.isHost
              ? 'Your turn'
              : turn.name
            : '–';
    const isRunning = state.status === 'active';
    return h(
      'section.turn',
      { 'data-key': 'turn', 'aria-label': 'Turn', class: isRunning ? 'running' : '' },
      h(
        'div',
        { 'data-flash': state.turn },
        h('p.soft', {}, state.round ? `Round ${count(state.round)}` : statusBadge(state.status)),
        h('p.big', { role: 'status' }, words),
      ),
      this.isHost
        ? h(
            'div.acts',
            {},
            isRunning && button('Previous turn', () => this.act('previousTurn'), '', { title: 'p' }),
            isRunning && button('Next turn', () => this.act('nextTurn', { skipDown: true }), 'primary', { title: 'n' }),
            isRunning && button('Pause', () => this.act('pause')),
            state.status === 'paused' && button('Resume', () => this.act('resume'), 'primary'),
            (isRunning || state.status === 'paused') && button('Complete', () => this.complete()),
            state.status === 'planning' &&
              button('Start', () => this.begin(state), 'primary', { disabled: !state.order.length }),
            state.status === 'completed' && badge('idle', 'completed'),
          )
        : isMine && isRunning && button('End my turn', () => this.act('endTurn'), 'primary'),
    );
  }

  preparation(state) {
    return h(
      'div.acts',
      { 'data-key': 'preparation' },
      button('Add monsters', () => this.addMonsters()),
      button('Add a player', () => this.addPlayer()),
      button('Add a party', () => this.addParty()),
      state.order.length > 0 && button('Roll initiative', () => this.act('rollInitiative')),
    );
  }

  row(state, id, selected) {
    const one = this.combatant(id);
    if (!one) return null;
    const isTurn = state.turn === id;
    const isSelected = selected?.id === id;
    const { hitPoints } = one;
    return h(
      'li',
      { 'data-key': id, 'aria-current': isTurn ? 'true' : null, class: `${one.side} ${one.down ? 'down' : ''}` },
      h(
        'button.combatant',
        {
          type: 'button',
          'aria-expanded': String(isSelected),
          onclick: () => setQuery({ combatant: isSelected ? undefined : id }),
        },
        h('span.initiative', {}, one.initiative ?? '–'),
        h(
          'span.who',
          {},
          h('strong', {}, one.name),
          one.shownAs && h('small.soft', {}, ` seen as ${one.shownAs}`),
          h(
            'span.marks',
            {},
            isTurn && badge('info', 'turn'),
            one.down && badge('bad', 'down'),
            one.concealed && this.isHost && badge('idle', 'concealed'),
            (one.conditions ?? []).map((condition) =>
              h('span.chip', {}, condition.name, condition.rounds ? ` ${condition.rounds}` : ''),
            ),
          ),
        ),
        hitPoints
          ? h(
              'span.hp',
              { 'data-flash': `${hitPoints.current} ${hitPoints.temporary}` },
              h(
                'span',
                {},
                h('b', {}, count(hitPoints.current)),
                ` / ${hitPoints.maximum}`,
                hitPoints.temporary ? ` +${hitPoints.temporary}` : '',
              ),
              bar(hitPoints),
            )
          : h('span.hp.soft', {}, ''),
      ),
      isSelected && isNarrow.matches && h('div.sheet', {}, this.sheet(state, one)),
    );
  }

  canAct(one) {
    return this.isHost || (one.playerId && one.playerId === caller.me.user);
  }

  /** All that is done to one combatant. */
  sheet(state, one) {
    const facts = h(
      'p.facts',
      {},
      one.armorClass != null && h('span', {}, `AC ${one.armorClass}`),
      h('span', {}, one.side),
      one.playerId && h('span', {}, `played by ${one.playerId}`),
    );
    if (!this.canAct(one)) return [h('h2', {}, one.name), facts];
    const over = state.status === 'completed';
    const n = () => Number.parseInt(this.amount, 10);
    const strike = async (type) => {
      if (!(n() > 0)) {
        toast('Give an amount first.', { bad: true });
        return;
      }
      const payload = { combatantId: one.id, amount: n() };
      this.amount = '';
      this.draw();
      await this.act(type, payload);
    };
    const set = (text) => {
      this.amount = text.replace(/\D/g, '').slice(0, 4);
      this.draw();
    };
    return [
      h(
        'header',
        {},
        h('h2', {}, one.name),
        button('Close', () => setQuery({ combatant: undefined }), 'small'),
      ),
      facts,
      one.hitPoints &&
        h(
          'div.pad',
          { 'data-key': 'pad' },
          h(
            'div.points',
            {},
            button('−', () => this.act('damage', { combatantId: one.id, amount: 1 }), 'step', {
              'aria-label': `1 damage to ${one.name}`,
              disabled: over,
            }),
            h(
              'p.big',
              { 'data-flash': one.hitPoints.current },
              count(one.hitPoints.current),
              h('small.soft', {}, ` / ${one.hitPoints.maximum}`),
            ),
            button('+', () => this.act('heal', { combatantId: one.id, amount: 1 }), 'step', {
              'aria-label': `Heal ${one.name} by 1`,
              disabled: over,
            }),
          ),
          h(
            'form',
            {
              onsubmit: (event) => {
                event.preventDefault();
                void strike('damage');
              },
            },
            h('input', {
              'aria-label': `Amount for ${one.name}`,
              inputmode: 'numeric',
              placeholder: '0',
              autocomplete: 'off',
              value: this.amount,
              oninput: (event) => set(event.target.value),
            }),
            h(
              'div.acts',
              {},
              h('button.danger', { type: 'submit', disabled: over }, 'Damage'),
              button('Heal', () => strike('heal'), 'heal', { disabled: over }),
              button('Temp', () => strike('setTemporaryHitPoints'), '', {
                disabled: over,
                'aria-label': 'Temp hit points',
              }),
            ),
          ),
          h(
            'div.keys',
            { 'aria-label': 'Number pad', role: 'group' },
            ['7', '8', '9', '4', '5', '6', '1', '2', '3', 'C', '0', '⌫'].map((key) =>
              button(
                key,
                () => set(key === 'C' ? '' : key === '⌫' ? this.amount.slice(0, -1) : this.amount + key),
                '',
                { 'aria-label': key === 'C' ? 'Clear' : key === '⌫' ? 'Delete a digit' : key },
              ),
            ),
          ),
        ),
      h(
        'div',
        { 'data-key': 'conditions' },
        h('h3', {}, 'Conditions'),
        one.conditions?.length > 0 &&
          h(
            'p.chips',
            {},
            one.conditions.map((condition) =>
              button(
                [
                  condition.name,
                  condition.rounds ? ` ${condition.rounds}` : '',
                  h('span', { 'aria-hidden': 'true' }, ' ✕'),
                  h('span.away', {}, ' remove'),
                ],
                () => this.act('removeCondition', { combatantId: one.id, name: condition.name }),
                'small',
              ),
            ),
          ),
        h(
          'form.condition',
          {
            onsubmit: (event) => {
              event.preventDefault();
              const rounds = Number.parseInt(this.condition.rounds, 10);
              void this.act('addCondition', {
                combatantId: one.id,
                name: this.condition.name,
                ...(rounds > 0 && { rounds }),
              });
            },
          },
          h(
            'select',
            {
              'aria-label': 'Condition',
              onchange: (event) => {
                this.condition.name = event.target.value;
              },
            },
            CONDITIONS.map((name) => h('option', { value: name }, name)),
          ),
          h('input.number', {
            'aria-label': 'Rounds',
            type: 'number',
            min: 1,
            max: 1000,
            placeholder: 'rounds',
            oninput: (event) => {
              this.condition.rounds = event.target.value;
            },
          }),
          h('button', { type: 'submit', disabled: over }, 'Add'),
        ),
      ),
      this.isHost &&
        !over &&
        h(
          'div.acts',
          { 'data-key': 'more' },
          one.concealed && button('Reveal', () => this.act('reveal', { combatantId: one.id })),
          button('Initiative', () => this.setInitiative(one)),
          state.status === 'active' && state.turn === one.id && button('Delay', () => this.delay(state, one)),
          one.side !== 'party' && button('Duplicate', () => this.act('duplicate', { combatantId: one.id, count: 1 })),
          button('Remove', () => this.askToRemove(one), 'danger'),
        ),
    ];
  }

  async begin(state) {
    if (state.order.some((id) => this.combatant(id)?.initiative == null) && !(await this.act('rollInitiative'))) return;
    await this.act('start');
  }

  async complete() {
    const isSure = await ask(
      `Complete ${this.document.state.name || 'the encounter'}?`,
      h('p', {}, 'It takes only notes ' + 'after that. “Undo” takes it back.'),
      'Complete',
      'primary',
    );
    if (isSure) await this.act('complete');
  }

  async askToRemove(one) {
    const isSure = await ask(
      `Remove ${one.name}?`,
      h('p', {}, `${one.name} leaves the order for everybody. “Undo” takes it ` + 'back.'),
      'Remove',
    );
    if (isSure && (await this.act('removeCombatant', { combatantId: one.id }))) setQuery({ combatant: undefined });
  }

  setInitiative(one) {
    return form(
      `Initiative of ${one.name}`,
      [{ name: 'initiative', label: 'Initiative', type: 'number', value: one.initiative ?? '', required: true }],
      'Set',
      ({ initiative }) => this.act('setInitiative', { combatantId: one.id, initiative: Number(initiative) }),
    );
  }

  delay(state, one) {
    const later = state.order.slice(state.order.indexOf(one.id) + 1).map((id) => [id, this.nameOf(id)]);
    if (!later.length) return toast('Nobody is to come in this round.', { bad: true });
    return form(
      `${one.name} waits`,
      [{ name: 'after', label: 'Acts after', kind: 'select', options: later }],
      'Delay',
      ({ after }) => this.act('delayTurn', { after }),
    );
  }

  addPlayer() {
    return form(
      'Add a player',
      [
        { name: 'name', label: 'Character', required: true, maxlength: 60, autocomplete: 'off' },
        { name: 'hitPoints', label: 'Hit points', type: 'number', min: 1, required: true },
        { name: 'armorClass', label: 'Armour class', type: 'number', min: 1 },
        { name: 'initiative', label: 'Initiative', type: 'number', hint: 'Left empty: it is rolled.' },
        {
          name: 'playerId',
          label: 'Player',
          pattern: '[A-Za-z0-9_\\-]*',
          autocomplete: 'off',
          hint: 'Their user name: who comes in under it acts for this character. May stay empty.',
        },
      ],
      'Add',
      (values) => {
        const numbers = ['hitPoints', 'armorClass', 'initiative'].filter((name) => values[name] !== '');
        return this.act('addCombatant', {
          name: values.name,
          side: 'party',
          ...(values.playerId && { playerId: values.playerId }),
          ...Object.fromEntries(numbers.map((name) => [name, Number(values[name])])),
        });
      },
    );
  }

  async addParty() {
    const { body } = await rejoin.requests.get('/api/v1/parties?limit=100').catch((error) => {
      toast(words(error), { bad: true });
      return {};
    });
    if (!body) return;
    if (!body.items.length) {
      await dialog('Add a party', (close) => [
        h('div.body', {}, h('p', {}, 'A party is a document in “parties” with its ' + 'members. There is none yet.')),
        h(
          'div.acts',
          {},
          button(
            'Make one',
            () => {
              close();
              go('documents/parties?create=1');
            },
            'primary',
          ),
        ),
      ]);
      return;
    }
    await form(
      'Add a party',
      [{ name: 'partyId', label: 'Party', kind: 'select', options: body.items.map(({ id }) => [id, id]) }],
      'Add',
      ({ partyId }) => this.act('addParty', { partyId }),
    );
  }

  /** Monsters of the collection `creatures`, and of the list above. */
  async addMonsters() {
    const own = await rejoin.requests.get('/api/v1/creatures?include=state&limit=500').then(
      ({ body }) => body.items,
      () => [],
    );
    await dialog('Add monsters', (close) => {
      const list = h('ul.list.monsters');
      const input = h('input', {
        type: 'search',
        'aria-label': 'Search monsters',
        placeholder: 'Search',
        autofocus: true,
        autocomplete: 'off',
      });
      const concealed = h('input', { type: 'checkbox', id: 'concealed' });
      const all = [
        ...own.map((one) => ({
          name: one.state.name ?? one.id,
          about: `AC ${one.state.armorClass ?? '–'}, ${one.state.hitPoints ?? '–'} hp, yours`,
          payload: { creatureId: one.id },
        })),
        ...MONSTERS.map(([name, armorClass, hitPoints, dexterity]) => ({
          name,
          about: `AC ${armorClass}, ${hitPoints} hp`,
          payload: { name, armorClass, hitPoints, dexterity, side: 'foe', group: idOf(name) },
        })),
      ];
      const add = async (one, many) => {
        const hidden = concealed.checked ? { concealed: true, alias: 'Somebody' } : {};
        if (!(await this.act('addCombatant', { ...one.payload, ...hidden }))) return;
        if (many > 1) {
          const last = this.document.state.order.at(-1);
          await this.act('duplicate', { combatantId: last, count: many - 1 });
        }
        toast(`${many > 1 ? `${many} × ` : ''}${one.name} added.`);
      };
      const draw = () =>
        list.replaceChildren(
          ...all
            .filter((one) => one.name.toLowerCase().includes(input.value.trim().toLowerCase()))
            .slice(0, 60)
            .map((one) =>
              h(
                'li',
                {},
                h('div', {}, h('strong', {}, one.name), h('small.soft', {}, ` ${one.about}`)),
                button('Add', () => add(one, 1), 'small', { 'aria-label': `Add ${one.name}` }),
                button('× 3', () => add(one, 3), 'small', { 'aria-label': `Add 3 ${one.name}` }),
              ),
            ),
        );
      input.addEventListener('input', draw);
      draw();
      return [
        h(
          'div.body',
          {},
          input,
          h('div.field.check', {}, concealed, h('label', { for: 'concealed' }, 'Concealed: players see “Somebody”')),
          list,
        ),
        h(
          'div.acts',
          {},
          button('Done', () => close(), 'primary'),
        ),
      ];
    });
  }
}
customElements.define('encounter-view', EncounterView);

/** Hit points as a bar; its colour says how bad it is. */
function bar({ current, maximum }) {
  const part = maximum > 0 ? Math.max(0, Math.min(1, current / maximum)) : 0;
  const state = part > 0.5 ? 'good' : part > 0.25 ? 'warn' : 'bad';
  return h(
    'svg.bar',
    { class: state, viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    h('rect.back', { width: 100, height: 6 }),
    h('rect', { width: part * 100, height: 6 }),
  );
}

/** One interaction: players act in turn, the host reviews. */
class InteractionView extends ActedOn {
  start() {
    this.follow(`interactions/${route().rest[1]}`, `encounters/interactions/${route().rest[1]}`);
  }

  view() {
    const instead = this.instead(route().rest[1]);
    if (instead) return instead;
    const { state } = this.document;
    const called = (id) => state.participants.find((one) => one.playerId === id)?.name ?? id;
    const isIn = state.participants.some((one) => one.playerId === caller.me.user);
    const isMine = state.turn === caller.me.user;
    const goes = state.status === 'in-progress' || state.status === 'waiting-for-dm';
    const isOpen = goes || state.status === 'waiting-for-players' || state.status === 'paused';
    return [
      h(
        'div.head',
        {},
        h('div', {}, h('p.crumbs', {}, link('encounters', 'Encounters')), h('h1', {}, state.name ?? route().rest[1])),
        this.isHost &&
          h(
            'div.acts',
            {},
            button('Undo', () => this.takeBack(), '', { disabled: !this.undo.length }),
            button('Invite players', () => this.invite([])),
            button('Document', () => go(`documents/${this.name}`)),
          ),
      ),
      h(
        'section.turn',
        { class: goes ? 'running' : '', 'aria-label': 'Turn' },
        h(
          'div',
          { 'data-flash': state.turn },
          h('p.soft', {}, state.round ? `Round ${count(state.round)}, ` : '', state.status.replaceAll('-', ' ')),
          h('p.big', { role: 'status' }, state.turn ? (isMine ? 'Your turn' : called(state.turn)) : 'Nobody’s turn'),
        ),
        h(
          'div.acts',
          {},
          this.isHost && [
            state.status === 'idle' && button('Open', () => this.act('open'), 'primary'),
            state.status === 'waiting-for-players' &&
              state.participants.length > 0 &&
              button('Start', () => this.act('start'), 'primary'),
            goes && button('Next turn', () => this.act('nextTurn')),
            goes && button('Pause', () => this.act('pause')),
            state.status === 'paused' && button('Resume', () => this.act('resume'), 'primary'),
            isOpen && button('Complete', () => this.act('complete')),
          ],
          !this.isHost &&
            isOpen &&
            !isIn &&
            button('Join', () => this.act('join', { name: caller.me.name ?? caller.me.user }), 'primary'),
        ),
      ),
      state.pending ? this.review(state.pending, called) : null,
      isMine && state.status === 'in-progress' && !this.isHost
        ? panel(
            'What do you do?',
            null,
            h(
              'form',
              {
                onsubmit: (event) => {
                  event.preventDefault();
                  const field = event.target.elements.action;
                  void this.act('submitAction', { action: field.value }).then((done) => {
                    if (done) field.value = '';
                  });
                },
              },
              h('textarea', { name: 'action', 'aria-label': 'Your action', required: true, maxlength: 2000 }),
              h('div.acts', {}, h('button.primary', { type: 'submit' }, 'Say it')),
            ),
          )
        : null,
      h(
        'div.columns',
        {},
        panel(
          'What happened',
          null,
          state.log.length
            ? h(
                'ul.list',
                {},
                state.log
                  .slice(-50)
                  .reverse()
                  .map((one) =>
                    h(
                      'li',
                      {},
                      h(
                        'div',
                        {},
                        h('strong', {}, called(one.playerId)),
                        ` ${one.kind}`,
                        one.action && h('p', {}, one.action),
                        one.result && h('p.soft', {}, one.result),
                        one.reason && h('p.soft', {}, one.reason),
                      ),
                      h('small.soft', {}, when(one.at)),
                    ),
                  ),
              )
            : h('p.soft', {}, 'Nothing yet.'),
        ),
        panel(
          'Who takes part',
          null,
          state.participants.length
            ? h(
                'ul.list',
                {},
                state.participants.map((one) =>
                  h(
                    'li',
                    {
                      'aria-current': state.turn === one.playerId ? 'true' : null,
                    },
                    one.name ?? one.playerId,
                    state.turn === one.playerId && h('span.right', {}, badge('info', 'turn')),
                  ),
                ),
              )
            : h('p.soft', {}, 'Nobody has joined yet.'),
        ),
      ),
    ];
  }

  review(pending, called) {
    if (!this.isHost) return h('p.note.warn', { role: 'status' }, 'The host looks at what was said.');
    const decide = (event, decision) => {
      const text = event.target.closest('form').elements.answer;
      const payload = { decision, ...(text.value && { [decision === 'approve' ? 'result' : 'reason']: text.value }) };
      void this.act('reviewAction', payload).then((done) => {
        if (done) text.value = '';
      });
    };
    return panel(
      `${called(pending.playerId)} wants to`,
      null,
      h('p.big.quote', {}, pending.action),
      h(
        'form',
        {
          onsubmit: (event) => {
            event.preventDefault();
            decide(event, 'approve');
          },
        },
        h('input', {
          name: 'answer',
          'aria-label': 'What comes of it',
          placeholder: 'What comes of it, or why not',
          autocomplete: 'off',
        }),
        h(
          'div.acts',
          {},
          h('button.primary', { type: 'submit' }, 'Approve'),
          button('Reject', (event) => decide(event, 'reject'), 'danger'),
        ),
      ),
    );
  }
}
customElements.define('interaction-view', InteractionView);
