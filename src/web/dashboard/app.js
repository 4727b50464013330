// The dashboard's frame: the places, which of them is shown, how the server is reached, the palette.

import {
  attempt,
  badge,
  button,
  call,
  caller,
  dialog,
  Fetched,
  form,
  go,
  h,
  icon,
  link,
  ownDocuments,
  Part,
  patchChildren,
  rejoin,
  route,
  toast,
  when,
  words,
} from './ui.js';
import './home.js';

export * from './ui.js';
export { hasFailed, verdictState } from './home.js';

const PLACES = [
  ['home', 'Home'],
  ['documents', 'Documents'],
  ['games', 'Games'],
  ['encounters', 'Encounters'],
  ['reconciliation', 'Reconciliation'],
  ['conflicts', 'Conflicts'],
  ['people', 'People'],
];
/** Those of everybody. */
const OPEN_PLACES = ['home', 'documents', 'games', 'encounters', 'people'];
/** As many fit the bar of a phone. */
const BAR_MAX = 4;
/** Screens that are fetched when they are opened first. */
const LAZY = {
  documents: () => import('./documents.js'),
  encounters: () => import('./encounters.js'),
  games: () => import('./games.js'),
  reconciliation: () => import('./reconciliation.js'),
  conflicts: () => import('./conflicts.js'),
  people: () => import('./people.js'),
};
const THEMES = { auto: 'as the system', light: 'light', dark: 'dark' };
/** How long the connection may be away until the page says so, in milliseconds. */
const PAUSED_AFTER_MS = 1500;
const PROBE_MS = 400;
const NOTES_AFTER_MS = 1500;

const rail = document.getElementById('rail');
const main = document.getElementById('main');
let shownScreen = null;
let status = 'reconnecting';
let awaySince = 0;
let isPaused = false;
let wasLive = false;
let notes = null;

// -- which screen

const places = () =>
  PLACES.filter(([place]) => caller.me?.administrator || OPEN_PLACES.includes(place)).filter(
    ([place]) => place === 'home' || place in LAZY,
  );

async function show() {
  const { place } = route();
  const known = places().find(([name]) => name === place);
  if (!known) {
    main.replaceChildren(
      h('div.page', {}, h('h1', {}, 'Not here'), h('p', {}, 'There is no such screen. ', link('home', 'Go home'))),
    );
    return;
  }
  document.title = `${known[1]} · Rejoin`;
  drawRail();
  if (shownScreen?.isConnected && shownScreen.place === place) {
    shownScreen.moved?.();
    shownScreen.draw();
    return;
  }
  if (LAZY[place] && !customElements.get(`screen-${place}`)) {
    main.setAttribute('aria-busy', 'true');
    main.replaceChildren(
      h(
        'div.page',
        {},
        h(
          'div.skeleton.tall',
          { 'aria-hidden': 'true' },
          [1, 2, 3, 4].map(() => h('span')),
        ),
      ),
    );
    try {
      await LAZY[place]();
    } catch {
      main.replaceChildren(
        h(
          'div.page',
          {},
          h('h1', {}, known[1]),
          h('p.note.warn', { role: 'alert' }, 'This screen could not be fetched: the server does not answer. '),
          button('Try again', show),
        ),
      );
      window.addEventListener('rejoin-back', show, { once: true });
      return;
    }
    if (route().place !== place) return;
  }
  const first = shownScreen === null;
  shownScreen = document.createElement(`screen-${place}`);
  shownScreen.place = place;
  shownScreen.className = 'page';
  main.replaceChildren(shownScreen);
  main.setAttribute('aria-busy', 'false');
  window.scrollTo(0, 0);
  if (!first) main.focus({ preventScroll: true });
}

// -- how the server is reached

const TOLD = {
  connected: ['good', 'Live'],
  reconnecting: ['warn', 'Reconnecting'],
  offline: ['bad', 'Offline'],
  'polling-fallback': ['warn', 'Polling'],
  closed: ['idle', 'Closed'],
};

function setStatus() {
  status = rejoin.hub.worstStatus ?? 'reconnecting';
  const isLive = status === 'connected' || status === 'polling-fallback';
  if (isLive) {
    // The first time nothing is old yet.
    if (awaySince && wasLive) window.dispatchEvent(new Event('rejoin-back'));
    awaySince = 0;
    wasLive = true;
  } else if (!awaySince) {
    awaySince = Date.now();
    setTimeout(probe, PROBE_MS);
    setTimeout(drawRail, PAUSED_AFTER_MS + 50);
  }
  drawRail();
}

