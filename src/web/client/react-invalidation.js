// Queries that are fetched again because the server told of changes.

/** Queries about what changes all the time are fetched again at most this often, in milliseconds. */
const INVALIDATE_MS = 100;

/**
 * A function that has queries fetched again: once for many calls, and never while they are being fetched, so that a
 * document which changes all the time does not keep its query from ever ending.
 * @param {import('@tanstack/react-query').QueryClient} queries
 */
export function createInvalidator(queries) {
  /** @type {Map<string, {queryKey: readonly unknown[], exact: boolean}>} */
  const waiting = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const flush = () => {
    timer = undefined;
    for (const [name, filter] of waiting) {
      if (queries.isFetching(filter) > 0) continue;
      waiting.delete(name);
      void queries.invalidateQueries(filter);
    }
    if (waiting.size > 0) timer = setTimeout(flush, INVALIDATE_MS);
  };
  /** @param {readonly unknown[]} queryKey @param {boolean} [exact] */
  const invalidate = (queryKey, exact = false) => {
    waiting.set(JSON.stringify([queryKey, exact]), { queryKey, exact });
    timer ??= setTimeout(flush, INVALIDATE_MS);
  };
  invalidate.stop = () => clearTimeout(timer);
  return invalidate;
}
