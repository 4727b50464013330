// What failed and whether another attempt can help.

/** @typedef {import('./types.js').FailureKind} FailureKind */
/** @typedef {import('./types.js').RetryOptions} RetryOptions */

/** A request that did not get what it asked for. */
export class RejoinError extends Error {
  name = 'RejoinError';

  /**
   * @param {string} message
   * @param {{status?: number, kind?: FailureKind, problem?: any, retryAfter?: number, cause?: unknown}} [what]
   */
  constructor(message, { status = 0, kind, problem = null, retryAfter, cause } = {}) {
    super(message, { cause });
    /** Of the answer; 0 when there was none. */
    this.status = status;
    /** The body of the answer, as RFC 9457 has it; null when there was none. */
    this.problem = problem;
    /** How long to wait before another attempt, in seconds, when the server said so. */
    this.retryAfter = retryAfter;
    this.kind = kind ?? classify(this);
  }
}

/**
 * What kind of failure an error is, by its `status`, or that of its `response`.
 * @param {any} error
 * @returns {FailureKind}
 */
export function classify(error) {
  if (['network', 'timeout', 'rate-limit', 'conflict', 'rejection', 'server'].includes(error?.kind)) return error.kind;
  const status = error?.status || error?.response?.status || 0;
  if (status === 408 || error?.name === 'TimeoutError' || error?.name === 'AbortError') return 'timeout';
  if (status === 429) return 'rate-limit';
  if (status === 409 || status === 412) return 'conflict';
  if (status >= 500) return 'server';
  if (status >= 400) return 'rejection';
  return 'network';
}

/** Whether the same attempt may succeed later. @param {any} error */
export const isRetryable = (error) => !['conflict', 'rejection'].includes(classify(error));

/** How long the server asked to wait, in milliseconds; 0: it did not. @param {any} error */
function waitAsked(error) {
  const said = error?.retryAfter ?? error?.response?.headers?.get?.('retry-after');
  if (said == null) return 0;
  const seconds = Number(said);
  const wait = Number.isNaN(seconds) ? Date.parse(said) - Date.now() : seconds * 1000;
  return wait > 0 ? wait : 0;
}

/** @type {Required<Omit<RetryOptions, 'signal'>>} */
const DEFAULTS = { maxRetries: 3, retryDelay: 1000, backoffMultiplier: 2, timeout: 10_000 };

/**
 * Rejects with a `TimeoutError` when `run` takes longer than `timeout` milliseconds.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T> | T} run
 * @param {number} timeout
 * @returns {Promise<T>}
 */
export function withTimeout(run, timeout) {
  const controller = new AbortController();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new RejoinError(`no answer within ${timeout} ms`, { kind: 'timeout' }));
      controller.abort();
    }, timeout);
    const done = () => clearTimeout(timer);
    Promise.resolve()
      .then(() => run(controller.signal))
      .then(resolve, reject)
      .finally(done);
  });
}

/** @param {number} ms */
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Runs `operation`, and again after failures that another attempt can help: after `retryDelay` ms, then
 * `backoffMultiplier` times as long each time, at least as long as `Retry-After` says. Conflicts and rejections are
 * never tried again.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T> | T} operation
 * @param {RetryOptions} [options]
 * @returns {Promise<T>}
 */
export async function executeWithRetry(operation, options = {}) {
  const { maxRetries, retryDelay, backoffMultiplier, timeout } = { ...DEFAULTS, ...options };
  for (let retries = 0; ; retries += 1) {
    try {
      return await withTimeout(operation, timeout);
    } catch (error) {
      if (retries >= maxRetries || !isRetryable(error)) throw error;
      await pause(Math.max(retryDelay * backoffMultiplier ** retries, waitAsked(error)));
    }
  }
}

/**
 * Retries with a memory: operations whose retries did not help are kept, to be run again later.
 * @param {{size: () => number, drain: () => Promise<void>, clear: () => Promise<void>}} [queue] of writes that wait
 * @returns {import('./types.js').ErrorRecovery}
 */
export function createErrorRecovery(queue) {
  /** @type {{operation: (signal: AbortSignal) => any, options?: RetryOptions}[]} */
  let pending = [];
  /** @type {import('./types.js').ErrorRecovery['executeWithRetry']} */
  const execute = async (operation, options) => {
    try {
      return await executeWithRetry(operation, options);
    } catch (error) {
      if (isRetryable(error)) pending.push({ operation, options });
      throw error;
    }
  };
  return {
    classify,
    executeWithRetry: execute,
    async retryPendingOperations() {
      const again = pending;
      pending = [];
      const outcome = { succeeded: 0, failed: 0 };
      for (const { operation, options } of again) {
        await execute(operation, options).then(
          () => (outcome.succeeded += 1),
          () => (outcome.failed += 1),
        );
      }
      await queue?.drain();
      return outcome;
    },
    getPendingOperationsCount: () => pending.length + (queue?.size() ?? 0),
    async clearPendingOperations() {
      pending = [];
      await queue?.clear();
    },
  };
}

/** For operations that belong to no server in particular. */
export const errorRecovery = createErrorRecovery();
