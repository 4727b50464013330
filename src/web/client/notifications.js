// What a person should notice: kept as a list, shown once in a browser as a toast, and by the system where it may.

import { isOnline, listen, load, orderedId, save } from './environment.js';
import { pause } from './retry.js';
import { showSystem, showToast } from './toasts.js';

/** @typedef {import('./types.js').RejoinNotification} RejoinNotification */
/** @typedef {import('./types.js').NotificationBody} NotificationBody */
/** @typedef {import('./types.js').NotificationSettings} NotificationSettings */

/** As many as the server keeps: each is shown once. */
const KEPT_MAX = 500;
/** How long tabs have to say that they would show it too, in milliseconds. Hidden ones come after those. */
const CLAIM_MS = 60;
const HIDDEN_MS = 250;
const PATH = '/api/v1/notifications';
const PREFERENCES = `${PATH}/preferences`;
const SETTINGS = 'rejoin:notification-settings';
const WAITING = 'rejoin:notifications-waiting';
const SHOWN = 'rejoin:notifications-shown';

/** @type {NotificationSettings} */
const DEFAULTS = {
  turn: { enabled: true, sound: false, closeAfterSeconds: 15 },
  action: { enabled: true, sound: false, closeAfterSeconds: 10 },
  status: { enabled: true, sound: false, closeAfterSeconds: 5 },
  system: false,
  components: {},
};

export class Notifications {
  /** The newest first. @type {RejoinNotification[]} */
  list = [];
  /** @type {Map<string, string>} */
  #claims = new Map();
  /** @type {Set<() => void>} */
  #subscribers = new Set();
  #hub;
  #requests;
  #stops;

  /** @param {import('./hub.js').Hub} hub @param {import('./requests.js').Requests} requests */
  constructor(hub, requests) {
    this.#hub = hub;
    this.#requests = requests;
    const onMessage = (/** @type {any} */ message) => this.#receive(message);
    hub.onMessage.add(onMessage);
    const online = () => {
      const waiting = load(WAITING) ?? [];
      save(WAITING, null);
      for (const one of waiting) this.#announce(one);
    };
    // Another tab's change is here with this event, not before: a message may be faster than the store.
    const storage = (/** @type {StorageEvent} */ event) => event.key === SETTINGS && this.#tell();
    this.#stops = [
      () => hub.onMessage.delete(onMessage),
      listen(/** @type {any} */ (globalThis), { online, storage }),
      // Server-sent ones come to each tab by the stream.
      hub.listen('notification', (event) => this.#add(event.data)),
    ];
  }

  close() {
    for (const stop of this.#stops) stop();
  }

  /** @returns {NotificationSettings} */
  get settings() {
    return { ...DEFAULTS, ...load(SETTINGS) };
  }

  /** Fetches those that the server has, and what it knows of the settings. */
  async refresh() {
    const [{ body: page }, { body: preferences }] = await Promise.all(
      [`${PATH}?limit=${KEPT_MAX}`, PREFERENCES].map((path) => this.#requests.get(path)),
    );
    save(SETTINGS, { ...this.settings, ...preferences });
    const others = this.list.filter((one) => !one.document);
    this.list = [...page.items, ...others].sort((one, other) => (one.at < other.at ? 1 : -1)).slice(0, KEPT_MAX);
    this.#tell();
  }

  /** Changes some settings, of all tabs; those of a type also of the server, which makes none that are not enabled.
   * @param {Partial<NotificationSettings>} changes */
  setSettings(changes) {
    save(SETTINGS, { ...this.settings, ...changes });
    this.#savePreferences(changes).catch(() => {});
    this.#tell();
  }

  get unread() {
    return this.list.filter((one) => !one.read).length;
  }

  /** @param {() => void} fn */
  subscribe(fn) {
    this.#subscribers.add(fn);
    return () => void this.#subscribers.delete(fn);
  }

  /**
   * Makes one for all tabs. While there is no network it waits for it.
   * @param {NotificationBody} body
   * @returns {RejoinNotification}
   */
  create(body) {
    const one = { id: orderedId(), at: new Date().toISOString(), read: false, ...body };
    if (isOnline()) this.#announce(one);
    else save(WAITING, [...(load(WAITING) ?? []), one].slice(-KEPT_MAX));
    return one;
  }

  /** Tells the other tabs of all that this one knows. */
  share() {
    for (const one of this.list) this.#hub.post({ kind: 'notification', one });
  }

  /** @param {string} id */
  markRead(id) {
    if (this.list.find((one) => one.id === id)?.document) {
      // Tried again by nobody: it is read here, and there another time.
      this.#requests.send('POST', `${PATH}/${id}/read`, { body: {} }).catch(() => {});
    }
    this.#read(id);
    this.#hub.post({ kind: 'notification-read', id });
  }

  /** The server makes none of a type that is not enabled. What others set of other types stays.
   * @param {Record<string, any>} changes */
  async #savePreferences(changes) {
    const { system, components, ...types } = changes;
    if (!Object.keys(types).length) return;
    const { body } = await this.#requests.get(PREFERENCES);
    await this.#requests.send('PUT', PREFERENCES, { body: { ...body, ...types } });
  }

  /** @param {RejoinNotification} one */
  #announce(one) {
    this.#hub.post({ kind: 'notification', one });
    this.#add(one);
  }

  /** @param {RejoinNotification} one */
  #add(one) {
    if (this.list.some(({ id }) => id === one.id)) return;
    const { type, component } = one;
    const { components, [type]: rule } = this.settings;
    if (rule?.enabled === false || (component && components[component] === false)) return;
    this.list = [one, ...this.list].slice(0, KEPT_MAX);
    this.#tell();
    void this.#show(one);
  }

  /** Shows it if no other tab does: the one with the lowest id, of those that a person can see if there are any. @param
   * {RejoinNotification} one */
  async #show(one) {
    const { tabs } = this.#hub;
    const visible = globalThis.document?.visibilityState === 'visible';
    if (tabs) {
      if (!visible) {
        await pause(HIDDEN_MS);
        if (this.#claims.has(one.id)) return;
      }
      this.#claim(one.id, tabs.id);
      tabs.post({ kind: 'notification-claim', id: one.id });
      await pause(CLAIM_MS);
      if (this.#claims.get(one.id) !== tabs.id) return;
    }
    /** @type {string[]} */
    const shown = load(SHOWN) ?? [];
    if (shown.includes(one.id)) return;
    save(SHOWN, [...shown, one.id].slice(-KEPT_MAX));
    const { system, [one.type]: rule } = this.settings;
    if (!visible && system && showSystem(one)) return;
    showToast(one, rule ?? DEFAULTS.status, () => this.markRead(one.id));
  }

  /** @param {string} id @param {string} tab */
  #claim(id, tab) {
    const other = this.#claims.get(id);
    if (!other || tab < other) this.#claims.set(id, tab);
    if (this.#claims.size > KEPT_MAX) this.#claims.delete(/** @type {string} */ (this.#claims.keys().next().value));
  }

  /** @param {any} message */
  #receive({ kind, from, id, one }) {
    if (kind === 'notification') this.#add(one);
    else if (kind === 'notification-claim') this.#claim(id, from);
    else if (kind === 'notification-read') this.#read(id);
  }

  /** @param {string} id */
  #read(id) {
    this.list = this.list.map((one) => (one.id === id ? { ...one, read: true } : one));
    this.#tell();
  }

  #tell() {
    for (const fn of this.#subscribers) fn();
  }
}
