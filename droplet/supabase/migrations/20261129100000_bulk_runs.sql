-- Bulk runs: what is in the bucket and not done, quoted, confirmed, and done under a cap that the database holds.

DROP FUNCTION claim_bulk_run(text, double precision);
DROP INDEX bulk_runs_to_do;
ALTER TABLE bulk_runs DROP CONSTRAINT bulk_runs_status_check, DROP COLUMN detail,
    ALTER COLUMN status DROP DEFAULT;
ALTER TABLE bulk_runs
    ADD CHECK (status IN ('scanning', 'waiting', 'confirmed', 'running', 'paused', 'finishing', 'cancelling',
        'completed', 'cancelled')),
    ADD COLUMN kind text NOT NULL DEFAULT 'bulk' CHECK (kind IN ('bulk', 'night')),
    -- also what failed before
    ADD COLUMN failed boolean NOT NULL DEFAULT false,
    -- confirms itself if it may
    ADD COLUMN unattended boolean NOT NULL DEFAULT false,
    ADD COLUMN reason text,
    ADD COLUMN confirmed_by text,
    ADD COLUMN started_at timestamptz,
    ADD COLUMN finished_at timestamptz,
    ADD COLUMN deadline timestamptz,
    ADD COLUMN scan jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN quote jsonb,
    -- where in the lists of what is to be done the next job comes from, and how many were registered
    ADD COLUMN part integer NOT NULL DEFAULT 1,
    ADD COLUMN row integer NOT NULL DEFAULT 0,
    ADD COLUMN fed integer NOT NULL DEFAULT 0,
    ADD COLUMN certificate text,
    -- when it was last looked after: jobs by status, rent, what went wrong
    ADD COLUMN jobs jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN rent_usd numeric NOT NULL DEFAULT 0,
    ADD COLUMN tended_at timestamptz,
    ADD COLUMN trouble text,
    -- of its jobs, added up as it is booked
    ADD COLUMN spent_usd numeric NOT NULL DEFAULT 0;
CREATE INDEX bulk_runs_by_age ON bulk_runs (created_at DESC, run_id DESC);
CREATE INDEX bulk_runs_open ON bulk_runs (created_at DESC, run_id DESC) WHERE status NOT IN ('completed', 'cancelled');

ALTER TABLE processing_jobs
    ADD COLUMN run_id text COLLATE "C",
    -- what it asked for when the cap of its run had no room for that; null: it was not refused, or not since
    ADD COLUMN refused_usd numeric CHECK (refused_usd >= 0);
CREATE INDEX jobs_of_run ON processing_jobs (run_id, status, finished_at) WHERE run_id IS NOT NULL;
CREATE INDEX jobs_of_run_by_id ON processing_jobs (run_id, job_id) WHERE run_id IS NOT NULL;
CREATE INDEX costs_of_no_job ON costs (at) INCLUDE (usd) WHERE job_id IS NULL;

-- As before, and to the job's run.
CREATE OR REPLACE FUNCTION add_cost_to_job() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE run text;
BEGIN
    UPDATE public.processing_jobs SET cost_usd = cost_usd + NEW.usd WHERE job_id = NEW.job_id RETURNING run_id INTO run;
    IF run IS NOT NULL THEN
        UPDATE public.bulk_runs SET spent_usd = spent_usd + NEW.usd WHERE run_id = run;
    END IF;
    RETURN NULL;
END $$;

-- As before, but of bulk runs that are not running no job that has not begun, and none of those that are paused or
-- cancelled. Which runs that are is asked once: 10,000 jobs of one that is paused may lie before those that may begin.
CREATE OR REPLACE FUNCTION admit_jobs(p_live integer, p_seconds double precision, p_limit integer DEFAULT 100)
    RETURNS SETOF processing_jobs LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    live bigint;
    run text[];
    begun text[];
BEGIN
    -- one at a time: a count of rows cannot be guarded by their locks
    PERFORM pg_advisory_xact_lock(hashtext('aseagi.admission'));
    SELECT count(*) INTO live FROM public.processing_jobs WHERE lease_until IS NOT NULL AND waits_for IS NULL;
    SELECT coalesce(array_agg(run_id) FILTER (WHERE status = 'running'), '{}'),
            coalesce(array_agg(run_id) FILTER (WHERE status NOT IN ('paused', 'cancelling')), '{}')
        INTO run, begun FROM public.bulk_runs WHERE status NOT IN ('completed', 'cancelled');
    RETURN QUERY UPDATE public.processing_jobs SET lease_until = clock_timestamp() + make_interval(secs => p_seconds)
        WHERE job_id IN (
            SELECT job_id FROM (
                SELECT job_id, priority, row_number() OVER () AS place FROM (
                    SELECT job_id, priority FROM public.processing_jobs
                        WHERE lease_until IS NULL AND status IN ('queued', 'processing')
                            AND (run_id IS NULL OR run_id = ANY (run) OR (stage IS NOT NULL AND run_id = ANY (begun)))
                        ORDER BY (CASE priority WHEN 'high' THEN 0 WHEN 'normal' THEN 1 ELSE 2 END), created_at, job_id
                        LIMIT p_limit) AS first) AS next
            WHERE live + place <= CASE priority WHEN 'high' THEN 2 * p_live ELSE p_live END)
        RETURNING *;
