// What screens are made of: elements, drawing by frame, values that are fetched and kept, dialogs, small charts.
// Text of users only ever becomes text nodes and attributes.

import { createRejoin, RejoinError } from '/client/rejoin.js';

export { createRejoin };

export const rejoin = createRejoin();
const SVG = 'http://www.w3.org/2000/svg';
const SVG_TAGS = new Set(['svg', 'path', 'circle', 'rect', 'polyline', 'line', 'title']);

/** An element. `on…` are handlers; `value`, `checked` and names with a capital are properties; null is left out. */
export function h(name, attributes, ...children) {
  const [tag, ...classes] = name.split('.');
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  if (classes.length) element.setAttribute('class', classes.join(' '));
  element.append(...children.flat(9).filter((one) => one != null && one !== false && one !== true));
  element.given = {};
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value == null || value === false) continue;
    if (key === 'class') element.setAttribute('class', [...classes, value].join(' '));
    else if (key.startsWith('on') || key === 'value' || key === 'checked' || key === 'data' || key === 'style') {
      element.given[key] = value;
      give(element, key, value);
    } else element.setAttribute(key, value === true ? '' : value);
  }
  return element;
}

function give(element, key, value) {
  if (key === 'style') for (const [name, one] of Object.entries(value)) element.style.setProperty(name, one);
  else element[key] = value;
}

/** Makes `now` look as `next` does and keeps what is the same: focus, what is typed and scrolled stay. */
function patchElement(now, next) {
  for (const { name } of [...now.attributes]) {
    if (!next.hasAttribute(name) && name !== 'open' && name !== 'style') now.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (name === 'style' || now.getAttribute(name) === value) continue;
    if (name === 'data-flash') glow(now);
    now.setAttribute(name, value);
  }
  for (const key of Object.keys(now.given ?? {})) {
    if (key.startsWith('on') && !(key in next.given)) now[key] = null;
  }
  for (const [key, value] of Object.entries(next.given ?? {})) {
    const typed = key === 'value' || key === 'checked';
    if (!typed || value !== now.given?.[key]) give(now, key, value);
  }
  now.given = next.given;
  if (!now.keepsChildren) patchChildren(now, [...next.childNodes]);
}

/** Marks what has just changed. */
function glow(element) {
  if (matchMedia('(prefers-reduced-motion: reduce)').matches) return;
  const colour = getComputedStyle(element).getPropertyValue('--glow');
  element.animate([{ backgroundColor: colour }, { backgroundColor: 'transparent' }], { duration: 1200 });
}

const fits = (one, other) =>
  one?.nodeName === other.nodeName && one.nodeType === other.nodeType && one.dataset?.key === other.dataset?.key;

