const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });

/** A moment as a person reads it; a dash for none. @param {string | Date | null | undefined} at */
export const time = (at) => (at ? TIME.format(new Date(at)) : '–');
