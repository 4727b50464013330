-- Consumers of the log: up to where each has read it. Written in the transaction of what it made of that.
CREATE TABLE IF NOT EXISTS consumers (
    name TEXT    PRIMARY KEY,
    seq  INTEGER NOT NULL,              -- of the last event that it is done with
    at   TEXT    NOT NULL,              -- when that was written
    mac  TEXT
) STRICT, WITHOUT ROWID;
