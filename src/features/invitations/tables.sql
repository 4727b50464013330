-- Invitations: links by which people come in. The token of a link stands nowhere here. ------------------------------

-- A row is kept for 30 days after it is over, by the job `invitations-cleanup`.
CREATE TABLE IF NOT EXISTS invitations (
    id              TEXT    PRIMARY KEY,
    hash            TEXT    NOT NULL UNIQUE,  -- SHA-256 of the token
    user            TEXT,                     -- for whom; NULL: whoever comes is asked for a name, and is a new user
    scoped          INTEGER NOT NULL,         -- 1: to the documents in invitation_documents; 0: to all
    seat            TEXT,                     -- the place that is taken: any, or a number from 0 on; NULL: none
    uses            INTEGER NOT NULL,         -- how often it may be used,
    used            INTEGER NOT NULL,         -- and was
    target          TEXT,                     -- the path that the page goes on to
    created_by      TEXT    NOT NULL,         -- @owner: the owner of the server
    created_by_name TEXT    NOT NULL,         -- as those who come are told
    created_at      TEXT    NOT NULL,
    expires_at      TEXT    NOT NULL,
    ended_at        TEXT,                     -- NULL: nobody has ended it
    mac             TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS invitations_by_age ON invitations (expires_at);

-- What they are for. A row goes when the document is deleted.
CREATE TABLE IF NOT EXISTS invitation_documents (
    invitation TEXT    NOT NULL,
    document   INTEGER NOT NULL,              -- the key in documents; below 0: it lives in memory only, and
                                              -- memory tells whether the invitation is still to it
    collection TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    mac        TEXT,
    PRIMARY KEY (invitation, document)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS invitation_documents_by_document ON invitation_documents (document);

-- The sessions that were opened by them, or were given more.
CREATE TABLE IF NOT EXISTS invitation_sessions (
    invitation TEXT NOT NULL,
    session    TEXT NOT NULL,
    attempt    TEXT,                          -- SHA-256 over token and Idempotency-Key: a repetition gets this session
    at         TEXT NOT NULL,
    PRIMARY KEY (invitation, session)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX IF NOT EXISTS invitation_sessions_by_attempt ON invitation_sessions (attempt)
    WHERE attempt IS NOT NULL;

-- Who was asked for a name.
CREATE TABLE IF NOT EXISTS invited_users (
    user   TEXT PRIMARY KEY,
    name   TEXT NOT NULL,
    folded TEXT NOT NULL,                     -- what names that count as one have in common
    at     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- And to which documents they were invited.
CREATE TABLE IF NOT EXISTS invited_user_documents (
    user     TEXT    NOT NULL,
    document INTEGER NOT NULL,
    PRIMARY KEY (user, document)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS invited_user_documents_by_document ON invited_user_documents (document);