/** While the server is away: looks whether it is back, so that nobody waits for the next try. */
async function probe() {
  if (!awaySince) return;
  if (!document.hidden) {
    const isBack = await fetch('/healthz', { cache: 'no-store' }).then(
      (answer) => answer.ok,
      () => false,
    );
    if (isBack && awaySince && wasLive) {
      window.dispatchEvent(new Event('rejoin-back'));
      if (rejoin.hub.worstStatus !== 'connected') rejoin.reconnect();
    }
  }
  setTimeout(probe, PROBE_MS);
}

// -- the frame

let railFrame = 0;
function drawRail() {
  railFrame ||= requestAnimationFrame(() => {
    railFrame = 0;
    const { place } = route();
    isPaused = awaySince > 0 && Date.now() - awaySince >= PAUSED_AFTER_MS;
    const [state, text] = TOLD[status] ?? TOLD.reconnecting;
    const item = ([name, title]) => link(name, icon(name), h('span', {}, title));
    const all = places().map((one) => {
      const element = item(one);
      if (one[0] === place) element.setAttribute('aria-current', 'page');
      return element;
    });
    const isMore = places().length > BAR_MAX + 1;
    if (isMore) for (const element of all.slice(BAR_MAX)) element.classList.add('desk');
    const unread = notes?.value?.unread ?? 0;
    patchChildren(
      rail,
      [
        h(
          'header.top',
          {},
          h(
            'a.brand',
            { href: '#/home', 'aria-label': 'Rejoin, home' },
            h(
              'svg.mark',
              { viewBox: '0 0 32 32', 'aria-hidden': 'true' },
              h('rect', { width: 32, height: 32, rx: 6 }),
              h('path', {
                d: 'M9 21a8 8 0 1 1 3 3.3M9 21v-5M9 21h5',
              }),
            ),
            h('span', {}, 'Rejoin'),
          ),
          h(
            'div.tools',
            {},
            h('span', { role: 'status', 'aria-label': 'Connection' }, badge(state, text)),
            button(icon('search'), palette, 'plain', { 'aria-label': 'Search and commands', title: 'Search (/)' }),
            button(
              [icon('bell'), unread > 0 && h('span.dot', {}, unread > 99 ? '99+' : String(unread))],
              showNotes,
              'plain',
              { 'aria-label': unread ? `Notifications, ${unread} unread` : 'Notifications', title: 'Notifications' },
            ),
            button(icon('theme'), nextTheme, 'plain', {
              'aria-label': `Theme: ${THEMES[theme()]}`,
              title: `Theme: ${THEMES[theme()]}`,
            }),
          ),
        ),
        h(
          'nav',
          { 'aria-label': 'Places' },
          all,
          isMore && button([icon('more'), h('span', {}, 'More')], showMore, 'more'),
        ),
        h(
          'p.who.desk',
          {},
          caller.me && (caller.me.name ?? caller.me.user),
          caller.me?.administrator && h('span.soft', {}, ' · administrator'),
        ),
        isPaused &&
          h(
            'div.banner',
            { role: 'alert' },
            h(
              'span',
              {},
              `Live updates paused. ${
                status === 'offline' ? 'This device has no network.' : 'The server does not answer.'
              } What you see may be old; nothing is lost.`,
            ),
            button('Reconnect', () => rejoin.reconnect()),
          ),
      ].filter(Boolean),
    );
    document.body.classList.toggle('stale', isPaused);
  });
}

const showMore = () =>
  dialog('More places', (close) =>
    h(
      'ul.menu',
      {},
      places()
        .slice(BAR_MAX)
        .map(([name, title]) => h('li', {}, h('a', { href: `#/${name}`, onclick: () => close() }, icon(name), title))),
    ),
  );

const theme = () => localStorage.getItem('rejoin:theme') ?? 'auto';
function nextTheme() {
  const all = Object.keys(THEMES);
  const next = all[(all.indexOf(theme()) + 1) % all.length];
  localStorage.setItem('rejoin:theme', next);
  applyTheme();
  drawRail();
  toast(`Theme: ${THEMES[next]}.`);
}
function applyTheme() {
  document.documentElement.dataset.theme = theme();
}

// -- notifications

