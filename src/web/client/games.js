// Seats of games, and taking them back: the reconnect token is kept in the browser and changed at each use.

import { load, save } from './environment.js';
import { pause } from './retry.js';

/** @typedef {import('./client.js').Rejoin} Rejoin */

/** Two tabs may use the same token at once; the one that is refused looks for the other's new one after so many ms. */
const RACE_MS = 500;

export class Games {
  #rejoin;

  /** @param {Rejoin} rejoin */
  constructor(rejoin) {
    this.#rejoin = rejoin;
  }

  /** @param {string} id */
  #key(id) {
    return `rejoin:seat:${this.#rejoin.hub.scope}:${id}`;
  }

  /** @param {string} id */
  #requests(id) {
    return this.#rejoin.requestsFor(`games/${id}`);
  }

  /**
   * Takes a seat, and keeps what is needed to take it back.
   * @param {string} id
   * @param {{playerId: string, seat?: number}} who
   */
  async join(id, { playerId, seat }) {
    const requests = this.#requests(id);
    const { body } = await requests.send('POST', `/api/v1/games/${id}/seats`, { body: { playerId, seat } });
    const query = `playerId=${encodeURIComponent(playerId)}`;
    const token = await requests.send('GET', `/api/game/${id}/connection-token?${query}`);
    save(this.#key(id), { playerId, token: token.body.token });
    return body;
  }

  /**
   * Takes a seat back with what `join` kept. Null: this browser has no seat in that game.
   * @param {string} id
   */
  async resume(id) {
    const document = this.#rejoin.open(`games/${id}`);
    const lastEventId = (document && this.#rejoin.hub.position(`doc=games/${id}`)) ?? undefined;
    for (let attempt = 0; ; attempt += 1) {
      const kept = load(this.#key(id));
      if (!kept) return null;
      const body = { gameId: id, playerId: kept.playerId, reconnectToken: kept.token, lastEventId };
      try {
        const answer = await this.#requests(id).send('POST', `/api/game/${id}/reconnect`, { body });
        save(this.#key(id), { playerId: kept.playerId, token: answer.body.reconnectToken });
        return answer.body;
      } catch (error) {
        const { status } = /** @type {any} */ (error);
        if (status === 409 && attempt < 3) {
          await pause(RACE_MS);
          if (load(this.#key(id))?.token !== kept.token) continue;
        }
        if (status === 401 || status === 403) this.leave(id);
        throw error;
      }
    }
  }

  /** Forgets what is needed to take a seat back. @param {string} id */
  leave(id) {
    save(this.#key(id), null);
  }
}
