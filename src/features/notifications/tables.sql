-- Notifications: what people are told of changes that concern them. A row per recipient, written with the change.
-- Bounded for each recipient and in all: the oldest that are read go first.
CREATE TABLE IF NOT EXISTS notifications (
    number    INTEGER PRIMARY KEY,      -- rises with time
    id        TEXT    NOT NULL UNIQUE,
    recipient TEXT    NOT NULL,         -- @owner: the owner of the server
    kind      TEXT    NOT NULL,         -- turn, action, status
    title     TEXT    NOT NULL,
    body      TEXT    NOT NULL,
    document  INTEGER NOT NULL REFERENCES documents (key),
    version   INTEGER NOT NULL,         -- of the document, after the change
    seq       INTEGER NOT NULL,         -- of the change's event
    at        TEXT    NOT NULL,
    read_at   TEXT                      -- NULL: it is unread
) STRICT;

CREATE INDEX IF NOT EXISTS notifications_by_recipient ON notifications (recipient, seq);
CREATE INDEX IF NOT EXISTS notifications_by_document ON notifications (document);

-- What people want of them, as JSON. Whoever has no row has the defaults.
CREATE TABLE IF NOT EXISTS notification_preferences (
    recipient   TEXT PRIMARY KEY,
    preferences TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The last replay to each device at whose end there was something to tell: a device that comes back from before that
-- end is told it again. Bounded for each recipient and in all: the oldest go first.
CREATE TABLE IF NOT EXISTS notification_replays (
    number    INTEGER PRIMARY KEY,      -- rises with time
    recipient TEXT    NOT NULL,
    device    TEXT    NOT NULL,         -- a session, or the address of whoever shows none
    from_seq  INTEGER NOT NULL,         -- of the first change that there was something to tell of
    to_seq    INTEGER NOT NULL,         -- of the change at which the replay ended
    UNIQUE (recipient, device)
) STRICT;