END $$;

-- As before, without what waits to be let in of a run that is paused or cancelled: no machine helps that.
CREATE OR REPLACE FUNCTION fleet_demand() RETURNS jsonb LANGUAGE sql STABLE SET search_path = '' AS $$
    WITH usual AS (SELECT coalesce(avg(pages), 3) AS pages FROM
            (SELECT pages FROM public.documents WHERE pages IS NOT NULL ORDER BY created_at DESC LIMIT 200) AS latest),
        held AS (SELECT array_agg(run_id) AS runs FROM public.bulk_runs
            WHERE status IN ('paused', 'cancelling') AND status NOT IN ('completed', 'cancelled')),
        -- not what waits for something else than a machine: a message batch, for instance
        open AS (SELECT count(*) AS jobs, min(created_at) AS oldest,
                count(*) FILTER (WHERE lease_until IS NULL AND priority = 'high') AS outside_interactive,
                count(*) FILTER (WHERE lease_until IS NULL AND priority <> 'high') AS outside_bulk
            FROM public.processing_jobs WHERE status IN ('queued', 'processing') AND waits_for IS NULL
                AND (lease_until IS NOT NULL OR run_id IS NULL OR run_id <> ALL (coalesce((SELECT runs FROM held), '{}')))),
        -- of those whose turn is next: however many wait, this is asked every 15 s
        next AS (SELECT coalesce(
                (SELECT greatest(1, (detail ->> 'unread')::integer) FROM public.processing_events AS event
                    WHERE event.job_id = job.job_id AND job.status = 'processing'
                        AND event.stage = 'rasterize' AND event.kind = 'finished' ORDER BY event_id DESC LIMIT 1),
                (SELECT pages FROM public.documents AS document WHERE document.document_id = job.document_id)) AS pages
            FROM (SELECT * FROM public.processing_jobs WHERE status IN ('queued', 'processing') AND waits_for IS NULL
                AND (lease_until IS NOT NULL OR run_id IS NULL OR run_id <> ALL (coalesce((SELECT runs FROM held), '{}')))
                ORDER BY created_at LIMIT 500) AS job),
        requested AS (
            (SELECT created_at FROM public.processing_jobs WHERE priority <> 'low' ORDER BY created_at DESC LIMIT 40)
            UNION (SELECT created_at FROM public.processing_jobs WHERE priority = 'low' ORDER BY created_at DESC LIMIT 1))
    SELECT jsonb_build_object('open_jobs', open.jobs, 'oldest', open.oldest,
        'pages_per_document', coalesce((SELECT avg(coalesce(next.pages, usual.pages)) FROM next), usual.pages),
        'outside_interactive', open.outside_interactive, 'outside_bulk', open.outside_bulk,
        'requested', coalesce((SELECT jsonb_agg(created_at) FROM requested), '[]')) FROM open, usual
$$;

-- What was booked for no job in the time of a run: rent.
CREATE FUNCTION rent_of(p_since timestamptz, p_until timestamptz) RETURNS numeric
    LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce(sum(usd), 0) FROM public.costs
        WHERE job_id IS NULL AND at >= p_since AND at < coalesce(p_until, 'infinity')
$$;

-- As before, and false too where what the job's run has spent, its rent and its reservations leave too little of its
-- cap; the job says then what it asked for. What was set aside before is asked for again only if it was as much.
CREATE OR REPLACE FUNCTION reserve_cost(p_once text, p_job_id text, p_kind text, p_usd numeric, p_daily_budget_usd numeric)
    RETURNS boolean LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    today timestamptz;
    committed numeric;
    refused boolean;
