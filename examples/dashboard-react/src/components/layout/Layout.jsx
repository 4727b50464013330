import { ConnectionStatusBadge, LiveUpdatesPausedBanner, useConflicts } from 'rejoin-client/react';

import { NotificationList } from './NotificationList.jsx';

export function Layout({ children }) {
  return (
    <>
      <LiveUpdatesPausedBanner />
      <header className="bar">
        <h1>Rejoin</h1>
        <ConnectionStatusBadge />
      </header>
      <main className="columns">
        <div>{children}</div>
        <aside>
          <NotificationList />
          <ConflictList />
        </aside>
      </main>
    </>
  );
}

function ConflictList() {
  const { conflicts, dismiss } = useConflicts();
  return (
    <section aria-labelledby="conflicts">
      <h2 id="conflicts">Conflicts</h2>
      {conflicts.length === 0 && (
        <p className="quiet">What you changed offline and could not be merged appears here.</p>
      )}
      <ul>
        {conflicts.map((one) => (
          <li key={one.id}>
            <strong>{one.document}</strong> {one.path ?? one.problem?.detail}
            <button type="button" onClick={() => dismiss(one.id)}>
              Dismiss
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
