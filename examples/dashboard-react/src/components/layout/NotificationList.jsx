import { useLiveInteractionNotifications } from 'rejoin-client/react';

import { time } from '../../lib/dates.js';

const TYPES = { turn: 'Turns', action: 'Actions', status: 'Status' };

export function NotificationList() {
  const { notifications, unread, markRead, isOnline, settings, setSettings } = useLiveInteractionNotifications();
  return (
    <section aria-labelledby="notifications">
      <h2 id="notifications">Notifications {unread > 0 && <span className="count">{unread}</span>}</h2>
      <div className="choices">
        {Object.entries(TYPES).map(([type, label]) => (
          <label key={type}>
            <input
              type="checkbox"
              checked={settings[type].enabled}
              onChange={({ target }) => setSettings({ [type]: { ...settings[type], enabled: target.checked } })}
            />
            {label}
          </label>
        ))}
      </div>
      {!isOnline && <p className="quiet">You are offline; they come when you are back.</p>}
      {notifications.length === 0 && (
        <p className="quiet">Whose turn it is, and what needs a decision, appears here.</p>
      )}
      <ul>
        {notifications.slice(0, 8).map((one) => (
          <li key={one.id} className={one.read ? 'quiet' : undefined}>
            <strong>{one.title}</strong> {one.body} <small>{time(one.at)}</small>
            {!one.read && (
              <button type="button" onClick={() => markRead(one.id)}>
                Read
              </button>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
