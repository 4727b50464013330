// The live interactions of a campaign, and the one that a person looks at.

import { createContext, createElement, useCallback, useContext, useEffect, useMemo, useRef, useState,
  useSyncExternalStore } from 'react';

import { isOnline, listen } from './environment.js';
import { equal, mergePatch } from './patch.js';
import { useRejoin } from './react-context.js';
import { useNotifications } from './react-documents.js';

/** @typedef {import('./client.js').Rejoin} Rejoin */
/** @typedef {import('./types.js').DocumentBody} DocumentBody */

/**
 * @typedef {object} LiveInteractions
 * @property {DocumentBody[]} activeInteractions neither completed nor cancelled
 * @property {string | null} currentInteractionId
 * @property {string | null} currentCampaignId
 * @property {boolean} isLoading
 * @property {any} error
 * @property {Date | null} lastUpdate
 * @property {(id: string) => void} setCurrentInteraction
 * @property {() => void} clearCurrentInteraction
 * @property {() => Promise<void>} refreshInteractions
 * @property {(id: string, patch: object) => void} optimisticUpdate shows a merge patch until the interaction changes
 * @property {(id: string) => void} rollbackUpdate
 */

const OVER = ['completed', 'cancelled'];

/** What the components of a provider share, outside of React, so that each sees only what it selects. */
class InteractionStore {
  /** @type {Set<() => void>} */
  #subscribers = new Set();
  /** What is shown before the server has said it. @type {Map<string, {patch: object, version: number}>} */
  #optimistic = new Map();
  /** @type {import('./collections.js').RejoinCollection | null} */
  #opened = null;
  /** @type {LiveInteractions} */
  value;

