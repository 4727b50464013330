-- The whole on-disk format of Rejoin: one SQLite file, `rejoin.db`, in WAL mode.
--
-- To look inside while the server runs:  sqlite3 -readonly rejoin.db
--   SELECT * FROM current_documents;  SELECT * FROM readable_events;
-- Features that came later make their tables at the start, where they are not there yet: src/features/*/tables.sql.
-- Times are text, RFC 3339 UTC with milliseconds. JSON is text. Hashes are SHA-256 in 64 lower-case hex digits.
--
-- A column `mac` is 128 bits of HMAC-SHA-256 over the name of the table and the row's other columns, by the key in
-- rejoin.integrity-key beside this file. A row that somebody else writes or changes has none, or one that does not
-- match: reconciliation and `rejoin verify` name it.

PRAGMA application_id = 1382378094;  -- 'Rejn': how we know our own files
PRAGMA user_version = 5;             -- the number of this format

-- One row: what this data is called, to tell it from other servers'. Part of the name of the session cookie.
CREATE TABLE server (
    id            TEXT NOT NULL,
    integrity_key TEXT                  -- tells the key that the MACs are made by; NULL: they are of no known key
) STRICT;

INSERT INTO server (id) VALUES (lower(hex(randomblob(6))));

-- One row: where this file was when a server last opened it. A copy of the data directory is known by it, and is called
-- something else.
CREATE TABLE server_place (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    path     TEXT NOT NULL,             -- of the data directory
    device   TEXT NOT NULL,             -- of this file, as the system numbers it
    inode    TEXT NOT NULL
) STRICT;

-- What stays the same over a document's life, and where its kept history begins. Not written again when the document
-- changes, unless that sets host or access: the newest version is the last row in `events`.
CREATE TABLE documents (
    key          INTEGER PRIMARY KEY,   -- assigned by the server, dense
    collection   TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    host         TEXT,                  -- who sees everything in it; NULL: the owner of the server
    access       TEXT,                  -- who else may read, write and delete, as JSON; NULL: see its defaults
    created_at   TEXT    NOT NULL,
    access_seq   INTEGER NOT NULL DEFAULT 0,  -- of the last event that changed host or access; 0: none did
    base_version INTEGER NOT NULL,      -- version, seq and hash of the last event that was trimmed;
    base_seq     INTEGER NOT NULL,      -- 0, 0 and 64 zeros when none was. The event after it is chained
    base_hash    TEXT    NOT NULL,      -- to base_hash, and a snapshot at base_version holds the state there.
    mac          TEXT,
    UNIQUE (collection, id)
) STRICT;

-- Answers "was anything of this collection trimmed after that seq?" without reading its documents.
CREATE INDEX documents_by_base ON documents (collection, base_seq);

-- The log: source of truth, feed of changes and replay buffer in one. Rows are only added at the end, and trimmed from
-- the oldest of each document on. The newest event of a document is never trimmed.
CREATE TABLE events (
    seq      INTEGER PRIMARY KEY,       -- its place in the log: rises, from 1 on; one that is missing was trimmed, or
                                        -- the place of a change to a document that lived in memory only, or is left out
                                        -- before a trimmed history from another server
    document INTEGER NOT NULL REFERENCES documents (key),
    version  INTEGER NOT NULL,          -- the document's version after it: dense, starts at 1
    at       TEXT    NOT NULL,
    hash     TEXT    NOT NULL,          -- SHA-256 over the document's previous hash (32 bytes) and body
    deletes  INTEGER NOT NULL,          -- 1: the document was deleted by it
    body     TEXT    NOT NULL,          -- collection, id, version, type, actor, at, payload, patch: as hashed and sent
    UNIQUE (document, version)
) STRICT;

-- A document's full state at some versions, so that loading it and looking back needs few events.
CREATE TABLE snapshots (
    document INTEGER NOT NULL REFERENCES documents (key),
    version  INTEGER NOT NULL,
    seq      INTEGER NOT NULL,          -- of the event that made this version
    hash     TEXT    NOT NULL,          -- of the same event
    at       TEXT    NOT NULL,          -- when that was
    checksum TEXT    NOT NULL,          -- SHA-256 over hash, version, seq, at and state: finds damage at rest
    state    TEXT,                      -- NULL: the document was deleted
    mac      TEXT,                      -- leaves out the state, which `checksum` covers
    PRIMARY KEY (document, version)
) STRICT;

-- The collections of which there were, or are, documents that live in memory only, and which places of the log knew
-- them: whoever saw such a place of an earlier run may have seen what is gone.
CREATE TABLE volatile_collections (
    collection TEXT    PRIMARY KEY,
    after      INTEGER NOT NULL,        -- the end of the log when the first run with such documents began
    until      INTEGER                  -- and when the last had ended; NULL: it has not, or was killed
) STRICT, WITHOUT ROWID;

-- Whether a server has this file open: one row. By it a copy shows that was made of an open file without its WAL: one
-- that SQLite makes has everything, and another PRAGMA schema_version.
CREATE TABLE open_mark (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    open     INTEGER NOT NULL           -- the schema_version when a server opened it, 0 when it was closed
) STRICT;

-- To look in: the documents that are there, each with the newest state that is stored whole: in a snapshot, or in an
-- event that sets all of it. A document that has been quiet for ten seconds is stored whole, and all are when the
-- server stops.
CREATE VIEW current_documents AS
WITH newest AS (
    SELECT d.key, d.collection, d.id, e.version, e.at,
           (SELECT max(version) FROM snapshots WHERE document = d.key) AS stored
    FROM documents d JOIN events e ON e.document = d.key
     AND e.version = (SELECT max(version) FROM events WHERE document = d.key)
    WHERE e.deletes = 0
), whole AS (
    SELECT n.*, (SELECT e.version FROM events e
                 WHERE e.document = n.key AND e.version > coalesce(n.stored, 0) AND e.deletes = 0
                   AND json_array_length(e.body, '$.patch') = 1 AND json_extract(e.body, '$.patch[0].path') = ''
                   AND json_extract(e.body, '$.patch[0].op') IN ('add', 'replace')
                 ORDER BY e.version DESC LIMIT 1) AS written
    FROM newest n
)
SELECT w.collection, w.id,
       w.version,                       -- the newest, which may be later than that of the state,
       w.at,
       CASE WHEN w.written IS NULL THEN (SELECT state FROM snapshots WHERE document = w.key AND version = w.stored)
            ELSE (SELECT json_extract(body, '$.patch[0].value') FROM events
                  WHERE document = w.key AND version = w.written) END AS state,
       w.version - coalesce(w.written, w.stored) AS behind  -- by so many changes
FROM whole w;

-- To look in: the log, with what is in the bodies of events in columns. Payload and patch are JSON.
CREATE VIEW readable_events AS
SELECT e.seq, d.collection, d.id, e.version, e.at,
       json_extract(e.body, '$.type') AS type,
       json_extract(e.body, '$.actor') AS actor,
       json_quote(json_extract(e.body, '$.payload')) AS payload,
       json_extract(e.body, '$.patch') AS patch
FROM events e JOIN documents d ON d.key = e.document;

-- What was answered to a request that carried an Idempotency-Key. Written with the change that it tells of.
CREATE TABLE idempotency_keys (
    scope       TEXT NOT NULL,          -- who sent it
    key         TEXT NOT NULL,
    fingerprint TEXT NOT NULL,          -- of the request, to tell a repetition from another use of the same key
    answer      TEXT NOT NULL,
    at          TEXT NOT NULL,          -- forgotten some time after this
    document    INTEGER REFERENCES documents (key),  -- the one that it changed; NULL: several, or none
    mac         TEXT,
    PRIMARY KEY (scope, key)
) STRICT;

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (at);
CREATE INDEX idempotency_keys_by_document ON idempotency_keys (document) WHERE document IS NOT NULL;

-- Games: what there is to a document of the collection `games` beside its state.

-- Made when somebody takes the first seat, or when the game ends.
CREATE TABLE games (
    document     INTEGER PRIMARY KEY REFERENCES documents (key),
    status       TEXT NOT NULL CHECK (status IN ('running', 'completed')),
    completed_at TEXT,                  -- NULL: it runs
    mac          TEXT
) STRICT;

-- Who sits where.
CREATE TABLE seats (
    document  INTEGER NOT NULL REFERENCES games (document),
    player    TEXT    NOT NULL,
    seat      INTEGER NOT NULL,         -- counts from 0
    identity  TEXT    NOT NULL,         -- the user who holds it
    joined_at TEXT    NOT NULL,
    mac       TEXT,
    PRIMARY KEY (document, player),
    UNIQUE (document, seat)
) STRICT, WITHOUT ROWID;

-- The secrets that take a seat back, by their hash: from what stands here nobody can make one. Each is good once; the
-- next in its family then takes its place.
CREATE TABLE reconnect_tokens (
    hash        TEXT PRIMARY KEY,       -- SHA-256 of the token
    document    INTEGER NOT NULL REFERENCES games (document),
    player      TEXT NOT NULL,          -- for whom,
    identity    TEXT NOT NULL,          -- and who may show it
    family      TEXT NOT NULL,          -- the hash of the first of the line that began at connection-token
    issued_at   TEXT NOT NULL,
    expires_at  TEXT NOT NULL,
    used_at     TEXT,
    replaced_by TEXT,                   -- the hash of the next
    revoked_at  TEXT,                   -- an old one of the family was shown again, or the player has left
    mac         TEXT
) STRICT;

CREATE INDEX reconnect_tokens_by_player ON reconnect_tokens (document, player);
CREATE INDEX reconnect_tokens_by_family ON reconnect_tokens (family);
CREATE INDEX reconnect_tokens_by_age ON reconnect_tokens (expires_at);

-- What was answered to a reconnect that carried an Idempotency-Key. It holds a token and maybe cards, so it is sealed
-- under the token that was presented, which stands nowhere here: only who has that can read it.
CREATE TABLE reconnect_answers (
    scope       TEXT NOT NULL,          -- who sent it
    key         TEXT NOT NULL,
    fingerprint TEXT NOT NULL,          -- of the request
    token       TEXT NOT NULL REFERENCES reconnect_tokens (hash) ON DELETE CASCADE,  -- the one that was presented
    nonce       BLOB NOT NULL,
    sealed      BLOB NOT NULL,          -- ChaCha20-Poly1305
    mac         TEXT,
    PRIMARY KEY (scope, key)
) STRICT;

CREATE INDEX reconnect_answers_by_token ON reconnect_answers (token);

-- Jobs: what the server does by itself at set times. ------------------------------------------------------------------

-- How far each job is.
CREATE TABLE jobs (
    name    TEXT    PRIMARY KEY,
    covered TEXT    NOT NULL,           -- nothing is due up to this; at first: when this file first knew the job.
                                        -- Of believed-clock, which is no job: when the clock was last believed
    owed    INTEGER NOT NULL,           -- 1: a run was broken off by the end of the server, or storage, and is to be
                                        -- made up for
    mac     TEXT
) STRICT;

-- What ran when, and with what result. Bounded by the job `job-log-trim`.
CREATE TABLE job_runs (
    id         INTEGER PRIMARY KEY,
    job        TEXT    NOT NULL,
    cause      TEXT    NOT NULL,        -- schedule, make-up, request
    dry_run    INTEGER NOT NULL,        -- 1: it only told what it would do
    started_at TEXT    NOT NULL,
    ended_at   TEXT,                    -- NULL: it goes on, or the end of the server broke it off
    outcome    TEXT,                    -- succeeded, failed, timed-out, panicked, interrupted; NULL: it goes on
    summary    TEXT,                    -- what it did, as JSON: counts by name
    error      TEXT,
    mac        TEXT
) STRICT;

CREATE INDEX job_runs_by_job ON job_runs (job, id);

-- Games: what the clean-up did. ---------------------------------------------------------------------------------------

-- Games that were removed because they were over. Kept for a year, by the job `games-cleanup`.
CREATE TABLE game_removals (
    document TEXT    NOT NULL,          -- collection/id
    version  INTEGER NOT NULL,          -- its last version,
    hash     TEXT    NOT NULL,          -- and the hash of that
    why      TEXT    NOT NULL,          -- completed, abandoned
    at       TEXT    NOT NULL,
    mac      TEXT,
    PRIMARY KEY (document, version)
) STRICT;

CREATE INDEX game_removals_by_age ON game_removals (at);

-- Usage: how much each user may create, and did. ----------------------------------------------------------------------

-- What a user may create in which time. Who has no row, or a cancelled one, has the server's default plan.
CREATE TABLE subscriptions (
    user_id        TEXT PRIMARY KEY,
    plan           TEXT NOT NULL,       -- its name, for people
    status         TEXT NOT NULL CHECK (status IN ('active', 'paused', 'cancelled')),
    period_start   TEXT NOT NULL,       -- the period that runs, or the last that ran until the job `usage-reset` sets
    period_end     TEXT NOT NULL,       -- it forward, with the counters, in one transaction
    months         INTEGER,             -- how many calendar months each is long; NULL: as long as from start to end
    day            INTEGER,             -- the day on which each begins, or the month's last if that comes before, or
                                        -- NULL
    parties_max    INTEGER,             -- how many may be created in a period; NULL: any number
    encounters_max INTEGER,
    creatures_max  INTEGER,
    mac            TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX subscriptions_by_end ON subscriptions (status, period_end);

-- What a user created. Written with the creation. Rows of users without a subscription go when their month is over.
CREATE TABLE usage_counters (
    user_id    TEXT    PRIMARY KEY,     -- '@owner': the owner of the server
    parties    INTEGER NOT NULL,
    encounters INTEGER NOT NULL,
    creatures  INTEGER NOT NULL,
    since      TEXT    NOT NULL,        -- when counting began anew
    mac        TEXT
) STRICT, WITHOUT ROWID;

-- Moving games between servers.

-- Games that went, or are about to go, to another server. A row is written once the other server has everything and has
-- verified it; from then on the game changes here no more. Its events stay where they are. The row goes when the game
-- comes back.
CREATE TABLE moves (
    game         TEXT    NOT NULL PRIMARY KEY,
    target       TEXT    NOT NULL,      -- http://host:port
    move         TEXT    NOT NULL,      -- names this move at both servers
    version      INTEGER NOT NULL,      -- of the last event that went
    at           TEXT    NOT NULL,
    confirmed_at TEXT,                  -- when the other server said that it is live there; NULL: not yet, it is asked
                                        -- again and again
    mac          TEXT
) STRICT;

-- Games that come from other servers. Nobody sees them before the other server confirms.
-- One that has come keeps its row: the other server may ask once more, and must not be taken for one that sends it
-- anew.
CREATE TABLE arrivals (
    game         TEXT    NOT NULL,
    move         TEXT    NOT NULL,      -- names this move at both servers
    version      INTEGER NOT NULL,      -- of the last event that comes,
    hash         TEXT    NOT NULL,      -- and its hash
    head         TEXT,                  -- what is to be known beside the events, as JSON; NULL once it has come
    bytes        INTEGER NOT NULL,      -- of the events and rows so far
    prepared     INTEGER NOT NULL,      -- 1: all is here and verified
    at           TEXT    NOT NULL,      -- when it began; dropped some time after that
    confirmed_at TEXT,                  -- when it became a document like all others
    mac          TEXT,
    PRIMARY KEY (game, move)
) STRICT;

-- Their events, until then.
CREATE TABLE arrival_events (
    game    TEXT    NOT NULL,
    move    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    hash    TEXT    NOT NULL,
    deletes INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    PRIMARY KEY (game, move, version),
    FOREIGN KEY (game, move) REFERENCES arrivals (game, move) ON DELETE CASCADE
) STRICT;

-- What comes with them of the tables of games, a row each, until then.
CREATE TABLE arrival_rows (
    game    TEXT    NOT NULL,
    move    TEXT    NOT NULL,
    number  INTEGER NOT NULL,           -- in their order, from 1 on
    body    TEXT    NOT NULL,           -- as JSON
    mac     TEXT,
    PRIMARY KEY (game, move, number),
    FOREIGN KEY (game, move) REFERENCES arrivals (game, move) ON DELETE CASCADE
) STRICT;

-- Rate limits: how much each may ask. ---------------------------------------------------------------------------------

-- Limits of single users, in place of all others. A bucket holds `capacity` tokens; `refill` come back in each window.
CREATE TABLE rate_limit_users (
    user           TEXT    PRIMARY KEY,
    capacity       INTEGER NOT NULL,
    refill         INTEGER NOT NULL,
    window_seconds INTEGER NOT NULL,
    created_at     TEXT    NOT NULL,
    updated_at     TEXT    NOT NULL,
    mac            TEXT
) STRICT, WITHOUT ROWID;

-- Limits of some calls, in place of the default.
CREATE TABLE rate_limit_rules (
    number         INTEGER PRIMARY KEY, -- their age: of two alike the lower applies
    id             TEXT    NOT NULL UNIQUE,
    name           TEXT    NOT NULL UNIQUE,
    pattern        TEXT    NOT NULL,    -- of paths: `*` one segment, `**` the rest
    method         TEXT,                -- NULL: any
    priority       INTEGER NOT NULL,
    capacity       INTEGER NOT NULL,
    refill         INTEGER NOT NULL,
    window_seconds INTEGER NOT NULL,
    created_at     TEXT    NOT NULL,
    updated_at     TEXT    NOT NULL,
    mac            TEXT
) STRICT;

-- Buckets that were not full when they were last looked at, so that a restart fills none. Written every few seconds,
-- and sooner for those that are nearly empty.
CREATE TABLE rate_limit_buckets (
    identity       TEXT    NOT NULL,    -- owner, user:<id>, address:<address>
    scope          TEXT    NOT NULL,    -- default, user, rule:<id>
    spent          INTEGER NOT NULL,    -- what is missing: tokens × milliseconds of the window
    window_seconds INTEGER NOT NULL,
    at             TEXT    NOT NULL,    -- when that was so
    full_at        TEXT    NOT NULL,    -- when nothing is missing any more: forgotten from then on
    mac            TEXT,
    PRIMARY KEY (identity, scope)
) STRICT, WITHOUT ROWID;

CREATE INDEX rate_limit_buckets_by_age ON rate_limit_buckets (full_at);
-- Reconciliation: what was compared with what, and what came of it. ---------------------------------------------------

-- One row per comparison; but a service that is found verified again, alike to the last time, only counts one more in
-- its row, which moves to the front. Bounded by the job `reconciliation-audit-trim`.
CREATE TABLE reconciliation_audit (
    seq        INTEGER PRIMARY KEY,     -- rises from comparison to comparison; of the last that the row tells of
    event_id   TEXT    NOT NULL,        -- of the same: <seq>-<run>, as the stream's `id`
    service    TEXT    NOT NULL,        -- documents/<collection>, log, or an outside service
    action     TEXT    NOT NULL,        -- compare, scrub, repair, report
    status     TEXT    NOT NULL CHECK (status IN ('verified', 'stale', 'discrepancy')),
    counts     TEXT    NOT NULL,        -- what is, by name, as JSON
    checksum   TEXT    NOT NULL,        -- SHA-256 over what was compared
    latency_ms REAL    NOT NULL,        -- how long the comparison took
    details    TEXT,                    -- expected, actual, missingJobIds, as JSON; NULL: nothing differs
    documents  TEXT,                    -- the documents that differ, as JSON: document, version, what
    at         TEXT    NOT NULL,        -- when it was last found so,
    first_at   TEXT    NOT NULL,        -- and first,
    count      INTEGER NOT NULL,        -- and how often
    newest     INTEGER NOT NULL,        -- 1: the verdict in force of this service
    compared   TEXT    NOT NULL DEFAULT 'changes',  -- what was looked at: changes; rows, too; states, too; or a report
    all_since  TEXT,                    -- everything was read and compared after this; NULL: it was not yet
    mac        TEXT
) STRICT;

CREATE UNIQUE INDEX reconciliation_audit_newest ON reconciliation_audit (service) WHERE newest = 1;
CREATE INDEX reconciliation_audit_by_service ON reconciliation_audit (service, seq);
CREATE INDEX reconciliation_audit_by_status ON reconciliation_audit (status, seq);
CREATE INDEX reconciliation_audit_by_age ON reconciliation_audit (at);

-- Which start of the server gave which event ids: one that was given by a server whose file was since put back to an
-- older state is not taken for one of ours.
CREATE TABLE reconciliation_runs (
    run       TEXT    PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    mac       TEXT
) STRICT;

-- Up to where rows of the audit may be missing because they were too old or too many. One row, or none yet.
CREATE TABLE reconciliation_trimmed (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    seq      INTEGER NOT NULL,
    mac      TEXT
) STRICT;

-- Services outside of this server that report what they should have done and what they did.
CREATE TABLE reconciliation_services (
    service              TEXT    PRIMARY KEY,
    report_every_seconds INTEGER NOT NULL,
    description          TEXT,
    created_at           TEXT    NOT NULL,
    updated_at           TEXT    NOT NULL,
    reported_at          TEXT,          -- what the newest report is about, as its sender has it; NULL: there is none
    received_at          TEXT,          -- and when it came in: the next is due report_every_seconds later
    verdict              TEXT,          -- what it says, as JSON
    mac                  TEXT
) STRICT;

-- Conflicts: what merges of edits that were made offline came to. ---------------------------------------------------

-- A place that both sides changed: one that a rule decided, or one that is left to a person. Values are JSON; NULL:
-- nothing stood there. Bounded for each document and in all: the oldest that are not open go.
CREATE TABLE conflicts (
    number      INTEGER PRIMARY KEY,    -- rises with time
    id          TEXT    UNIQUE,         -- NULL: a rule decided
    document    INTEGER NOT NULL REFERENCES documents (key),
    path        TEXT    NOT NULL,       -- a JSON Pointer in which elements of arrays are named by their id
    rule        TEXT    NOT NULL,       -- manual: left to a person
    base        TEXT,
    local       TEXT,                   -- what the device brought
    server      TEXT,                   -- what stood here
    value       TEXT,                   -- what the rule made of it
    suggestion  TEXT,
    resolution  TEXT,                   -- auto, local, server or merge, NULL: open
    version     INTEGER NOT NULL,       -- of the document, after the merge
    made_by     TEXT    NOT NULL,       -- whose edits they were, @owner: the owner of the server
    at          TEXT    NOT NULL,
    resolved_by TEXT,
    resolved_at TEXT,
    mac         TEXT
) STRICT;

CREATE INDEX conflicts_by_document ON conflicts (document, number);
CREATE INDEX conflicts_open ON conflicts (document, made_by) WHERE resolution IS NULL;

-- Client errors: what went wrong in browsers. -------------------------------------------------------------------------

-- Each different one once. Bounded: those that were longest not seen go.
CREATE TABLE client_errors (
    fingerprint TEXT    PRIMARY KEY,    -- SHA-256 over message, stack and app_version
    message     TEXT    NOT NULL,
    stack       TEXT,
    url         TEXT,                   -- without query and fragment, which may hold secrets
    user_agent  TEXT,
    app_version TEXT,
    reported_by TEXT    NOT NULL,       -- who told it last
    count       INTEGER NOT NULL,
    first_seen  TEXT    NOT NULL,
    last_seen   TEXT    NOT NULL,
    place       INTEGER NOT NULL,       -- rises each time that it is seen
    mac         TEXT
) STRICT;

CREATE UNIQUE INDEX client_errors_by_place ON client_errors (place);
-- Sessions: one per device or browser of a user. ----------------------------------------------------------------------

-- Those that have not ended. The tokens that are shown for them stand nowhere here: nobody can make one from its hash.
-- An expired one goes within the hour, by the job `sessions-cleanup`.
CREATE TABLE sessions (
    id            TEXT    PRIMARY KEY,
    hash          TEXT    NOT NULL,         -- SHA-256 of the token; looked up in memory, where all rows are
    user          TEXT,                     -- whose it is; NULL: the server's owner's
    bound         INTEGER NOT NULL,         -- 1: good only for the one who opened it; 0: good for whoever has its
                                            -- token: opened by an administrator for the user, or by a link;
                                            -- 2: likewise, to the documents in session_documents only
    device_name   TEXT,
    device_kind   TEXT,
    device_os     TEXT,
    user_agent    TEXT,                     -- at its opening
    address       TEXT    NOT NULL,         -- at its opening
    current_phase TEXT,                     -- what its user is at, in their own words
    created_at    TEXT    NOT NULL,
    renewed_at    TEXT    NOT NULL,         -- when its time last began anew
    last_seen_at  TEXT    NOT NULL,         -- about a minute late
    opened_by     TEXT,                     -- the session that was shown to open it; NULL: none was
    mac           TEXT
) STRICT, WITHOUT ROWID;
