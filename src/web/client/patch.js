// Patches on immutable states: what does not change is shared between the old state and the new.

/** @typedef {import('./types.js').Operation} Operation */

/** @param {unknown} value @returns {value is Record<string, any>} */
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** @param {string} path of a JSON pointer */
const parts = (path) => path.split('/').slice(1).map((part) => part.replace(/~1/g, '/').replace(/~0/g, '~'));

/**
 * Applies JSON Patch operations (RFC 6902: `add`, `remove`, `replace`, `move`, `copy`, `test`). Throws where one does
 * not fit. Many patches at once copy each object once only.
 * @param {any} state is not changed
 * @param {Operation[]} operations
 * @returns {any}
 */
export function applyPatch(state, operations) {
  /** Objects made here, which nobody else has yet. @type {Set<object>} */
  const own = new Set();
  /** @param {any} value */
  const writable = (value) => {
    if (typeof value !== 'object' || value === null) throw new Error('a patch does not fit: no such place');
    if (own.has(value)) return value;
    const copy = Array.isArray(value) ? value.slice() : { ...value };
    own.add(copy);
    return copy;
  };
  /** @param {string[]} keys @param {string} op @param {any} [value] */
  const change = (keys, op, value) => {
    if (keys.length === 0) {
      state = op === 'remove' ? null : value;
      return;
    }
    let at = (state = writable(state));
    for (const key of keys.slice(0, -1)) at = at[key] = writable(Object.hasOwn(at, key) ? at[key] : null);
    const key = keys[keys.length - 1];
    if (Array.isArray(at)) {
      const index = key === '-' ? at.length : Number(key);
      if (!(index >= 0 && index <= at.length - (op === 'add' ? 0 : 1))) throw new Error(`a patch does not fit: ${key}`);
      at.splice(index, op === 'add' ? 0 : 1, ...(op === 'remove' ? [] : [value]));
    } else if (op !== 'add' && !Object.hasOwn(at, key)) {
      throw new Error(`a patch does not fit: ${key}`);
    } else if (op === 'remove') {
      delete at[key];
    } else {
      // A member called __proto__ is a member.
      Object.defineProperty(at, key, { value, writable: true, enumerable: true, configurable: true });
    }
  };
  /** @param {string[]} keys */
  const read = (keys) => keys.reduce((at, key) => at[key], state);
  for (const { op, path, value, from = '' } of operations) {
    const keys = parts(path);
    if (op === 'test') {
      if (!equal(read(keys), value)) throw new Error(`a patch does not fit: ${path} differs`);
    } else if (op === 'move' || op === 'copy') {
      const moved = read(parts(from));
      if (op === 'move') change(parts(from), 'remove');
      change(keys, 'add', moved);
    } else {
      change(keys, op, value);
    }
  }
  return state;
}

/**
 * Applies a merge patch (RFC 7396).
 * @param {any} state is not changed
 * @param {any} patch
 * @returns {any}
 */
export function mergePatch(state, patch) {
  if (!isObject(patch)) return patch;
  const merged = new Map(isObject(state) ? Object.entries(state) : []);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else merged.set(key, mergePatch(merged.get(key), value));
  }
  return Object.fromEntries(merged);
}

/**
 * The merge patch that makes one object of another.
 * @param {any} from
 * @param {any} to
 * @returns {any}
 */
export function mergeDifference(from, to) {
  if (!isObject(from) || !isObject(to)) return to;
  /** @type {[string, any][]} */
  const members = [];
  for (const key of Object.keys(from)) if (!Object.hasOwn(to, key)) members.push([key, null]);
  for (const [key, value] of Object.entries(to)) {
    if (!Object.hasOwn(from, key)) members.push([key, value]);
    else if (!equal(from[key], value)) members.push([key, mergeDifference(from[key], value)]);
  }
  return Object.fromEntries(members);
}

/**
 * Whether two JSON values are the same, whatever the order of their members.
 * @param {any} one
 * @param {any} other
 * @returns {boolean}
 */
export function equal(one, other) {
  if (one === other) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || !one || !other) return false;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const keys = Object.keys(one);
  return (
    keys.length === Object.keys(other).length &&
    keys.every((key) => Object.hasOwn(other, key) && equal(one[key], other[key]))
  );
}