  /** @param {Rejoin} rejoin @param {string | null} campaignId */
  constructor(rejoin, campaignId) {
    this.rejoin = rejoin;
    this.value = {
      activeInteractions: [],
      currentInteractionId: null,
      currentCampaignId: campaignId,
      isLoading: true,
      error: null,
      lastUpdate: null,
      setCurrentInteraction: (id) => this.#set({ currentInteractionId: id }),
      clearCurrentInteraction: () => this.#set({ currentInteractionId: null }),
      refreshInteractions: async () => void (await this.#opened?.refresh()),
      optimisticUpdate: (id, patch) => {
        this.#optimistic.set(id, { patch, version: this.#opened?.get(id)?.version ?? 0 });
        this.#read();
      },
      rollbackUpdate: (id) => {
        if (this.#optimistic.delete(id)) this.#read();
      },
    };
  }

  /** Follows the interactions. Gives what ends it. */
  open() {
    const opened = (this.#opened = this.rejoin.collection('interactions'));
    const stops = [
      opened.subscribe(() => this.#read()),
      opened.onEvent(({ event }) => {
        if (event === 'change' || event === 'snapshot') this.value = { ...this.value, lastUpdate: new Date() };
      }),
      () => opened.close(),
    ];
    this.#read();
    return () => stops.forEach((stop) => stop());
  }

  /** @param {() => void} fn */
  subscribe = (fn) => {
    this.#subscribers.add(fn);
    return () => void this.#subscribers.delete(fn);
  };

  #read() {
    const opened = this.#opened;
    if (!opened) return;
    const { currentCampaignId, activeInteractions: before } = this.value;
    const active = opened.items
      .filter(({ state }) => !OVER.includes(state.status))
      .filter(({ state }) => currentCampaignId === null || state.campaignId === currentCampaignId)
      .map((one) => this.#shown(one));
    // What is the same stays the same object, so that nobody draws it again.
    const kept = active.map((one) => before.find((other) => other.id === one.id && equal(other, one)) ?? one);
    const same = kept.length === before.length && kept.every((one, at) => one === before[at]);
    this.#set({ activeInteractions: same ? before : kept, isLoading: !opened.loaded, error: opened.error });
  }

  /** @param {DocumentBody} one */
  #shown(one) {
    const change = this.#optimistic.get(one.id);
    if (!change) return one;
    if (one.version > change.version) {
      this.#optimistic.delete(one.id);
      return one;
    }
    return { ...one, state: mergePatch(one.state, change.patch) };
  }

  /** @param {Partial<LiveInteractions>} changes */
  #set(changes) {
    this.value = { ...this.value, ...changes };
    for (const fn of [...this.#subscribers]) fn();
  }
}

const Context = createContext(/** @type {InteractionStore | null} */ (null));

/**
 * Follows the live interactions, of one campaign or of all, for the components below.
 * @param {{campaignId?: string | null, children?: import('react').ReactNode}} properties
 */
export function LiveInteractionProvider({ campaignId = null, children }) {
  const rejoin = useRejoin();
  const store = useMemo(() => new InteractionStore(rejoin, campaignId), [rejoin, campaignId]);
  useEffect(() => store.open(), [store]);
  return createElement(Context.Provider, { value: store }, children);
}

/** @param {any} one @param {any} other */
function shallowEqual(one, other) {
  if (Object.is(one, other)) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || !one || !other) return false;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => Object.is(one[name], other[name]));
}

/**
 * What the nearest `LiveInteractionProvider` knows. With a selector the component is drawn again only when what it
 * selects is another, compared member by member.
 * @template [Selected=LiveInteractions]
 * @param {(interactions: LiveInteractions) => Selected} [selector]
 * @returns {Selected}
 */
export function useLiveInteraction(selector = (all) => /** @type {Selected} */ (/** @type {unknown} */ (all))) {
  const store = useContext(Context);
  if (!store) throw new Error('there is no LiveInteractionProvider around this component');
  /** @type {import('react').RefObject<{selected: Selected} | null>} */
  const last = useRef(null);
  const get = () => {
    const selected = selector(store.value);
    if (!last.current || !shallowEqual(last.current.selected, selected)) last.current = { selected };
    return last.current.selected;
  };
  return useSyncExternalStore(store.subscribe, get, get);
}

/** What other tabs are told by `broadcastUpdate`. */
const UPDATE = 'page-update';

/**
 * Notifications of this browser, and messages between its tabs.
 * @param {{onUpdate?: (update: any) => void}} [options] `onUpdate` is called with what other tabs broadcast
 */
export function useLiveInteractionNotifications({ onUpdate } = {}) {
  const { hub, notifications } = useRejoin();
  const list = useNotifications();
  const settings = useSettings(notifications);
  const [online, setOnline] = useState(isOnline());
  const told = useRef(onUpdate);
  told.current = onUpdate;
  useEffect(() => {
    const look = () => setOnline(isOnline());
    return listen(/** @type {any} */ (globalThis), { online: look, offline: look });
  }, []);
  useEffect(() => {
    const receive = (/** @type {any} */ { kind, update }) => void (kind === UPDATE && told.current?.(update));
    hub.onMessage.add(receive);
    return () => void hub.onMessage.delete(receive);
  }, [hub]);
  return {
    ...list,
    createNotification: useCallback(
      (/** @type {import('./types.js').NotificationBody} */ body) => notifications.create(body), [notifications]),
    syncAcrossTabs: useCallback(() => notifications.share(), [notifications]),
    broadcastUpdate: useCallback((/** @type {any} */ update) => hub.post({ kind: UPDATE, update }), [hub]),
    isOnline: online,
    settings,
    setSettings: useCallback(
      (/** @type {Partial<import('./types.js').NotificationSettings>} */ changes) => notifications.setSettings(changes),
      [notifications]),
  };
}

/** @param {import('./notifications.js').Notifications} notifications */
function useSettings(notifications) {
  // They are read from the browser's store each time, so their text tells whether they are others.
  const text = useSyncExternalStore(
    (fn) => notifications.subscribe(fn),
    () => JSON.stringify(notifications.settings),
    () => JSON.stringify(notifications.settings),
  );
  return useMemo(() => /** @type {import('./types.js').NotificationSettings} */ (JSON.parse(text)), [text]);
}
