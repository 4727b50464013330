// Verdicts of the reconciliation stream, checked before a page relies on them.

/**
 * @typedef {object} Verdict
 * @property {string} eventId
 * @property {string} service
 * @property {'verified' | 'stale' | 'discrepancy'} status
 * @property {Record<string, number>} counts
 * @property {string} checksum
 * @property {number} latencyMs
 * @property {{expected: Record<string, number>, actual: Record<string, number>, missingJobIds: string[]}}
 *   [discrepancyDetails]
 * @property {string} [at]
 */

/** @param {unknown} value @returns {value is Record<string, any>} */
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** @param {unknown} value */
const isCounts = (value) => isObject(value) && Object.values(value).every((count) => Number.isFinite(count));

/** @param {unknown} value */
const isIds = (value) => Array.isArray(value) && value.every((id) => typeof id === 'string');

/** @param {unknown} value */
const isDetails = (value) =>
  isObject(value) && isCounts(value.expected) && isCounts(value.actual) && isIds(value.missingJobIds);

/** @type {[name: string, wanted: string, holds: (value: any) => boolean][]} */
const MEMBERS = [
  ['eventId', 'a text that is not empty', (value) => typeof value === 'string' && value !== ''],
  ['service', 'a text that is not empty', (value) => typeof value === 'string' && value !== ''],
  ['status', 'verified, stale or discrepancy', (value) => ['verified', 'stale', 'discrepancy'].includes(value)],
  ['counts', 'numbers by name', isCounts],
  ['checksum', '64 hexadecimal digits', (value) => /^[0-9a-f]{64}$/.test(String(value))],
  ['latencyMs', 'a number of at least 0', (value) => Number.isFinite(value) && value >= 0],
  ['discrepancyDetails', '{expected, actual, missingJobIds}', (value) => value === undefined || isDetails(value)],
];

/**
 * What is wrong with a verdict; empty when nothing is.
 * @param {unknown} data
 * @returns {string[]}
 */
export function verdictProblems(data) {
  if (!isObject(data)) return ['is not an object'];
  return MEMBERS.filter(([name, , holds]) => !holds(data[name])).map(([name, wanted]) => `${name} is not ${wanted}`);
}
