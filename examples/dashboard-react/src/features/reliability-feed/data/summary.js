// Pure: what verdicts say together.

/** The worst first. */
const ORDER = ['discrepancy', 'stale', 'verified'];

/**
 * Verdicts by service, those that need somebody first.
 * @param {Record<string, {service: string, status: string}>} all
 */
export const sorted = (all) =>
  Object.values(all).sort(
    (one, other) => ORDER.indexOf(one.status) - ORDER.indexOf(other.status) || one.service.localeCompare(other.service),
  );

/** One sentence that says whether all is well. @param {Record<string, {service: string, status: string}>} all */
export function summary(all) {
  const verdicts = Object.values(all);
  const named = (/** @type {string} */ status) =>
    verdicts.filter((one) => one.status === status).map((one) => one.service);
  if (verdicts.length === 0) return 'Nothing has been compared yet.';
  const differing = named('discrepancy');
  if (differing.length > 0) return `${differing.join(', ')}: what is there is not what should be.`;
  const stale = named('stale');
  if (stale.length > 0) return `${stale.join(', ')}: not known at the moment.`;
  return `All ${verdicts.length} services are verified.`;
}
