// What differs between browsers, plain `http://` pages and Node, behind one name each. Nothing here needs a secure
// context.

/** Whether the browser says that there is a network. It can be wrong: it decides what is shown, not what is tried. */
export const isOnline = () => globalThis.navigator?.onLine !== false;

/** 128 random bits as hexadecimal digits. `crypto.randomUUID` would need a secure context. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

let last = 0;
/** An id that sorts after every one that this page has made, and after those of other pages by their clocks. */
export function orderedId() {
  last = Math.max(last + 1, Date.now());
  return last.toString(36).padStart(9, '0') + randomId().slice(0, 6);
}

/** A short name for a text, which does not give the text away by looking at it. @param {string} text */
export function digest(text) {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return (hash >>> 0).toString(36);
}

/** `localStorage`, or null where there is none or it is forbidden. @returns {Storage | null} */
export function storage() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}

/**
 * What was stored under a name. @param {string} name
 * @returns {any} null when there is nothing that can be read
 */
export function load(name) {
  try {
    return JSON.parse(storage()?.getItem(name) ?? 'null');
  } catch {
    return null;
  }
}

/** Stores a value, or removes it when it is null. @param {string} name @param {unknown} value */
export function save(name, value) {
  try {
    if (value == null) storage()?.removeItem(name);
    else storage()?.setItem(name, JSON.stringify(value));
  } catch {
    // Full or forbidden: what is kept here is a convenience.
  }
}

/**
 * Calls `fn` before the next frame, or soon where the page draws none. Gives a function that takes it back.
 * @param {() => void} fn
 */
export function onFrame(fn) {
  let frame = 0;
  const cancel = () => {
    clearTimeout(timer);
    if (frame) cancelAnimationFrame(frame);
  };
  const run = () => {
    cancel();
    fn();
  };
  const timer = setTimeout(run, 50);
  if (typeof requestAnimationFrame === 'function') frame = requestAnimationFrame(run);
  return cancel;
}

/**
 * Listens on the page where there is one. Gives a function that stops.
 * @param {EventTarget | undefined} target
 * @param {Record<string, (event: any) => void>} listeners
 */
export function listen(target, listeners) {
  const entries = Object.entries(listeners);
  for (const [name, fn] of entries) target?.addEventListener?.(name, fn);
  return () => {
    for (const [name, fn] of entries) target?.removeEventListener?.(name, fn);
  };
}

/** How late a timer may be before the device must have slept, in milliseconds. */
const SLEPT_MS = 10_000;

/**
 * Tells when the network comes and goes, and when the page comes back to life: shown again, thawed, or the device woke.
 * @param {{onOnline: () => void, onOffline: () => void, onAwake: () => void}} callbacks
 */
export function watchPage({ onOnline, onOffline, onAwake }) {
  const page = globalThis.document;
  const stops = [
    listen(/** @type {any} */ (globalThis), { online: onOnline, offline: onOffline, pageshow: onAwake }),
    listen(page, { visibilitychange: () => page.visibilityState === 'visible' && onAwake(), resume: onAwake }),
  ];
  if (page) {
    let at = Date.now();
    const timer = setInterval(() => {
      const now = Date.now();
      if (now - at > SLEPT_MS) onAwake();
      at = now;
    }, 5_000);
    stops.push(() => clearInterval(timer));
  }
  return () => stops.forEach((stop) => stop());
}
