-- Service tokens: what scripts and bots show. Of each the hash of its token stands here, and nothing that could be
-- shown. A row goes when the token is ended.
CREATE TABLE IF NOT EXISTS service_tokens (
    id           TEXT PRIMARY KEY,
    hash         TEXT NOT NULL UNIQUE,   -- SHA-256 of the token
    name         TEXT NOT NULL,          -- for people
    access       TEXT NOT NULL CHECK (access IN ('read', 'write', 'administrator')),
    extent       TEXT,                   -- documents and collections that it reaches, as JSON; NULL: all
    created_by   TEXT NOT NULL,          -- @owner: the owner of the server
    created_at   TEXT NOT NULL,
    last_used_at TEXT,                   -- about a minute late; NULL: never
    mac          TEXT
) STRICT, WITHOUT ROWID;
