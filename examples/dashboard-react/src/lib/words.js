/** What the server calls it, as a person reads it: `waiting-for-players`, `nextTurn`. @param {string} name */
export function words(name) {
  const text = name.replace(/([A-Z])/g, ' $1').replaceAll('-', ' ').toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
}
