// How the server is reached, shown.

import { createElement, useEffect, useState } from 'react';

import { useConnectionStatus, useRejoin } from './react-provider.js';

/** @typedef {import('./types.js').ConnectionStatus} ConnectionStatus */
/** @typedef {{text: string, colour: string, background: string, icon: string}} Look */

/**
 * Text, colours and the path of an icon in a square of 16: not by colour alone. Text has a contrast of at least 4.5:1
 * with its background, in light and in dark pages.
 * @type {Record<ConnectionStatus, Look>}
 */
const LOOKS = {
  connected: {
    text: 'Connected', icon: 'M3 8.5l3.2 3.2L13 5',
    colour: 'light-dark(#047857, #6ee7b7)', background: 'light-dark(#ecfdf5, #022c22)',
  },
  reconnecting: {
    text: 'Reconnecting', icon: 'M13 8a5 5 0 1 1-1.5-3.6M13 2.5v2.6h-2.6',
    colour: 'light-dark(#92400e, #fcd34d)', background: 'light-dark(#fffbeb, #451a03)',
  },
  'polling-fallback': {
    text: 'Updating every 10 s', icon: 'M8 4v4l2.5 2M8 2.5a5.5 5.5 0 1 0 .01 0',
    colour: 'light-dark(#0369a1, #7dd3fc)', background: 'light-dark(#f0f9ff, #082f49)',
  },
  offline: {
    text: 'Offline', icon: 'M3 3l10 10M13 3L3 13',
    colour: 'light-dark(#be123c, #fda4af)', background: 'light-dark(#fff1f2, #4c0519)',
  },
  closed: {
    text: 'Not followed', icon: 'M3 8h10',
    colour: 'light-dark(#475569, #cbd5e1)', background: 'light-dark(#f1f5f9, #1e293b)',
  },
};

/** How long the connection may be away before a banner says so, in milliseconds: a short loss is no news. */
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
  const shown = status ?? current ?? 'closed';
  const look = LOOKS[shown];
  const style = {
    display: 'inline-flex', alignItems: 'center', gap: 6, padding: '2px 10px', borderRadius: 999, fontSize: 13,
    lineHeight: '20px', color: look.colour, background: look.background, border: '1px solid currentColor',
    whiteSpace: /** @type {const} */ ('nowrap'),
  };
  return createElement('span', { role: 'status', className, style, 'data-status': shown }, icon(look.icon), look.text);
}

/**
 * Says that what the page shows may be old, with a button that tries at once. Nothing while all is well, or while the
 * page follows nothing.
 * @param {{className?: string}} properties
 */
export function LiveUpdatesPausedBanner({ className }) {
  const rejoin = useRejoin();
  const status = useConnectionStatus();
  const [late, setLate] = useState(false);
  const paused = status !== null && status !== 'connected';
  useEffect(() => {
    if (!paused) return undefined;
    const timer = setTimeout(() => setLate(true), GRACE_MS);
    return () => {
      clearTimeout(timer);
      setLate(false);
    };
  }, [paused]);
  if (!paused || !late) return null;
  const style = {
    display: 'flex', alignItems: 'center', gap: 12, flexWrap: /** @type {const} */ ('wrap'), padding: '8px 16px',
    background: 'light-dark(#fef3c7, #451a03)', color: 'light-dark(#78350f, #fde68a)', fontSize: 14,
  };
  const button = {
    font: 'inherit', fontWeight: 600, padding: '4px 12px', borderRadius: 6, border: '1px solid currentColor',
    background: 'transparent', color: 'inherit', cursor: 'pointer',
  };
  return createElement(
    'div',
    { role: 'alert', className, style },
    icon(LOOKS[status].icon),
    createElement('span', null, createElement('strong', null, 'Live updates paused.'), ' What you see may be old.'),
    createElement('button', { type: 'button', style: button, onClick: () => rejoin.reconnect() }, 'Reconnect'),
  );
}
