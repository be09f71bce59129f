-- The records: documents, jobs, events, costs, and what the fleet, the bulk runs and the users need.
-- Times are UTC. Identifiers compare byte by byte (COLLATE "C"): the beginning of an id is found by its index.

CREATE TABLE documents (
    document_id text COLLATE "C" PRIMARY KEY CHECK (length(document_id) = 16),
    sha256 text COLLATE "C" NOT NULL UNIQUE CHECK (length(sha256) = 64),
    key text NOT NULL,
    name text NOT NULL,
    bytes bigint NOT NULL CHECK (bytes >= 0),
    media_type text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    processed text,
    pages integer CHECK (pages >= 0),
    document_type text,
    document_date text,
    case_number text,
    title text,
    parties jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(parties) = 'array'),
    relevancy_score integer CHECK (relevancy_score BETWEEN 0 AND 100),
    versions jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(versions) = 'object'),
    -- the job that works on it: of several at once one does the work, the others follow it
    claimed_by text COLLATE "C"
);
CREATE INDEX documents_by_age ON documents (created_at DESC, document_id DESC);
CREATE INDEX documents_by_claim ON documents (claimed_by) WHERE claimed_by IS NOT NULL;

CREATE TABLE processing_jobs (
    job_id text COLLATE "C" PRIMARY KEY CHECK (job_id <> ''),
    source text NOT NULL,
    priority text NOT NULL CHECK (priority IN ('high', 'normal', 'low')),
    requested_by text,
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'processing', 'completed', 'error', 'cancelled')),
    document_id text COLLATE "C" REFERENCES documents,
    stage text CHECK (stage IN ('fetch', 'rasterize', 'ocr', 'analyze', 'upload', 'record')),
    deliveries integer NOT NULL DEFAULT 0 CHECK (deliveries >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    error_class text,
    error_message text,
    -- sum of the ledger's rows of this job, kept by a trigger
    cost_usd numeric NOT NULL DEFAULT 0,
    -- the rented instance that the job was given to; its token may touch this row and no other
    instance_id text COLLATE "C",
    lease_holder text,
    lease_until timestamptz,
    CHECK ((finished_at IS NOT NULL) = (status IN ('completed', 'error', 'cancelled')))
);
ALTER TABLE documents ADD FOREIGN KEY (claimed_by) REFERENCES processing_jobs;
CREATE INDEX jobs_by_age ON processing_jobs (created_at DESC, job_id DESC);
CREATE INDEX jobs_by_status ON processing_jobs (status, created_at DESC, job_id DESC);
CREATE INDEX jobs_by_document ON processing_jobs (document_id, created_at DESC, job_id DESC);
CREATE INDEX jobs_by_instance ON processing_jobs (instance_id) WHERE instance_id IS NOT NULL;
CREATE INDEX jobs_by_lease ON processing_jobs (lease_until) WHERE lease_until IS NOT NULL;

CREATE TABLE processing_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- names the call that wrote it: a call that is made again, since its answer was lost, writes nothing
    once text COLLATE "C" NOT NULL UNIQUE,
    job_id text COLLATE "C" NOT NULL REFERENCES processing_jobs,
    at timestamptz NOT NULL DEFAULT now(),
    stage text,
    kind text NOT NULL,
    seconds double precision,
    worker text,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX events_by_job ON processing_events (job_id, event_id);

-- The ledger: appended to, never changed.
CREATE TABLE costs (
    cost_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    once text COLLATE "C" NOT NULL UNIQUE,
    at timestamptz NOT NULL DEFAULT now(),
    kind text NOT NULL CHECK (kind IN ('gpu', 'claude', 'storage')),
    usd numeric NOT NULL,
    job_id text COLLATE "C" REFERENCES processing_jobs,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX costs_by_time ON costs (at);
CREATE INDEX costs_by_job ON costs (job_id) WHERE job_id IS NOT NULL;

-- What is promised and not yet in the ledger. One that is never settled counts for its day only.
CREATE TABLE cost_reservations (
    once text COLLATE "C" PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    kind text NOT NULL CHECK (kind IN ('gpu', 'claude', 'storage')),
    usd numeric NOT NULL CHECK (usd >= 0),
    job_id text COLLATE "C" REFERENCES processing_jobs
);
CREATE INDEX cost_reservations_by_time ON cost_reservations (at);

CREATE TABLE instances (
    instance_id text COLLATE "C" PRIMARY KEY,
    label text NOT NULL UNIQUE,
    state text NOT NULL CHECK (state IN ('INTENT', 'REQUESTED', 'LOADING', 'RUNNING', 'JOINED', 'DRAINING',
        'DESTROYING', 'GONE', 'AMBIGUOUS', 'FAILED', 'LOST', 'PREEMPTED', 'ORPHAN')),
    gpu_name text,
    price_usd_per_hour numeric CHECK (price_usd_per_hour >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX instances_alive ON instances (state) WHERE state NOT IN ('GONE', 'FAILED');

CREATE TABLE bulk_runs (
    run_id text COLLATE "C" PRIMARY KEY,
    prefix text NOT NULL,
    status text NOT NULL DEFAULT 'waiting'
        CHECK (status IN ('waiting', 'confirmed', 'running', 'paused', 'completed', 'cancelled')),
    cap_usd numeric CHECK (cap_usd >= 0),
    requested_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    lease_holder text,
    lease_until timestamptz,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX bulk_runs_to_do ON bulk_runs (created_at) WHERE status IN ('confirmed', 'running');

CREATE TABLE users (
    telegram_id bigint PRIMARY KEY,
    role text NOT NULL CHECK (role IN ('operator', 'user')),
    name text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER touch BEFORE UPDATE ON documents FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON processing_jobs FOR EACH ROW
    WHEN (OLD.cost_usd = NEW.cost_usd) EXECUTE FUNCTION touch_updated_at();  -- a bill is no sign of life
CREATE TRIGGER touch BEFORE UPDATE ON instances FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON bulk_runs FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- A status moves only forwards, whoever writes.
CREATE FUNCTION status_moves_forwards() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF OLD.status <> NEW.status
        AND (OLD.status IN ('completed', 'error', 'cancelled') OR NEW.status = 'queued') THEN
        RAISE EXCEPTION 'status moves only forwards: % to %', OLD.status, NEW.status USING ERRCODE = 'PT409';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER status_moves_forwards BEFORE UPDATE OF status ON processing_jobs
    FOR EACH ROW EXECUTE FUNCTION status_moves_forwards();

CREATE FUNCTION ledger_is_not_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is appended to, never changed' USING ERRCODE = 'PT409';
END $$;
CREATE TRIGGER ledger_is_not_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON costs
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_not_changed();

-- Runs as its owner: who may append to the ledger need not be allowed to change a job's sum.
CREATE FUNCTION add_cost_to_job() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE public.processing_jobs SET cost_usd = cost_usd + NEW.usd WHERE job_id = NEW.job_id;
    RETURN NULL;
END $$;
CREATE TRIGGER add_cost_to_job AFTER INSERT ON costs
    FOR EACH ROW WHEN (NEW.job_id IS NOT NULL) EXECUTE FUNCTION add_cost_to_job();
