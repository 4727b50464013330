-- Sessions: the documents that those reach which reach some documents only (bound = 2 in sessions). A row goes with its
-- session, and when the document is deleted.
CREATE TABLE IF NOT EXISTS session_documents (
    session    TEXT    NOT NULL,
    document   INTEGER NOT NULL,       -- the key in documents; below 0: it lived in memory only, and is gone
    collection TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    mac        TEXT,
    PRIMARY KEY (session, document)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS session_documents_by_document ON session_documents (document);