class NoteList extends Part {
  view() {
    const { value, error } = notes;
    if (!value) return error ? h('p.note.bad', {}, words(error)) : null;
    if (!value.items.length) {
      return h(
        'div.empty',
        {},
        h('h3', {}, 'Nothing yet'),
        h(
          'p',
          {},
          'When it is your turn in an encounter, or somebody changes what you made while you were away, it says ' +
            'so here.',
        ),
      );
    }
    return h(
      'ul.list',
      {},
      value.items.slice(0, 100).map((one) =>
        h(
          'li',
          { class: one.read ? 'soft' : '', 'data-key': one.id },
          h(
            'div',
            {},
            h('strong', {}, one.title),
            one.body && h('p', {}, one.body),
            h('small', {}, when(one.at), one.document && [' · ', link(`documents/${one.document}`, one.document)]),
          ),
          !one.read &&
            button('Read', () =>
              attempt(async () => {
                await call('POST', `/api/v1/notifications/${one.id}/read`, {});
                await notes.refresh();
                this.draw();
              }),
            ),
        ),
      ),
    );
  }
}
customElements.define('note-list', NoteList);

function fetchNotes() {
  notes ??= new Fetched(
    '/api/v1/notifications?limit=100',
    () => {
      drawRail();
      document.querySelector('note-list')?.draw();
    },
    30,
  );
}

async function showNotes() {
  fetchNotes();
  await dialog('Notifications', (close) => [
    h('div.body', {}, h('note-list')),
    h(
      'div.acts',
      {},
      button('Settings', async () => {
        close();
        await settings();
      }),
      notes.value?.unread > 0 &&
        button(
          'All read',
          () =>
            attempt(async () => {
              await call('POST', '/api/v1/notifications/read-all', {});
              await notes.refresh();
              close();
            }),
          'primary',
        ),
    ),
  ]);
}

async function settings() {
  const path = '/api/v1/notifications/preferences';
  await attempt(async () => {
    const { body } = await rejoin.requests.get(path);
    const kinds = {
      turn: 'It is my turn',
      action: 'Somebody acts on what is mine',
      status: 'Something begins or ends',
    };
    const fields = Object.entries(kinds).flatMap(([kind, label]) => [
      { name: kind, label, type: 'checkbox', checked: body[kind].enabled },
      { name: `${kind}Sound`, label: 'with a sound', type: 'checkbox', checked: body[kind].sound },
    ]);
    await form('What to be told', fields, 'Save', async (values) => {
      const next = { ...body };
      for (const kind of Object.keys(kinds)) {
        next[kind] = { ...body[kind], enabled: values[kind], sound: values[`${kind}Sound`] };
      }
      await call('PUT', path, next);
      toast('Saved.');
    });
  });
}

// -- the palette

/** What can be done from anywhere: `[title, act, for administrators only]`. */
const ACTS = [
  ['Create a document', () => go('documents?create=1')],
  ['Make an encounter', () => go('encounters?create=1')],
  ['Compare now (reconciliation)', () => attempt(() => call('POST', '/reconciliation/run', {}), 'Compared.'), true],
  ['Make a backup now', () => attempt(() => call('POST', '/api/v1/admin/backups', {}), 'The backup is made.'), true],
  ['Switch the theme', nextTheme],
  [
    'Read the documentation',
    () => {
      location.href = '/docs/';
    },
  ],
];

/** Documents whose id has this text; the one that is it comes first. */
async function findDocuments(text, signal) {
  const own = ownDocuments();
  if (own) return own.filter((name) => name.includes(text));
  const { body } = await rejoin.requests.get('/api/v1/collections?limit=50');
  const [collection, id] = text.includes('/') ? text.split('/') : [null, text];
  const some = body.items.filter(({ name }) => !collection || name === collection).slice(0, 12);
  const found = await Promise.all(
    some.map(async ({ name }) => {
      if (signal.aborted) return [];
      const where = encodeURIComponent(JSON.stringify({ id: { contains: id } }));
      const exact = encodeURIComponent(JSON.stringify({ id }));
      const pages = await Promise.all(
        [exact, where].map((one) =>
          rejoin.requests.get(`/api/v1/${name}?limit=5&where=${one}`).catch(() => ({ body: { items: [] } })),
        ),
      );
      return pages.flatMap((page) => page.body.items.map((one) => `${name}/${one.id}`));
    }),
  );
  const isExact = (name) => name === text || name.split('/')[1] === text;
  return [...new Set(found.flat())].sort((one, other) => isExact(other) - isExact(one)).slice(0, 20);
}