/** Gives an element these children, keeping those that are the same. */
export function patchChildren(parent, wanted) {
  const keyed = new Map();
  for (const child of parent.children) if (child.dataset?.key) keyed.set(child.dataset.key, child);
  let at = parent.firstChild;
  for (const next of wanted) {
    const known = next.dataset?.key && keyed.get(next.dataset.key);
    if (known && known !== at && fits(known, next)) parent.insertBefore(known, at);
    else if (!fits(at, next)) {
      parent.insertBefore(next, at);
      continue;
    }
    const now = known && fits(known, next) ? known : at;
    if (now.nodeType === Node.TEXT_NODE) {
      if (now.data !== next.data) now.data = next.data;
    } else patchElement(now, next);
    at = now.nextSibling;
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

/** A part of the page that draws itself again, at most once a frame; a tab in the background draws nothing. */
export class Part extends HTMLElement {
  /** Who draws around it leaves it alone. */
  keepsChildren = true;
  #frame = 0;
  #ends = [];

  connectedCallback() {
    this.start?.();
    patchChildren(this, [this.view()].flat(9).filter(Boolean));
  }

  disconnectedCallback() {
    cancelAnimationFrame(this.#frame);
    for (const end of this.#ends.splice(0)) end();
  }

  /** Calls `end` when the part goes. */
  until(end) {
    this.#ends.push(end);
  }

  draw = () => {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.isConnected) patchChildren(this, [this.view()].flat(9).filter(Boolean));
    });
  };

  /** Fetches a path now and every `seconds` while somebody looks. */
  fetch(path, seconds = 0) {
    const kept = new Fetched(path, this.draw, seconds);
    this.until(() => kept.end());
    return kept;
  }
}

/** What a path was last answered with. */
export class Fetched {
  value = null;
  error = null;
  at = 0;
  #timer;
  #ended = false;
  #onAnswer;
  #seconds;

  constructor(path, onAnswer, seconds) {
    this.path = path;
    this.#onAnswer = onAnswer;
    this.#seconds = seconds;
    this.look = () => document.hidden || this.refresh();
    document.addEventListener('visibilitychange', this.look);
    window.addEventListener('rejoin-back', this.look);
    void this.refresh();
  }

  end() {
    this.#ended = true;
    clearTimeout(this.#timer);
    document.removeEventListener('visibilitychange', this.look);
    window.removeEventListener('rejoin-back', this.look);
  }

  /** Asks another path from now on. */
  go(path) {
    if (path === this.path) return;
    this.path = path;
    this.value = this.error = null;
    void this.refresh();
  }

  async refresh() {
    clearTimeout(this.#timer);
    const { path } = this;
    try {
      const { body } = await rejoin.requests.get(path);
      if (path !== this.path) return;
      this.value = body;
      this.error = null;
      this.at = Date.now();
    } catch (error) {
      if (path === this.path) this.error = error;
    }
    if (this.#ended || path !== this.path) return;
    this.#onAnswer(this);
    const seconds = this.error ? 1 : this.#seconds;
    clearTimeout(this.#timer);
    if (seconds && (!this.error || isPassing(this.error))) {
      this.#timer = setTimeout(() => document.hidden || this.refresh(), seconds * 1000);
    }
  }
}

const isPassing = (error) => !error.status || error.status >= 500 || error.status === 429;

/** A call that changes something, safe to be repeated. */
export async function call(method, path, body, headers = {}) {
  const key = crypto.getRandomValues(new Uint32Array(4)).join('-');
  const all = method === 'POST' ? { 'idempotency-key': key, ...headers } : headers;
  return (await rejoin.requests.send(method, path, { body, headers: all })).body;
}

/** What went wrong, in words: what happened and what to do. */
export function words(error) {
  if (error?.kind === 'network' || error?.kind === 'timeout') {
    return 'The server does not answer. Nothing was lost; this page goes on when it is back.';
  }
  const detail = error?.problem?.detail ?? error?.message ?? String(error);
  const fields = (error?.problem?.errors ?? []).map(({ field, detail: why }) => `${field} ${why}`);
  return [detail.charAt(0).toUpperCase() + detail.slice(1), ...fields].join('. ').replace(/\.?$/, '.');
}

/** Does something and tells when it could not be done. Gives whether it was. */
export async function attempt(act, done) {
  try {
    await act();
    if (done) toast(done);
    return true;
  } catch (error) {
    toast(words(error), { bad: true });
    return false;
  }
}

// -- who looks, and at what

/** `me`: what `/api/v1/me` answered. */
export const caller = { me: null };
/** The documents of a session that reaches some only; null: all that its user may. */
export const ownDocuments = () => caller.me?.session?.documents ?? null;

/** The address after `#/`: the place, what follows it, and the query. */
export function route() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const parts = path
    .split('/')
    .filter(Boolean)
    .map((part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return part;
      }
    });
  return { place: parts[0] ?? 'home', rest: parts.slice(1), query: new URLSearchParams(query) };
}

/** Changes the query of the address: undefined takes a member out. Without `keep` the browser's history stays. */
export function setQuery(changes, keep = false) {
  const { place, rest, query } = route();
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined || value === '') query.delete(name);
    else query.set(name, value);
  }
  const path = [place, ...rest].map(encodeURIComponent).join('/');
  const hash = `#/${path}${query.size ? `?${query}` : ''}`;
  if (hash === location.hash) return;
  if (keep) location.hash = hash;
  else {
    history.replaceState(null, '', hash);
    window.dispatchEvent(new Event('rejoin-moved'));
  }
}

/** Follows a document for as long as the part is there. When it goes on at another server, `movedTo` of the part says
 * where: this page talks to its own server only. */
export function followFor(part, name) {
  const document = rejoin.document(name);
  part.until(() => document.close());
  part.until(document.subscribe(() => part.draw()));
  part.until(
    document.onEvent(({ event, data }) => {
      if (event !== 'moved') return;
      part.movedTo = data.to;
      document.end();
      part.draw();
    }),
  );
  return document;
}

/** Where a document goes on. */
export const movedNote = (to, hash) =>
  h(
    'p.note.warn',
    { role: 'status' },
    'It goes on at another server: ',
    /^https?:/.test(to) ? h('a', { href: `${to.replace(/\/+$/, '')}/_/#/${hash}` }, to) : to,
  );

// -- small things

export const link = (to, ...rest) => h('a', { href: `#/${to}` }, ...rest);
export const go = (to) => {
  location.hash = `#/${to}`;
};
export const button = (label, onclick, kind = '', more = {}) =>
  h('button', { type: 'button', class: kind, onclick, ...more }, label);
const number = new Intl.NumberFormat('en');
export const count = (n) => number.format(n);
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
export const bytes = (n) =>
  n < 1024 ? `${n} B` : n < 1048576 ? `${(n / 1024).toFixed(1)} KB` : `${(n / 1048576).toFixed(1)} MB`;

/** How long ago, or in how long. */
export function ago(time) {
  if (!time) return 'never';
  const seconds = Math.round((Date.now() - new Date(time)) / 1000);
  const size = Math.abs(seconds);
  const [n, unit] =
    size < 60
      ? [size, 's']
      : size < 3600
        ? [size / 60, ' min']
        : size < 172800
          ? [size / 3600, ' h']
          : [size / 86400, ' d'];
  const text = `${Math.round(n)}${unit}`;
  return size < 5 ? 'now' : seconds > 0 ? `${text} ago` : `in ${text}`;
}

export const when = (time) => h('time', { datetime: time, title: time && new Date(time).toLocaleString() }, ago(time));

const STATES = { good: '✓', warn: '!', bad: '✕', info: '•', idle: '–' };
/** A word with a state, told by sign and colour. */
export const badge = (state, ...text) =>
  h(`span.badge.${state}`, {}, h('span', { 'aria-hidden': 'true' }, STATES[state]), ' ', ...text);

export const skeleton = (rows = 3, kind = '') =>
  h(
    'div.skeleton',
    { class: kind, 'aria-hidden': 'true' },
    Array.from({ length: rows }, () => h('span')),
  );

/** What would be here, and the click that makes it so. */
export const empty = (title, text, ...acts) =>
  h('div.empty', {}, h('h3', {}, title), h('p', {}, text), acts.length > 0 && h('div.acts', {}, ...acts));

/** Why something is not here. */
export const failed = (error) => h('p.note.bad', { role: 'alert' }, words(error));

/** What was fetched as `draw` shows it; until then its place, and when it is old, that it is. */
export function shown(fetched, draw, rows = 3) {
  if (fetched.value === null) return fetched.error ? failed(fetched.error) : skeleton(rows);
  return [
    fetched.error && h('p.note.warn', {}, `As of ${ago(fetched.at)}. ${words(fetched.error)}`),
    draw(fetched.value),
  ].filter(Boolean);
}

export const panel = (title, more, ...children) =>
  h('section.panel', {}, h('header', {}, h('h2', {}, title), more), ...children);

/** A table that becomes a list of cards on a phone. */
export function table(heads, rows) {
  return h(
    'div.scroll',
    { tabindex: '0', role: 'region', 'aria-label': heads.filter(Boolean).join(', ') },
    h(
      'table',
      {},
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          heads.map((one) => h('th', { scope: 'col' }, one)),
        ),
      ),
      h(
        'tbody',
        {},
        rows.map((cells) =>
          h(
            'tr',
            { 'data-key': cells.key, 'data-flash': cells.flash ?? null },
            cells.map((cell, at) => h('td', { 'data-head': heads[at] || null }, cell)),
          ),
        ),
      ),
    ),
  );
}