BEGIN
    -- one at a time: a sum over rows cannot be guarded by their locks
    PERFORM pg_advisory_xact_lock(hashtext('aseagi.daily_budget'));
    today := date_trunc('day', clock_timestamp() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    IF EXISTS (SELECT FROM public.cost_reservations WHERE once = p_once AND at >= today AND usd >= p_usd)
        OR EXISTS (SELECT FROM public.costs WHERE once = p_once) THEN
        RETURN true;
    END IF;
    -- in one statement, so that what is settled meanwhile counts as spent or as reserved, and not as neither
    SELECT run.spent_usd + public.rent_of(run.started_at, run.finished_at) + p_usd + coalesce((
            SELECT sum(reserved.usd) FROM public.cost_reservations AS reserved
                JOIN public.processing_jobs AS other USING (job_id)
                WHERE other.run_id = run.run_id AND reserved.once <> p_once), 0) > run.cap_usd
        INTO refused FROM public.processing_jobs AS job JOIN public.bulk_runs AS run USING (run_id)
        WHERE job.job_id = p_job_id AND run.cap_usd IS NOT NULL;
    IF FOUND THEN
        UPDATE public.processing_jobs SET refused_usd = CASE WHEN refused THEN p_usd END
            WHERE job_id = p_job_id AND refused_usd IS DISTINCT FROM CASE WHEN refused THEN p_usd END;
    END IF;
    IF refused THEN
        RETURN false;
    END IF;
    SELECT coalesce((SELECT sum(usd) FROM public.costs WHERE kind = p_kind AND at >= today), 0)
         + coalesce((SELECT sum(usd) FROM public.cost_reservations
                WHERE kind = p_kind AND at >= today AND once <> p_once), 0)
        INTO committed;
    IF committed + p_usd > p_daily_budget_usd THEN
        RETURN false;
    END IF;
    INSERT INTO public.cost_reservations AS reserved (once, at, kind, usd, job_id)
        VALUES (p_once, clock_timestamp(), p_kind, p_usd, p_job_id)
        ON CONFLICT (once) DO UPDATE SET at = excluded.at, usd = excluded.usd;
    RETURN true;
END $$;

-- Add a run; the same id again returns the row there is.
CREATE FUNCTION add_bulk_run(p_run jsonb) RETURNS bulk_runs LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE run public.bulk_runs;
BEGIN
    INSERT INTO public.bulk_runs (run_id, kind, prefix, failed, unattended, status, requested_by, created_at, cap_usd,
            deadline)
        SELECT run_id, kind, prefix, failed, unattended, status, requested_by, created_at, cap_usd, deadline
        FROM jsonb_populate_record(NULL::public.bulk_runs, p_run) ON CONFLICT (run_id) DO NOTHING;
    SELECT * INTO STRICT run FROM public.bulk_runs WHERE run_id = p_run ->> 'run_id';
    RETURN run;
END $$;

-- Move a run that is in one of these statuses, and change fields of it; no row if it was in another.
CREATE FUNCTION move_bulk_run(p_run_id text, p_seen text[], p_changes jsonb)
    RETURNS SETOF bulk_runs LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE run public.bulk_runs;
BEGIN
    SELECT * INTO run FROM public.bulk_runs WHERE run_id = p_run_id AND status = ANY (p_seen) FOR UPDATE;
    IF FOUND THEN
        run := jsonb_populate_record(run, p_changes);
        RETURN QUERY UPDATE public.bulk_runs SET status = run.status, reason = run.reason,
                confirmed_by = run.confirmed_by, started_at = run.started_at, finished_at = run.finished_at,
                cap_usd = run.cap_usd, scan = run.scan, quote = run.quote, part = run.part, row = run.row,
                fed = run.fed, certificate = run.certificate, jobs = run.jobs, rent_usd = run.rent_usd,
                trouble = run.trouble
            WHERE run_id = p_run_id RETURNING *;
    END IF;
END $$;

-- Look after a run alone for a while; no row while another does.
CREATE FUNCTION hold_bulk_run(p_run_id text, p_holder text, p_seconds double precision)
    RETURNS SETOF bulk_runs LANGUAGE sql SET search_path = '' AS $$
    UPDATE public.bulk_runs SET lease_holder = p_holder, tended_at = clock_timestamp(),
            lease_until = clock_timestamp() + make_interval(secs => p_seconds)
        WHERE run_id = p_run_id
            AND (lease_holder IS NULL OR lease_holder = p_holder OR lease_until < clock_timestamp())
        RETURNING *
$$;
CREATE FUNCTION let_bulk_run(p_run_id text, p_holder text) RETURNS void LANGUAGE sql SET search_path = '' AS $$
    UPDATE public.bulk_runs SET lease_holder = NULL, lease_until = NULL
        WHERE run_id = p_run_id AND lease_holder = p_holder
$$;

-- Add jobs of low priority to a run that is running: {job id: key}. Those that are there stay as they are, so that the
-- call may be made again; how many were added.
CREATE FUNCTION register_bulk(p_run_id text, p_jobs jsonb) RETURNS integer
    LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE added integer;
BEGIN
    -- a run that is cancelled at this moment is so after it
    PERFORM FROM public.bulk_runs WHERE run_id = p_run_id AND status = 'running' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    INSERT INTO public.processing_jobs (job_id, source, priority, requested_by, run_id)
        SELECT wanted.key, wanted.value, 'low', 'bulk:' || p_run_id, p_run_id
        FROM jsonb_each_text(p_jobs) AS wanted ON CONFLICT (job_id) DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN added;
END $$;

-- Cancel open jobs of a run, and keep why; their ids.
CREATE FUNCTION cancel_bulk_jobs(p_run_id text, p_which text, p_error_class text, p_error_message text, p_limit integer)
    RETURNS TABLE (job_id text) LANGUAGE sql SET search_path = '' AS $$
    WITH found AS (
        SELECT job.job_id FROM public.processing_jobs AS job
            WHERE job.run_id = p_run_id AND job.status IN ('queued', 'processing')
                AND CASE p_which WHEN 'all' THEN true WHEN 'refused' THEN job.refused_usd IS NOT NULL
                    WHEN 'put off' THEN job.waits_for IN ('money', 'a setting')
                    ELSE job.stage IS NULL AND job.lease_holder IS NULL END
            ORDER BY job.job_id LIMIT p_limit FOR UPDATE),
    ended AS (
        UPDATE public.processing_jobs AS job SET status = 'cancelled', finished_at = clock_timestamp(),
                error_class = p_error_class, error_message = p_error_message, lease_holder = NULL, lease_until = NULL,
                waits_for = NULL
            FROM found WHERE job.job_id = found.job_id RETURNING job.job_id),
    told AS (
        INSERT INTO public.processing_events (once, job_id, at, kind, detail)
            SELECT 'cancelled-' || ended.job_id, ended.job_id, clock_timestamp(), 'cancelled',
                jsonb_strip_nulls(jsonb_build_object('error_class', p_error_class, 'message', p_error_message))
            FROM ended ON CONFLICT (once) DO NOTHING)
    SELECT ended.job_id FROM ended
$$;

-- How a run's jobs stand.
CREATE FUNCTION bulk_stands(p_run_id text, p_since timestamptz) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT jsonb_build_object(
        'jobs', (SELECT coalesce(jsonb_object_agg(status, n), '{}') FROM (
            SELECT status, count(*) AS n FROM public.processing_jobs WHERE run_id = p_run_id GROUP BY status) AS by),
        'begun', still.begun, 'refused', still.refused, 'least_refused_usd', still.least,
        'waits', (SELECT coalesce(jsonb_object_agg(waits_for, n), '{}') FROM (
            SELECT waits_for, count(*) AS n FROM public.processing_jobs WHERE run_id = p_run_id
                AND status IN ('queued', 'processing') AND waits_for IS NOT NULL GROUP BY waits_for) AS by),
        'ended', (SELECT count(*) FROM public.processing_jobs WHERE run_id = p_run_id
            AND status IN ('completed', 'error') AND finished_at >= p_since),
        'spent_usd', run.spent_usd, 'rent_usd', public.rent_of(run.started_at, run.finished_at),
        'reserved_usd', (SELECT coalesce(sum(reserved.usd), 0) FROM public.cost_reservations AS reserved
            JOIN public.processing_jobs AS job USING (job_id) WHERE job.run_id = p_run_id))
    FROM public.bulk_runs AS run, LATERAL (
        SELECT count(*) FILTER (WHERE stage IS NOT NULL) AS begun,
            count(*) FILTER (WHERE refused_usd IS NOT NULL) AS refused, min(refused_usd) AS least
        FROM public.processing_jobs WHERE run_id = p_run_id AND status IN ('queued', 'processing')) AS still
    WHERE run.run_id = p_run_id
$$;

-- USD by kind: of a run's jobs, and what was booked for no job in its time.
CREATE FUNCTION bulk_costs(p_run_id text) RETURNS TABLE (kind text, usd numeric)
    LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT booked.kind, sum(booked.usd) FROM (
        SELECT costs.kind, costs.usd FROM public.processing_jobs AS job JOIN public.costs USING (job_id)
            WHERE job.run_id = p_run_id
        UNION ALL
        SELECT costs.kind, costs.usd FROM public.bulk_runs AS run JOIN public.costs ON costs.job_id IS NULL
            AND costs.at >= run.started_at AND costs.at < coalesce(run.finished_at, 'infinity')
            WHERE run.run_id = p_run_id) AS booked
    GROUP BY booked.kind
$$;

REVOKE ALL ON FUNCTION rent_of, add_bulk_run, move_bulk_run, hold_bulk_run, let_bulk_run, register_bulk,
    cancel_bulk_jobs, bulk_stands, bulk_costs FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION rent_of, add_bulk_run, move_bulk_run, hold_bulk_run, let_bulk_run, register_bulk,
    cancel_bulk_jobs, bulk_stands, bulk_costs TO service_role;
