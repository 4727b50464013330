-- Projects: which documents belong to one, its progress, and the past of that.

-- Documents that name a project, which need not be there. Written with the change of the document.
CREATE TABLE IF NOT EXISTS projects_members (
    document INTEGER PRIMARY KEY REFERENCES documents (key),
    project  TEXT    NOT NULL,          -- the project's id
    kind     TEXT    NOT NULL,          -- the document's collection
    words    INTEGER NOT NULL,          -- of a chapter's text
    closed   INTEGER NOT NULL           -- of a plot loop: 1: closed
) STRICT;

CREATE INDEX IF NOT EXISTS projects_members_by_project ON projects_members (project, kind, document);

-- The sums of projects_members by project. One of nothing has no row.
CREATE TABLE IF NOT EXISTS projects_counts (
    project      TEXT PRIMARY KEY,
    words        INTEGER NOT NULL,
    chapters     INTEGER NOT NULL,
    characters   INTEGER NOT NULL,
    wiki_entries INTEGER NOT NULL,
    loops_open   INTEGER NOT NULL,
    loops_closed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The progress of each project that is there: what somebody said of it, and what its document says.
CREATE TABLE IF NOT EXISTS projects_progress (
    document    INTEGER PRIMARY KEY REFERENCES documents (key),
    project     TEXT    NOT NULL UNIQUE,
    version     INTEGER NOT NULL,       -- counts the changes of the progress
    at          TEXT    NOT NULL,       -- of the last
    began_at    TEXT    NOT NULL,       -- when the project was created
    phase       TEXT,                   -- NULL: it never left the first
    completion  REAL,                   -- percent; NULL: it is reckoned
    words       INTEGER,                -- as somebody said
    notes       TEXT,
    phases      TEXT    NOT NULL,       -- a JSON array
    goal_words  INTEGER,
    saved_at    TEXT,                   -- the last snapshot; NULL: there is none
    due_at      TEXT                    -- when what changed since is saved; NULL: nothing did
) STRICT;

CREATE INDEX IF NOT EXISTS projects_progress_by_due ON projects_progress (due_at) WHERE due_at IS NOT NULL;

-- How the progress was. At most one a minute for each project.
CREATE TABLE IF NOT EXISTS projects_snapshots (
    number       INTEGER PRIMARY KEY,   -- rises with time
    document     INTEGER NOT NULL REFERENCES documents (key),
    at           TEXT    NOT NULL,
    version      INTEGER NOT NULL,
    phase        TEXT    NOT NULL,
    completion   REAL    NOT NULL,
    words        INTEGER NOT NULL,
    chapters     INTEGER NOT NULL,
    characters   INTEGER NOT NULL,
    wiki_entries INTEGER NOT NULL,
    loops_open   INTEGER NOT NULL,
    loops_closed INTEGER NOT NULL,
    notes        TEXT
) STRICT;

CREATE INDEX IF NOT EXISTS projects_snapshots_by_document ON projects_snapshots (document, number);

-- Which phase a project went into when, and who had it do so. Bounded for each project: the oldest go.
CREATE TABLE IF NOT EXISTS projects_phases (
    number     INTEGER PRIMARY KEY,     -- rises with time
    document   INTEGER NOT NULL REFERENCES documents (key),
    from_phase TEXT    NOT NULL,
    to_phase   TEXT    NOT NULL,
    reason     TEXT,
    changed_by TEXT    NOT NULL,
    at         TEXT    NOT NULL,
    lasted_ms  INTEGER NOT NULL         -- how long it was in from_phase
) STRICT;

CREATE INDEX IF NOT EXISTS projects_phases_by_document ON projects_phases (document, number);

-- The collections whose documents, from before there were these tables, are all in them.
CREATE TABLE IF NOT EXISTS projects_indexed (
    collection TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Consistency: which changes no check has seen, and what checks found. -----------------------------------------------

-- The project that a document was in when its last change was noted.
CREATE TABLE IF NOT EXISTS projects_places (
    document INTEGER PRIMARY KEY,       -- documents.key
    project  TEXT NOT NULL
) STRICT;

-- Documents with changes that no check has seen. Written by the consumer `projects-consistency`.
CREATE TABLE IF NOT EXISTS projects_unchecked (
    project  TEXT    NOT NULL,
    document TEXT    NOT NULL,          -- collection/id
    first_at TEXT    NOT NULL,          -- the first of those changes,
    last_at  TEXT    NOT NULL,          -- the last,
    changes  INTEGER NOT NULL,          -- and how many
    PRIMARY KEY (project, document)
) STRICT, WITHOUT ROWID;

-- When projects were checked last.
CREATE TABLE IF NOT EXISTS projects_checks (
    project TEXT PRIMARY KEY,
    at      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What checks found, each finding once. Bounded: open ones for each check of a project, resolved ones for each project.
CREATE TABLE IF NOT EXISTS projects_warnings (
    number        INTEGER PRIMARY KEY,  -- rises with time
    id            TEXT    NOT NULL UNIQUE,
    project       TEXT    NOT NULL,
    check_name    TEXT    NOT NULL,
    unit          TEXT    NOT NULL,     -- what the check looked at: a document, or a name
    fingerprint   TEXT    NOT NULL,     -- of check, unit and what tells it from others of these
    severity      TEXT    NOT NULL,     -- error, warning, info
    status        TEXT    NOT NULL,     -- open, resolved, dismissed
    document      TEXT    NOT NULL,     -- where it is: collection/id,
    path          TEXT    NOT NULL,     -- and a JSON Pointer
    what          TEXT    NOT NULL,
    why           TEXT    NOT NULL,
    found_values  TEXT    NOT NULL,     -- what stands there, as JSON
    values_digest TEXT    NOT NULL,     -- of the same: dismissed, it stays so while this does
    suggestion    TEXT    NOT NULL,
    found_at      TEXT    NOT NULL,     -- when it was found first
    changed_at    TEXT    NOT NULL,     -- when it came into its state
    changed_by    TEXT,                 -- NULL: a check
    note          TEXT,
    UNIQUE (project, fingerprint)
) STRICT;

CREATE INDEX IF NOT EXISTS projects_warnings_by_status ON projects_warnings (project, status, number);
CREATE INDEX IF NOT EXISTS projects_warnings_by_unit ON projects_warnings (project, check_name, unit);
