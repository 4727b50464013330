// Which of a browser's tabs does the work for all of them, and how they talk. A lease in `localStorage` says who leads;
// Web Locks would need a secure context.

import { listen, load, orderedId, save, storage } from './environment.js';

/** How long a lease is good without being renewed, in milliseconds. */
const LEASE_MS = 1_200;
const RENEW_MS = 400;
/** How long a leader whose lease ran out has to answer: timers of hidden tabs are slow, messages are not. */
const ANSWER_MS = 300;
/** How long others have to say that they would lead too, where there is no leader. */
const CLAIM_MS = 80;

/** @typedef {{leader: string, until: number}} Lease */

/** One tab among those of the same browser and `scope`. */
export class Tabs {
  id = orderedId();
  leads = false;
  #key;
  #channel;
  #options;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  /** What this tab has said in order to lead; empty: nothing. */
  #claimed = '';
  /** The first of all claims that were heard since. */
  #lowest = '';
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #claimTimer;
  #closed = false;
  #stop;

  /** Whether tabs can share anything here. */
  static get supported() {
    return Boolean(storage() && globalThis.BroadcastChannel);
  }

  /**
   * @param {string} scope
   * @param {object} options
   * @param {(leads: boolean) => void} options.onLead whenever it changes
   * @param {(message: any) => void} options.onMessage of other tabs
   */
  constructor(scope, options) {
    this.#key = `rejoin:leader:${scope}`;
    this.#options = options;
    this.#channel = new BroadcastChannel(`rejoin:${scope}`);
    // Node keeps running for an open channel.
    /** @type {any} */ (this.#channel).unref?.();
    this.#channel.onmessage = ({ data }) => this.#receive(data);
    this.#stop = listen(/** @type {any} */ (globalThis), {
      pagehide: () => this.#leave(),
      pageshow: () => this.#start(),
      storage: (/** @type {StorageEvent} */ event) => event.key === this.#key && this.#look(),
    });
    this.#start();
  }

  /** Tells all other tabs. @param {object} message */
  post(message) {
    if (!this.#closed) this.#channel.postMessage({ ...message, from: this.id });
  }

  close() {
    this.#leave();
    this.#stop();
    this.#closed = true;
    this.#channel.close();
  }

  #start() {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#look(), RENEW_MS / 2);
    /** @type {any} */ (this.#timer).unref?.();
    // There is nobody to ask where nobody has ever led, or whoever did has left.
    if (this.#lease()) this.#look();
    else this.#take();
  }

  #leave() {
    clearInterval(this.#timer);
    clearTimeout(this.#claimTimer);
    this.#claimed = '';
    this.post({ kind: 'gone' });
    if (!this.leads) return;
    this.#setLeads(false);
    if (this.#lease()?.leader === this.id) save(this.#key, null);
    this.post({ kind: 'vacant' });
  }

  /** @returns {Lease | null} */
  #lease() {
    return load(this.#key);
  }

  #look() {
    const lease = this.#lease();
    const now = Date.now();
    if (lease?.leader === this.id) {
      if (lease.until - now < LEASE_MS - RENEW_MS) this.#take();
      else if (!this.leads) this.#setLeads(true);
      return;
    }
    // Another one took over while this tab was asleep.
    if (this.leads) this.#setLeads(false);
    if (!this.#isVacant()) this.#claimed = '';
    if (this.#claimed || !this.#isVacant()) return;
    // Of those who want to lead, the first does: one that a person looks at, if there is one.
    const claim = `${globalThis.document?.visibilityState === 'hidden' ? 1 : 0}${this.id}`;
    this.#claimed = this.#lowest = claim;
    this.post({ kind: 'claim', claim });
    clearTimeout(this.#claimTimer);
    this.#claimTimer = setTimeout(() => {
      const won = this.#claimed === claim && this.#lowest === claim && this.#isVacant();
      this.#claimed = '';
      if (won) this.#take();
    }, lease ? ANSWER_MS : CLAIM_MS);
    /** @type {any} */ (this.#claimTimer).unref?.();
  }

  #isVacant() {
    const lease = this.#lease();
    const left = (lease?.until ?? 0) - Date.now();
    // A lease far in the future was made by a clock that was wrong.
    return left <= 0 || left > 10 * LEASE_MS;
  }

  #take() {
    save(this.#key, { leader: this.id, until: Date.now() + LEASE_MS });
    // Two tabs may write at the same time: the last one has it, the other sees that at its next look.
    const lease = this.#lease();
    // Where nothing can be stored each tab is on its own.
    if (!lease || lease.leader === this.id) this.#setLeads(true);
  }

  /** @param {boolean} leads */
  #setLeads(leads) {
    if (this.leads === leads) return;
    this.leads = leads;
    this.#options.onLead(leads);
  }

  /** @param {any} message */
  #receive(message) {
    if (message.kind === 'claim') {
      this.#look();
      if (this.leads) this.#take();
      else if (message.claim < this.#lowest) this.#lowest = message.claim;
    } else if (message.kind === 'vacant') {
      this.#look();
    } else {
      this.#options.onMessage(message);
    }
  }
}
