-- The records in SQLite. Version 3 (PRAGMA user_version). Its tables and columns are those of
-- droplet/supabase/migrations, where they are explained. Times are ISO 8601, UTC, to the microsecond.

CREATE TABLE documents (
    document_id TEXT PRIMARY KEY CHECK (length(document_id) = 16),
    sha256 TEXT NOT NULL UNIQUE CHECK (length(sha256) = 64),
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    bytes INTEGER NOT NULL CHECK (bytes >= 0),
    media_type TEXT NOT NULL,
    created_at TEXT NOT NULL,
    processed TEXT,
    pages INTEGER,
    document_type TEXT,
    document_date TEXT,
    case_number TEXT,
    title TEXT,
    parties TEXT NOT NULL DEFAULT '[]',
    relevancy_score INTEGER CHECK (relevancy_score BETWEEN 0 AND 100),
    versions TEXT NOT NULL DEFAULT '{}',
    -- the job that works on it: of several at once one does the work, the others follow it
    claimed_by TEXT REFERENCES processing_jobs
) STRICT;
CREATE INDEX documents_by_age ON documents (created_at);

CREATE TABLE processing_jobs (
    job_id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    priority TEXT NOT NULL CHECK (priority IN ('high', 'normal', 'low')),
    requested_by TEXT,
    status TEXT NOT NULL CHECK (status IN ('queued', 'processing', 'completed', 'error', 'cancelled')),
    document_id TEXT REFERENCES documents,
    stage TEXT,
    deliveries INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    finished_at TEXT,
    error_class TEXT,
    error_message TEXT,
    instance_id TEXT,
    lease_holder TEXT,
    lease_until TEXT
) STRICT;
CREATE INDEX jobs_by_age ON processing_jobs (created_at);
CREATE INDEX jobs_by_status ON processing_jobs (status, created_at);
CREATE INDEX jobs_by_instance ON processing_jobs (instance_id) WHERE instance_id IS NOT NULL;
CREATE INDEX jobs_by_lease ON processing_jobs (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX jobs_by_document ON processing_jobs (document_id, created_at);

-- A status moves only forwards, whoever writes.
CREATE TRIGGER status_moves_forwards BEFORE UPDATE OF status ON processing_jobs
WHEN OLD.status <> NEW.status
    AND (OLD.status IN ('completed', 'error', 'cancelled') OR NEW.status = 'queued')
BEGIN
    SELECT RAISE(ABORT, 'status moves only forwards');
END;

CREATE TABLE processing_events (
    event_id INTEGER PRIMARY KEY,
    once TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL REFERENCES processing_jobs,
    at TEXT NOT NULL,
    stage TEXT,
    kind TEXT NOT NULL,
    seconds REAL,
    worker TEXT,
    detail TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX events_by_job ON processing_events (job_id, event_id);

-- The cost ledger: appended to, never changed.
CREATE TABLE costs (
    cost_id INTEGER PRIMARY KEY,
    once TEXT NOT NULL UNIQUE,
    at TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('gpu', 'claude', 'storage')),
    usd REAL NOT NULL,
    job_id TEXT REFERENCES processing_jobs,
    detail TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX costs_by_time ON costs (at);
CREATE INDEX costs_by_job ON costs (job_id);
CREATE TRIGGER costs_are_not_changed BEFORE UPDATE ON costs
BEGIN
    SELECT RAISE(ABORT, 'the ledger is appended to, never changed');
END;
CREATE TRIGGER costs_are_not_removed BEFORE DELETE ON costs
BEGIN
    SELECT RAISE(ABORT, 'the ledger is appended to, never changed');
END;

CREATE TABLE cost_reservations (
    once TEXT PRIMARY KEY,
    at TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('gpu', 'claude', 'storage')),
    usd REAL NOT NULL CHECK (usd >= 0),
    job_id TEXT REFERENCES processing_jobs
) STRICT;
CREATE INDEX cost_reservations_by_time ON cost_reservations (at);

CREATE VIRTUAL TABLE search USING fts5 (
    document_id UNINDEXED, title, case_number, parties, name, text,
    tokenize = "unicode61 remove_diacritics 2"
);
-- every case number and party once, to be found with typing errors: trigrams of the name under its rowid
CREATE TABLE known_names (name TEXT PRIMARY KEY);
CREATE VIRTUAL TABLE alike USING fts5 (plain, tokenize = "trigram", content = "");

PRAGMA user_version = 3;
