-- Makes a file of format 5 of one of format 4. The MACs are written in the same transaction.

-- The last releases of format 4 made it when they opened the file.
CREATE TABLE IF NOT EXISTS conflicts (
    number      INTEGER PRIMARY KEY,
    id          TEXT    UNIQUE,
    document    INTEGER NOT NULL REFERENCES documents (key),
    path        TEXT    NOT NULL,
    rule        TEXT    NOT NULL,
    base        TEXT,
    local       TEXT,
    server      TEXT,
    value       TEXT,
    suggestion  TEXT,
    resolution  TEXT,
    version     INTEGER NOT NULL,
    made_by     TEXT    NOT NULL,
    at          TEXT    NOT NULL,
    resolved_by TEXT,
    resolved_at TEXT
) STRICT;

ALTER TABLE reconnect_answers ADD COLUMN mac TEXT;
ALTER TABLE jobs ADD COLUMN mac TEXT;
ALTER TABLE job_runs ADD COLUMN mac TEXT;
ALTER TABLE game_removals ADD COLUMN mac TEXT;
ALTER TABLE arrivals ADD COLUMN mac TEXT;
ALTER TABLE arrival_rows ADD COLUMN mac TEXT;
ALTER TABLE rate_limit_buckets ADD COLUMN mac TEXT;
ALTER TABLE reconciliation_audit ADD COLUMN mac TEXT;
ALTER TABLE reconciliation_runs ADD COLUMN mac TEXT;
ALTER TABLE reconciliation_trimmed ADD COLUMN mac TEXT;
ALTER TABLE reconciliation_services ADD COLUMN mac TEXT;
ALTER TABLE conflicts ADD COLUMN mac TEXT;
ALTER TABLE client_errors ADD COLUMN mac TEXT;
