-- Deletions of whole collections: a row each, written before it is begun, so that a kill in the middle leaves none half
-- done. The newest 100 that are over are kept.
CREATE TABLE IF NOT EXISTS collection_deletions (
    id           TEXT    PRIMARY KEY,
    collection   TEXT    NOT NULL,
    requested_by TEXT    NOT NULL,          -- @owner: the owner of the server
    requested_at TEXT    NOT NULL,          -- what is created later stays
    total        INTEGER,                   -- documents that there were; NULL: not counted yet
    remaining    INTEGER NOT NULL,          -- those that are still to be deleted, as of the last page
    refused      INTEGER NOT NULL,          -- those that could not be
    error        TEXT,                      -- why the first could not
    ended_at     TEXT                       -- NULL: it goes on
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS collection_deletions_by_age ON collection_deletions (requested_at);
