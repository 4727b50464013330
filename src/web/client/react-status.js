// How the server is reached, shown.

import { createElement, useEffect, useState } from 'react';

import { useConnectionStatus, useRejoin } from './react-context.js';

/** @typedef {import('./types.js').ConnectionStatus} ConnectionStatus */

/** Text, colour and the path of an icon in a square of 16. Not by colour alone.
 * @type {Record<ConnectionStatus, [text: string, colour: string, icon: string]>} */
const LOOKS = {
  connected: ['Connected', '#059669', 'M3 8.5l3.2 3.2L13 5'],
  reconnecting: ['Reconnecting', '#d97706', 'M13 8a5 5 0 1 1-1.5-3.6M13 2.5v2.6h-2.6'],
  'polling-fallback': ['Updating every 10 s', '#0284c7', 'M8 4v4l2.5 2M8 2.5a5.5 5.5 0 1 0 .01 0'],
  offline: ['Offline', '#e11d48', 'M3 3l10 10M13 3L3 13'],
  closed: ['Not followed', '#64748b', 'M3 8h10'],
};

/** How long the connection may be away before anybody is told, in milliseconds: a short loss is no news. */
const GRACE_MS = 1_500;

/** @param {string} path */
const icon = (path) => createElement(
  'svg',
  { width: 14, height: 14, viewBox: '0 0 16 16', fill: 'none', stroke: 'currentColor', strokeWidth: 2,
    strokeLinecap: 'round', strokeLinejoin: 'round', 'aria-hidden': true },
  createElement('path', { d: path }),
);

/**
 * A small label with the status of the connection.
 * @param {{status?: ConnectionStatus, className?: string}} properties `status`: left out, that of the page
 */
export function ConnectionStatusBadge({ status, className }) {
  const current = useConnectionStatus();
  const shown = status ?? current;
  const [text, colour, path] = LOOKS[shown];
  const style = {
    display: 'inline-flex', alignItems: 'center', gap: 6, padding: '2px 10px', borderRadius: 999, fontSize: 13,
    lineHeight: '20px', color: colour, border: '1px solid currentColor', whiteSpace: /** @type {const} */ ('nowrap'),
  };
  return createElement('span', { role: 'status', className, style, 'data-status': shown }, icon(path), text);
}

/**
 * Says that what the page shows may be old, with a button that tries at once. Nothing while all is well.
 * @param {{className?: string}} properties
 */
export function LiveUpdatesPausedBanner({ className }) {
  const rejoin = useRejoin();
  const status = useConnectionStatus();
  const [late, setLate] = useState(false);
  const paused = status !== 'connected';
  useEffect(() => {
    if (!paused) return setLate(false);
    const timer = setTimeout(() => setLate(true), GRACE_MS);
    return () => clearTimeout(timer);
  }, [paused]);
  if (!paused || !late) return null;
  const style = {
    display: 'flex', alignItems: 'center', gap: 12, flexWrap: /** @type {const} */ ('wrap'), padding: '8px 16px',
    background: '#fef3c7', color: '#78350f', fontSize: 14,
  };
  const button = {
    font: 'inherit', fontWeight: 600, padding: '4px 12px', borderRadius: 6, border: '1px solid currentColor',
    background: 'transparent', color: 'inherit', cursor: 'pointer',
  };
  return createElement(
    'div',
    { role: 'alert', className, style },
    icon(LOOKS[status][2]),
    createElement('span', null, createElement('strong', null, 'Live updates paused.'), ' What you see may be old.'),
    createElement('button', { type: 'button', style: button, onClick: () => rejoin.reconnect() }, 'Reconnect'),
  );
}
