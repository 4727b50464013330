// The live interactions of a campaign, and the one that a person looks at.

import { createContext, createElement, useCallback, useContext, useEffect, useMemo, useRef,
  useSyncExternalStore } from 'react';

import { isOnline, listen } from './environment.js';
import { mergePatch } from './patch.js';
import { shallowEqual, useNotifications, useSubscribed } from './react-documents.js';
import { useRejoin } from './react-provider.js';

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

const ENDED_STATUSES = ['completed', 'cancelled'];

/** What the components of a provider share, outside of React, so that each sees only what it selects. */
class InteractionStore {
  /** @type {Set<() => void>} */
  #subscribers = new Set();
  /** What is shown before the server has said it, and of which version. @type {Map<string, {of: DocumentBody,
   *   shown: DocumentBody}>} */
  #optimistic = new Map();
  /** @type {import('./collections.js').RejoinCollection | undefined} */
  #opened;
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
        const of = this.#opened?.get(id);
        if (!of) return;
        const before = this.#shown(of);
        this.#optimistic.set(id, { of, shown: { ...before, state: mergePatch(before.state, patch) } });
        this.#read();
      },
      rollbackUpdate: (id) => {
        if (this.#optimistic.delete(id)) this.#read();
      },
    };
    this.#opened = rejoin.openCollection('interactions');
    this.#read();
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
      .map((one) => this.#shown(one))
      .filter(({ state }) => !ENDED_STATUSES.includes(state.status))
      .filter(({ state }) => currentCampaignId === null || state.campaignId === currentCampaignId);
    const activeInteractions = shallowEqual(active, before) ? before : active;
    this.#set({ activeInteractions, isLoading: !opened.loaded, error: opened.error });
  }

  /** @param {DocumentBody} one */
  #shown(one) {
    const optimistic = this.#optimistic.get(one.id);
    if (!optimistic) return one;
    const { of, shown } = optimistic;
    if (of.version === one.version && of.hash === one.hash) return shown;
    this.#optimistic.delete(one.id);
    return one;
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

const subscribeOnline = (/** @type {() => void} */ fn) =>
  listen(/** @type {any} */ (globalThis), { online: fn, offline: fn });

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
  const online = useSyncExternalStore(subscribeOnline, isOnline, () => true);
  const told = useRef(onUpdate);
  told.current = onUpdate;
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
  const text = useSubscribed(notifications, (source) => JSON.stringify(source.settings));
  return useMemo(() => /** @type {import('./types.js').NotificationSettings} */ (JSON.parse(text)), [text]);
}