/** A line through numbers, with a text in its place for who does not see it. */
export function sparkline(values, label, kind = '') {
  const [width, height] = [120, 28];
  const max = Math.max(...values, 1e-9);
  const step = width / Math.max(values.length - 1, 1);
  const points = values.map(
    (value, at) => `${(at * step).toFixed(1)},${(height - 2 - (value / max) * (height - 5)).toFixed(1)}`,
  );
  return h(
    'svg.spark',
    { class: kind, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
    values.length > 1 && h('path.area', { d: `M0,${height} L${points.join(' L')} L${width},${height} Z` }),
    values.length > 1 && h('polyline', { points: points.join(' ') }),
  );
}

const ICONS = {
  home: 'M3 11 12 4l9 7M6 9v11h12V9',
  documents: 'M6 3h8l4 4v14H6zM14 3v4h4M9 12h6M9 16h6',
  games: 'M4 8h16v11H4zM8 8V5h8v3M8 13h3M9.5 11.5v3M15 12h.01M17 15h.01',
  encounters: 'M5 19 19 5M14 5h5v5M5 5l5 5M14 14l5 5M4 16l4 4',
  reconciliation: 'M4 12a8 8 0 0 1 14-5l2 2M20 4v5h-5M20 12a8 8 0 0 1-14 5l-2-2M4 20v-5h5',
  conflicts: 'M6 3v6a6 6 0 0 0 6 6 6 6 0 0 1 6 6M18 3v6a6 6 0 0 1-3 5M6 21a6 6 0 0 1 3-5',
  people: 'M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM2 21a7 7 0 0 1 14 0M16 4a4 4 0 0 1 0 7M18 15a7 7 0 0 1 4 6',
  bell: 'M6 16V11a6 6 0 0 1 12 0v5l2 2H4zM10 21h4',
  search: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  theme: 'M20 14.5A8.5 8.5 0 1 1 9.5 4 7 7 0 0 0 20 14.5z',
  close: 'M6 6l12 12M18 6 6 18',
};
export const icon = (name) =>
  h('svg.icon', { viewBox: '0 0 24 24', 'aria-hidden': 'true' }, h('path', { d: ICONS[name] }));

/** Says something at the edge of the page for a while. `undo`: a click that takes it back. */
export function toast(text, { bad = false, undo } = {}) {
  const place = document.getElementById('toasts');
  const one = h(
    'div.toast',
    { class: bad ? 'bad' : '', role: bad ? 'alert' : 'status' },
    h('span', {}, text),
    undo &&
      button('Undo', () => {
        one.remove();
        void attempt(undo, 'Taken back.');
      }),
    button(icon('close'), () => one.remove(), 'plain', { 'aria-label': 'Dismiss' }),
  );
  place.append(one);
  while (place.children.length > 4) place.firstChild.remove();
  setTimeout(() => one.remove(), bad || undo ? 12_000 : 5_000);
}

/** A dialog. `view(close)` gives what is in it; resolves with what `close` was given, or undefined. */
export function dialog(title, view, kind = '') {
  return new Promise((resolve) => {
    const box = h('dialog', { class: kind, 'aria-label': title });
    const close = (value) => {
      box.close();
      box.remove();
      resolve(value);
    };
    box.append(
      h(
        'header',
        {},
        h('h2', {}, title),
        button(icon('close'), () => close(), 'plain', { 'aria-label': 'Close' }),
      ),
      ...[view(close)].flat(),
    );
    box.addEventListener('cancel', (event) => {
      event.preventDefault();
      close();
    });
    box.addEventListener('click', (event) => event.target === box && close());
    document.body.append(box);
    box.showModal();
    (box.querySelector('[autofocus]') ?? box.querySelector('input, textarea, select, .acts button'))?.focus();
  });
}

/** Asks before something that cannot be undone, or only partly: says what goes. */
export const ask = (title, about, act, kind = 'danger') =>
  dialog(title, (close) => [
    h('div.body', {}, about),
    h(
      'div.acts',
      {},
      button('Cancel', () => close(false)),
      button(act, () => close(true), kind),
    ),
  ]);

/** A form in a dialog: `fields` are `{name, label, …}`; `send(values)` does it, and what it throws is shown. */
export function form(title, fields, act, send) {
  return dialog(title, (close) => {
    const wrong = h('p.note.bad', { role: 'alert', hidden: true });
    const inputs = fields.map(({ name, label, options, kind = 'input', hint, ...more }) => {
      const input = h(
        kind,
        { id: `f-${name}`, name, ...more },
        options?.map(([value, text]) => h('option', { value }, text)),
      );
      if (kind === 'select' && more.value !== undefined) input.value = more.value;
      const check = more.type === 'checkbox';
      return h(
        'div.field',
        { class: check ? 'check' : '' },
        check && input,
        h('label', { for: `f-${name}` }, label),
        !check && input,
        hint && h('small', {}, hint),
      );
    });
    return h(
      'form',
      {
        onsubmit: async (event) => {
          event.preventDefault();
          const values = {};
          for (const input of event.target.elements) {
            if (input.name) values[input.name] = input.type === 'checkbox' ? input.checked : input.value;
          }
          const go = event.target.querySelector('[type=submit]');
          go.disabled = true;
          wrong.hidden = true;
          try {
            close((await send(values)) ?? true);
          } catch (error) {
            wrong.textContent = error instanceof RejoinError ? words(error) : error.message;
            wrong.hidden = false;
            go.disabled = false;
          }
        },
      },
      h('div.body', {}, inputs, wrong),
      h(
        'div.acts',
        {},
        button('Cancel', () => close()),
        h('button.primary', { type: 'submit' }, act),
      ),
    );
  });
}

/** Puts text into the clipboard, also where a page over plain HTTP has none. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h('textarea.away', { value: text });
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
  toast('Copied.');
}

// -- states

/** The places at which two states differ: `{path, kind, from, to}`. */
export function difference(from, to, path = '', found = []) {
  if (found.length >= 500 || from === to) return found;
  const both = (test) => test(from) && test(to);
  if (
    both(Array.isArray) ||
    (both((one) => one && typeof one === 'object') && !Array.isArray(from) && !Array.isArray(to))
  ) {
    for (const key of new Set([...Object.keys(from), ...Object.keys(to)])) {
      const at = `${path}/${key.replace(/~/g, '~0').replace(/\//g, '~1')}`;
      if (!(key in from)) found.push({ path: at, kind: 'add', to: to[key] });
      else if (!(key in to)) found.push({ path: at, kind: 'remove', from: from[key] });
      else difference(from[key], to[key], at, found);
    }
  } else if (JSON.stringify(from) !== JSON.stringify(to)) {
    found.push({ path: path || '/', kind: 'replace', from, to });
  }
  return found;
}

/** A value in one line, cut where it is long. */
export function short(value, most = 160) {
  const text = JSON.stringify(value) ?? '';
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

/** Differences as a list: what went, what came. */
export function differenceList(found) {
  if (!found.length) return h('p.soft', {}, 'No difference.');
  return h(
    'ul.diff',
    {},
    found
      .slice(0, 200)
      .map(({ path, kind, from, to }) =>
        h(
          'li',
          {},
          h('code.path', {}, path),
          kind !== 'add' && h('del', {}, short(from)),
          kind !== 'remove' && h('ins', {}, short(to)),
        ),
      ),
    found.length > 200 && h('li.soft', {}, `and ${count(found.length - 200)} more`),
  );
}

/** Numbers objects, so that another one is told from the same. */
const numbers = new WeakMap();
let numbered = 0;
function identity(object) {
  if (!numbers.has(object)) numbers.set(object, (numbered += 1));
  return numbers.get(object);
}

/** Most members of an object or array that a tree shows. */
const ROWS_MAX = 200;

/** A state as a tree that marks what has just changed. Give it `data`: `{state, name}`, of which document. */
class StateTree extends HTMLElement {
  keepsChildren = true;
  #state = null;
  #name = '';
  #open = new Map();

  set data({ state, name }) {
    if (state === this.#state && this.firstChild) return;
    if (this.#name !== name) {
      this.#open.clear();
      this.replaceChildren();
    }
    this.#name = name;
    this.#state = state;
    this.#draw();
  }

  #draw() {
    patchChildren(this, [h('ul.tree', {}, this.#rows(this.#state, '', 0))]);
  }

  #rows(value, path, depth) {
    const entries = Object.entries(value ?? {});
    const rows = entries.slice(0, ROWS_MAX).map(([key, one]) => {
      const at = `${path}/${key}`;
      const name = h('span.key', {}, key);
      if (one === null || typeof one !== 'object') {
        const text = JSON.stringify(one);
        const kind = one === null ? 'null' : typeof one;
        return h('li', { 'data-key': at, 'data-flash': text }, name, h(`span.value.${kind}`, {}, text));
      }
      const isOpen = this.#open.get(at) ?? depth < 2;
      const size = Object.keys(one).length;
      return h(
        'li',
        { 'data-key': at },
        h(
          'button.fold',
          {
            type: 'button',
            'aria-expanded': String(isOpen),
            'data-flash': isOpen ? null : identity(one),
            onclick: () => {
              this.#open.set(at, !isOpen);
              this.#draw();
            },
          },
          name,
          h('span.soft', {}, Array.isArray(one) ? `[${size}]` : `{${size}}`),
        ),
        isOpen && h('ul', {}, this.#rows(one, at, depth + 1)),
      );
    });
    if (entries.length > ROWS_MAX) rows.push(h('li.soft', {}, `and ${count(entries.length - ROWS_MAX)} more`));
    return rows.length ? rows : [h('li.soft', {}, 'empty')];
  }
}
customElements.define('state-tree', StateTree);
