-- The records in SQLite. Version 5 (PRAGMA user_version). Its tables and columns are those of
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
CREATE INDEX documents_by_age ON documents (created_at, document_id);
CREATE INDEX documents_by_type ON documents (document_type, created_at, document_id);
CREATE INDEX documents_by_case ON documents (case_number, created_at, document_id);
CREATE INDEX documents_by_date ON documents (document_date);
CREATE INDEX documents_by_analyst ON documents (versions ->> 'analyst', created_at, document_id);
CREATE INDEX documents_by_key ON documents (key);
CREATE INDEX documents_by_engine ON documents (versions ->> 'ocr', created_at, document_id);

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
    again INTEGER NOT NULL DEFAULT 0 CHECK (again IN (0, 1)),
    ocr_engine TEXT,
    analyst TEXT,
    begins TEXT,
    waits_for TEXT,
    deaths INTEGER NOT NULL DEFAULT 0 CHECK (deaths >= 0),
    rolled_up INTEGER NOT NULL DEFAULT 0 CHECK (rolled_up IN (0, 1)),
    run_id TEXT,
    refused_usd REAL CHECK (refused_usd >= 0),
    -- seconds of this machine's clock that nobody sets, since the start that lease_boot names: see sqlite_leases.py
    lease_holder TEXT,
    lease_until REAL,
    lease_boot TEXT
) STRICT;
CREATE INDEX jobs_by_age ON processing_jobs (created_at);
CREATE INDEX jobs_by_status ON processing_jobs (status, created_at);
CREATE INDEX jobs_by_instance ON processing_jobs (instance_id) WHERE instance_id IS NOT NULL;
CREATE INDEX jobs_by_lease ON processing_jobs (lease_until) WHERE lease_until IS NOT NULL;
-- without these two, those that wait for a message batch are read each time
CREATE INDEX jobs_live ON processing_jobs (lease_until) WHERE lease_until IS NOT NULL AND waits_for IS NULL;
CREATE INDEX jobs_held ON processing_jobs (lease_holder) WHERE lease_holder IS NOT NULL;
CREATE INDEX jobs_to_admit ON processing_jobs
    ((CASE priority WHEN 'high' THEN 0 WHEN 'normal' THEN 1 ELSE 2 END), created_at, job_id)
    WHERE lease_until IS NULL AND status IN ('queued', 'processing');
CREATE INDEX jobs_by_document ON processing_jobs (document_id, created_at);
CREATE INDEX jobs_by_source ON processing_jobs (source, created_at);
CREATE INDEX jobs_by_requester ON processing_jobs (requested_by, document_id);
CREATE INDEX jobs_by_end ON processing_jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_to_roll_up ON processing_jobs (finished_at) WHERE rolled_up = 0 AND finished_at IS NOT NULL;
CREATE INDEX jobs_of_run ON processing_jobs (run_id, status, finished_at) WHERE run_id IS NOT NULL;
CREATE INDEX jobs_of_run_by_id ON processing_jobs (run_id, job_id) WHERE run_id IS NOT NULL;

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
CREATE INDEX costs_of_no_job ON costs (at) WHERE job_id IS NULL;
CREATE TRIGGER costs_are_not_changed BEFORE UPDATE ON costs
BEGIN
    SELECT RAISE(ABORT, 'the ledger is appended to, never changed');
END;
CREATE TRIGGER costs_are_not_removed BEFORE DELETE ON costs
BEGIN
    SELECT RAISE(ABORT, 'the ledger is appended to, never changed');
END;

-- Bulk runs; what their jobs cost is added up as it is booked.
CREATE TABLE bulk_runs (
    run_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL DEFAULT 'bulk' CHECK (kind IN ('bulk', 'night')),
    prefix TEXT NOT NULL,
    failed INTEGER NOT NULL DEFAULT 0 CHECK (failed IN (0, 1)),
    unattended INTEGER NOT NULL DEFAULT 0 CHECK (unattended IN (0, 1)),
    status TEXT NOT NULL CHECK (status IN ('scanning', 'waiting', 'confirmed', 'running', 'paused', 'finishing',
        'cancelling', 'completed', 'cancelled')),
    reason TEXT,
    requested_by TEXT NOT NULL,
    confirmed_by TEXT,
    created_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT,
    deadline TEXT,
    cap_usd REAL CHECK (cap_usd >= 0),
    scan TEXT NOT NULL DEFAULT '{}',
    quote TEXT,
    part INTEGER NOT NULL DEFAULT 1,
    row INTEGER NOT NULL DEFAULT 0,
    fed INTEGER NOT NULL DEFAULT 0,
    certificate TEXT,
    jobs TEXT NOT NULL DEFAULT '{}',
    spent_usd REAL NOT NULL DEFAULT 0,
    rent_usd REAL NOT NULL DEFAULT 0,
    tended_at TEXT,
    trouble TEXT,
    lease_holder TEXT,
    lease_until TEXT
) STRICT;
CREATE INDEX bulk_runs_by_age ON bulk_runs (created_at);
CREATE INDEX bulk_runs_open ON bulk_runs (created_at) WHERE status NOT IN ('completed', 'cancelled');
CREATE TRIGGER costs_of_runs AFTER INSERT ON costs WHEN NEW.job_id IS NOT NULL
BEGIN
    UPDATE bulk_runs SET spent_usd = spent_usd + NEW.usd
        WHERE run_id = (SELECT run_id FROM processing_jobs WHERE job_id = NEW.job_id);