let paletteOpen = false;
async function palette() {
  if (paletteOpen) return;
  paletteOpen = true;
  let search = new AbortController();
  let documents = [];
  await dialog(
    'Search',
    (close) => {
      const list = h('ul.menu', { id: 'found', 'aria-label': 'Results' });
      const input = h('input', {
        type: 'search',
        placeholder: 'A document’s id, a screen, an act',
        'aria-label': 'Search documents, screens and acts',
        autofocus: true,
        autocomplete: 'off',
        spellcheck: 'false',
        'aria-controls': 'found',
      });
      const results = () => {
        const text = input.value.trim().toLowerCase();
        const has = (title) => title.toLowerCase().includes(text);
        const exact = documents.filter(
          (name) => name === input.value.trim() || name.split('/')[1] === input.value.trim(),
        );
        const toDocument = (name) => [name, 'document', () => go(`documents/${name}`)];
        const acts = ACTS.filter(([title, , isAdmin]) => has(title) && (!isAdmin || caller.me.administrator))
          .filter(([title]) => title !== 'Make an encounter' || 'encounters' in LAZY)
          .map(([title, act]) => [title, 'act', act]);
        const screens = places()
          .filter(([, title]) => has(title))
          .map(([name, title]) => [title, 'screen', () => go(name)]);
        const others = documents.filter((name) => !exact.includes(name));
        return [...exact.map(toDocument), ...screens, ...others.map(toDocument), ...acts].slice(0, 30);
      };
      const draw = () =>
        patchChildren(
          list,
          results().map(([title, kind, act]) =>
            h(
              'li',
              { 'data-key': `${kind} ${title}` },
              button([h('span', {}, title), h('small.soft', {}, kind)], () => {
                close();
                act();
              }),
            ),
          ),
        );
      input.addEventListener('input', () => {
        search.abort();
        const mine = (search = new AbortController());
        const text = input.value.trim();
        if (!text) documents = [];
        draw();
        if (text) {
          mine.found = findDocuments(text, mine.signal).then(
            (found) => {
              if (mine.signal.aborted) return;
              documents = found;
              draw();
            },
            () => {},
          );
        }
      });
      const move = (step) => {
        const all = [...list.querySelectorAll('button')];
        const at = all.indexOf(document.activeElement) + step;
        (all[at] ?? (step > 0 ? all[0] : input))?.focus();
      };
      return h(
        'form.palette',
        {
          onsubmit: async (event) => {
            event.preventDefault();
            await search.found;
            list.querySelector('button')?.click();
          },
          onkeydown: (event) => {
            if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
            event.preventDefault();
            move(event.key === 'ArrowDown' ? 1 : -1);
          },
        },
        input,
        (draw(), list),
      );
    },
    'search',
  );
  paletteOpen = false;
}

document.addEventListener('keydown', (event) => {
  const typing = event.target.closest?.('input, textarea, select, dialog, [contenteditable]');
  const isSlash = event.key === '/' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey;
  if (isSlash || (event.key === 'k' && (event.ctrlKey || event.metaKey))) {
    event.preventDefault();
    void palette();
  }
});

// -- the beginning

/** Asks who looks until the server says it. */
async function identify() {
  for (;;) {
    try {
      return (await rejoin.requests.get('/api/v1/me')).body;
    } catch (error) {
      const isRefused = error.status >= 400 && error.status < 500 && error.status !== 429;
      main.replaceChildren(
        h(
          'div.page',
          {},
          h('h1', {}, isRefused ? 'You are not in yet' : 'Not reachable'),
          h(
            'p',
            { role: 'status' },
            isRefused
              ? `${words(error)} Ask the host for an invitation, or open the link that ` + 'you were sent.'
              : 'The server does not answer. This page goes on by itself when it does.',
          ),
        ),
      );
      if (isRefused) return null;
      await new Promise((resolve) => {
        setTimeout(resolve, 1000);
      });
    }
  }
}

async function begin() {
  applyTheme();
  drawRail();
  document.getElementById('skip').addEventListener('click', (event) => {
    event.preventDefault();
    main.focus();
  });
  caller.me = await identify();
  if (!caller.me) return;
  rejoin.hub.onStatus.add(setStatus);
  // Of any documents: it tells how the server is reached, and brings notifications.
  const own = ownDocuments();
  rejoin.hub.follow(own?.length ? `doc=${own[0]}` : 'collection=dashboard', { onEvent: () => {}, onStatus: setStatus });
  rejoin.notifications.subscribe(() => notes?.refresh());
  // What nobody looks at first waits until the screen is there.
  setTimeout(fetchNotes, NOTES_AFTER_MS);
  window.addEventListener('hashchange', show);
  window.addEventListener('rejoin-moved', () => {
    shownScreen?.moved?.();
    shownScreen?.draw();
  });
  await show();
}

window.addEventListener('error', (event) => {
  if (caller.me && event.error)
    void rejoin.reportError({ message: String(event.error.message), stack: event.error.stack });
});
void begin();
