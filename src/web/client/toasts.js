// How a notification looks and sounds. No style of the page is needed; its own win by the class `rejoin-toast`.

/** @typedef {import('./types.js').RejoinNotification} RejoinNotification */

/** Most that are on the page; the oldest go. */
const TOASTS_MAX = 5;
const PLACE = 'position:fixed;right:1rem;bottom:1rem;z-index:2147483647;display:grid;gap:.5rem;max-width:22rem';
const LOOK = 'all:revert;font:1rem/1.4 system-ui,sans-serif;text-align:left;padding:.75rem 1rem;border-radius:.5rem;' +
  'border:1px solid #8886;background:Canvas;color:CanvasText;box-shadow:0 2px 12px #0004;cursor:pointer';

/**
 * Shows it on the page until it is clicked or its time is over.
 * @param {RejoinNotification} one
 * @param {{sound: boolean, closeAfterSeconds: number}} rule 0 seconds: until it is clicked
 * @param {() => void} onRead
 */
export function showToast({ title, body, type }, { sound, closeAfterSeconds }, onRead) {
  const page = globalThis.document;
  if (!page?.body) return;
  let place = page.getElementById('rejoin-toasts');
  if (!place) {
    place = page.createElement('div');
    Object.assign(place, { id: 'rejoin-toasts', role: 'status', ariaLive: 'polite' });
    place.style.cssText = PLACE;
    page.body.append(place);
  }
  const toast = page.createElement('button');
  toast.className = `rejoin-toast rejoin-toast-${type}`;
  toast.style.cssText = LOOK;
  const heading = page.createElement('strong');
  heading.textContent = title;
  toast.append(heading, ...(body ? [page.createElement('br'), body] : []));
  toast.onclick = () => {
    toast.remove();
    onRead();
  };
  place.append(toast);
  while (place.children.length > TOASTS_MAX) place.firstChild?.remove();
  if (closeAfterSeconds > 0) setTimeout(() => toast.remove(), closeAfterSeconds * 1000);
  if (sound) beep();
}

/** Gives whether the system shows it. @param {RejoinNotification} one */
export function showSystem({ id, title, body }) {
  try {
    if (globalThis.Notification?.permission !== 'granted') return false;
    return Boolean(new Notification(title, { body, tag: id }));
  } catch {
    // Some systems allow it to service workers only.
    return false;
  }
}

function beep() {
  try {
    const audio = new AudioContext();
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    volume.gain.value = 0.1;
    tone.connect(volume).connect(audio.destination);
    tone.start();
    tone.stop(audio.currentTime + 0.15);
    tone.onended = () => void audio.close();
  } catch {
    // No sound without a gesture, or none at all.
  }
}