END;

CREATE TABLE cost_reservations (
    once TEXT PRIMARY KEY,
    at TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('gpu', 'claude', 'storage')),
    usd REAL NOT NULL CHECK (usd >= 0),
    job_id TEXT REFERENCES processing_jobs
) STRICT;
CREATE INDEX cost_reservations_by_time ON cost_reservations (at);

-- Requests to Claude that go together. One row before the call, so that a restart neither loses nor doubles it.
CREATE TABLE message_batches (
    batch_id TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('intent', 'sent', 'ended', 'dropped')),
    service_id TEXT UNIQUE,
    requests INTEGER NOT NULL CHECK (requests > 0),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_intent ON message_batches (state) WHERE state = 'intent';

CREATE VIRTUAL TABLE search USING fts5 (
    document_id UNINDEXED, title, case_number, parties, name, text,
    tokenize = "unicode61 remove_diacritics 2"
);
-- every case number and party once, to be found with typing errors: trigrams of the name under its rowid
CREATE TABLE known_names (name TEXT PRIMARY KEY);
CREATE VIRTUAL TABLE alike USING fts5 (plain, tokenize = "trigram", content = "");

-- People who come in by Telegram: who they are, what they sent, what they were answered, what they corrected.
CREATE TABLE users (
    telegram_id INTEGER PRIMARY KEY,
    role TEXT NOT NULL CHECK (role IN ('operator', 'user', 'stranger', 'refused')),
    name TEXT,
    language TEXT NOT NULL DEFAULT 'en' CHECK (language IN ('en', 'es')),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE TABLE corrections (
    correction_id INTEGER PRIMARY KEY,
    once TEXT NOT NULL UNIQUE,
    document_id TEXT NOT NULL REFERENCES documents ON DELETE CASCADE,
    field TEXT NOT NULL CHECK (field IN ('document_type', 'document_date', 'filed_date', 'case_number', 'court', 'title',
        'parties', 'summary', 'relevancy_score')),
    value TEXT NOT NULL,
    corrected_by TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
CREATE INDEX corrections_by_document ON corrections (document_id, correction_id);
CREATE TABLE telegram_updates (
    update_id INTEGER PRIMARY KEY,
    body TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    at TEXT NOT NULL,
    done_at TEXT
) STRICT;
CREATE INDEX telegram_updates_open ON telegram_updates (update_id) WHERE done_at IS NULL;
CREATE TABLE telegram_answers (
    job_id TEXT PRIMARY KEY,
    telegram_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    reply_to INTEGER,
    message_id INTEGER,
    created_at TEXT NOT NULL,
    answered_at TEXT
) STRICT;
CREATE INDEX telegram_answers_open ON telegram_answers (created_at) WHERE answered_at IS NULL;
CREATE INDEX telegram_answers_ended ON telegram_answers (answered_at) WHERE answered_at IS NOT NULL;
CREATE INDEX telegram_answers_to ON telegram_answers (telegram_id, created_at);

-- who may use the HTTP API; the token itself is shown once and kept nowhere
CREATE TABLE api_tokens (
    token_sha256 TEXT PRIMARY KEY CHECK (length(token_sha256) = 64),
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    scopes TEXT NOT NULL,
    created_at TEXT NOT NULL,
    revoked_at TEXT
) STRICT;

-- who changed what, and when; appended to, never changed
CREATE TABLE audit (
    audit_id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit is appended to, never changed');
END;
CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit is appended to, never changed');
END;

CREATE TABLE instances (
    instance_id TEXT PRIMARY KEY,
    label TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('intent', 'requested', 'loading', 'running', 'joined', 'draining', 'destroying',
        'gone', 'ambiguous', 'failed', 'lost', 'preempted', 'orphan')),
    gpu_name TEXT,
    price_usd_per_hour REAL CHECK (price_usd_per_hour >= 0),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    provider_id INTEGER,
    machine_id INTEGER NOT NULL DEFAULT 0,
    state_since TEXT NOT NULL,
    billed_until TEXT,
    detail TEXT NOT NULL DEFAULT '{}'
) STRICT;
-- asked every 15 s, whatever the newest rows are: documents that nobody has read yet, or one bulk run of 20,000
CREATE INDEX documents_read_by_age ON documents (created_at) WHERE pages IS NOT NULL;
CREATE INDEX jobs_in_bulk_by_age ON processing_jobs (created_at) WHERE priority = 'low';
CREATE INDEX jobs_not_in_bulk_by_age ON processing_jobs (created_at) WHERE priority <> 'low';

CREATE INDEX instances_alive ON instances (created_at) WHERE state <> 'gone';
CREATE INDEX instances_by_age ON instances (created_at);

CREATE TABLE fleet_machines (
    machine_id INTEGER PRIMARY KEY,
    gpu TEXT NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    failed_instance TEXT,
    barred_until TEXT,
    why TEXT,
    seconds_per_page REAL CHECK (seconds_per_page > 0),
    boot_s REAL CHECK (boot_s >= 0),
    updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX fleet_machines_by_age ON fleet_machines (updated_at);

CREATE TABLE fleet_ticks (
    tick_id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT '{}'
) STRICT;

CREATE TABLE fleet_controls (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    set_by TEXT,
    updated_at TEXT NOT NULL
) STRICT;

PRAGMA user_version = 5;
