-- Delivery: a job's row holds what its message held, so that a queue that comes back empty loses no work.
--
-- A job that is open (queued or processing) is in one of three states:
--   lease_until is null                 it waits for admission: it has no message in the queue
--   lease_until, no lease_holder        it has a message in the queue, or waits for something; nobody needs to look at
--                                       it before that moment
--   lease_until and lease_holder        a worker runs its stage, and renews the lease; over means that it died

ALTER TABLE processing_jobs
    -- do the work even if the result is known
    ADD COLUMN again boolean NOT NULL DEFAULT false,
    -- instead of the settings'
    ADD COLUMN ocr_engine text,
    -- what it waits for on purpose, in words; it is left alone until lease_until
    ADD COLUMN waits_for text,
    -- workers that died at its stage, since one last ended
    ADD COLUMN deaths integer NOT NULL DEFAULT 0 CHECK (deaths >= 0);
CREATE INDEX jobs_to_admit ON processing_jobs
    ((CASE priority WHEN 'high' THEN 0 WHEN 'normal' THEN 1 ELSE 2 END), created_at, job_id)
    WHERE lease_until IS NULL AND status IN ('queued', 'processing');
GRANT UPDATE (waits_for, deaths) ON processing_jobs TO aseagi_worker;

DROP FUNCTION register_job(text, text, text, text);
CREATE FUNCTION register_job(p_job_id text, p_source text, p_priority text, p_requested_by text DEFAULT NULL,
    p_again boolean DEFAULT false, p_ocr_engine text DEFAULT NULL)
    RETURNS processing_jobs LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE job public.processing_jobs;
BEGIN
    INSERT INTO public.processing_jobs (job_id, source, priority, requested_by, again, ocr_engine)
        VALUES (p_job_id, p_source, p_priority, p_requested_by, p_again, p_ocr_engine) ON CONFLICT (job_id) DO NOTHING;
    SELECT * INTO STRICT job FROM public.processing_jobs WHERE job_id = p_job_id;
    RETURN job;
END $$;

-- As before; a job that waits on purpose is not silent.
CREATE OR REPLACE FUNCTION claim_document(p_job_id text, p_document_id text, p_quiet_since timestamptz)
    RETURNS processing_jobs LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    holder text;
    job public.processing_jobs;
BEGIN
    SELECT claimed_by INTO holder FROM public.documents WHERE document_id = p_document_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no document %', p_document_id USING ERRCODE = 'PT404', DETAIL = 'documents';
    END IF;
    SELECT * INTO job FROM public.processing_jobs WHERE job_id = holder AND status IN ('queued', 'processing')
        AND (updated_at >= p_quiet_since OR waits_for IS NOT NULL);
    IF NOT FOUND THEN
        UPDATE public.documents SET claimed_by = p_job_id WHERE document_id = p_document_id;
        SELECT * INTO job FROM public.processing_jobs WHERE job_id = p_job_id;
    END IF;
    RETURN job;
END $$;

-- Let the next jobs in, the important first, as long as fewer than p_live are in the queue or at work. Those of high
-- priority wait for twice as many, so that a bulk run does not stand in their way.
CREATE FUNCTION admit_jobs(p_live integer, p_seconds double precision, p_limit integer DEFAULT 100)
    RETURNS SETOF processing_jobs LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE live bigint;
BEGIN
    -- one at a time: a count of rows cannot be guarded by their locks
    PERFORM pg_advisory_xact_lock(hashtext('aseagi.admission'));
    SELECT count(*) INTO live FROM public.processing_jobs WHERE lease_until IS NOT NULL AND waits_for IS NULL;
    RETURN QUERY UPDATE public.processing_jobs SET lease_until = clock_timestamp() + make_interval(secs => p_seconds)
        WHERE job_id IN (
            SELECT job_id FROM (
                SELECT job_id, priority, row_number() OVER (ORDER BY (CASE priority WHEN 'high' THEN 0 WHEN 'normal' THEN 1
                        ELSE 2 END), created_at, job_id) AS place
                    FROM public.processing_jobs WHERE lease_until IS NULL AND status IN ('queued', 'processing')
                    ORDER BY place LIMIT p_limit) AS next
            WHERE live + place <= CASE priority WHEN 'high' THEN 2 * p_live ELSE p_live END)
        RETURNING *;
END $$;

-- Move to `processing` at a stage and count its deliveries; an ended job is returned as it is. With a holder its lease
-- is taken: no row if another holds it, or the job is at a later stage (an old message). Whoever held one that is over
-- has died.
DROP FUNCTION begin_stage(text, text, text, text);
CREATE FUNCTION begin_stage(p_once text, p_job_id text, p_stage text, p_worker text, p_holder text DEFAULT NULL,
    p_seconds double precision DEFAULT 0)
    RETURNS SETOF processing_jobs LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    job public.processing_jobs;
    died boolean := false;
BEGIN
    SELECT * INTO job FROM public.processing_jobs WHERE job_id = p_job_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no job %', p_job_id USING ERRCODE = 'PT404', DETAIL = 'jobs';
    END IF;
    IF job.status IN ('completed', 'error', 'cancelled')
        OR EXISTS (SELECT FROM public.processing_events WHERE once = p_once) THEN
        RETURN NEXT job;
        RETURN;
    END IF;
    IF p_holder IS NOT NULL THEN
        died := job.lease_holder <> p_holder;
        IF (died AND job.lease_until >= clock_timestamp())
            OR strpos('fetch rasterize ocr analyze upload record', job.stage)
                > strpos('fetch rasterize ocr analyze upload record', p_stage) THEN
            RETURN;
        END IF;
        died := coalesce(died, false);
        UPDATE public.processing_jobs SET lease_holder = p_holder,
            lease_until = clock_timestamp() + make_interval(secs => p_seconds) WHERE job_id = p_job_id;
    END IF;
    IF died THEN
        INSERT INTO public.processing_events (once, job_id, at, stage, kind, worker)
            VALUES (p_once || '-lost', p_job_id, clock_timestamp(), job.stage, 'lost', split_part(job.lease_holder, '/', 1));
    END IF;
    UPDATE public.processing_jobs SET status = 'processing', stage = p_stage, waits_for = NULL, deaths = deaths + died::int,
            deliveries = CASE WHEN stage = p_stage THEN deliveries + 1 ELSE 1 END
        WHERE job_id = p_job_id RETURNING * INTO job;
    INSERT INTO public.processing_events (once, job_id, at, stage, kind, worker)
        VALUES (p_once, p_job_id, clock_timestamp(), p_stage, 'started', p_worker);
    RETURN NEXT job;
END $$;

-- Write the `finished` event; deliveries and deaths are counted anew from here. With a holder the lease is given up for
-- the message of the stage that follows (p_then): false if it was lost, and then nothing is written.
DROP FUNCTION end_stage(text, text, text, double precision, text, jsonb);
CREATE FUNCTION end_stage(p_once text, p_job_id text, p_stage text, p_seconds double precision, p_worker text,
    p_detail jsonb DEFAULT '{}', p_then text DEFAULT NULL, p_holder text DEFAULT NULL,
    p_lease_s double precision DEFAULT 0)
    RETURNS boolean LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF EXISTS (SELECT FROM public.processing_events WHERE once = p_once) THEN
        RETURN true;
    END IF;
    IF p_holder IS NOT NULL THEN
        UPDATE public.processing_jobs SET lease_holder = NULL,
                lease_until = clock_timestamp() + make_interval(secs => p_lease_s)
            WHERE job_id = p_job_id AND stage = p_stage AND lease_holder = p_holder AND status = 'processing';
        IF NOT FOUND THEN
            RETURN false;
        END IF;
    END IF;
    INSERT INTO public.processing_events (once, job_id, at, stage, kind, seconds, worker, detail)
        VALUES (p_once, p_job_id, clock_timestamp(), p_stage, 'finished', p_seconds, p_worker, p_detail);
    UPDATE public.processing_jobs SET deliveries = 0, deaths = 0, stage = coalesce(p_then, stage)
        WHERE job_id = p_job_id AND stage = p_stage;
    RETURN true;
END $$;

-- Nobody needs to look at an open job for so long: its message waits in the queue, or it waits for something. False if
-- another than p_holder works on it.
CREATE FUNCTION put_off_job(p_job_id text, p_seconds double precision, p_holder text DEFAULT NULL,
    p_waits_for text DEFAULT NULL, p_stage text DEFAULT NULL)
    RETURNS boolean LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    UPDATE public.processing_jobs SET lease_holder = NULL, waits_for = p_waits_for, stage = coalesce(p_stage, stage),
            lease_until = clock_timestamp() + make_interval(secs => p_seconds)
        WHERE job_id = p_job_id AND status IN ('queued', 'processing')
            AND (lease_holder IS NULL OR lease_holder = p_holder);
    RETURN FOUND;
END $$;

-- The leases of holders whose name begins so are over now: their worker died, or it has given them back.
CREATE FUNCTION drop_leases(p_prefix text, p_died boolean)
    RETURNS integer LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE dropped integer;
BEGIN
    UPDATE public.processing_jobs SET lease_until = clock_timestamp(),
            lease_holder = CASE WHEN p_died THEN lease_holder END
        WHERE lease_until IS NOT NULL AND starts_with(lease_holder, p_prefix);
    GET DIAGNOSTICS dropped = ROW_COUNT;
    RETURN dropped;
END $$;

-- As before; a holder whose lease is over has died.
DROP FUNCTION start_lease(text, text, double precision);
CREATE FUNCTION start_lease(p_job_id text, p_holder text, p_seconds double precision)
    RETURNS SETOF processing_jobs LANGUAGE sql SET search_path = '' AS $$
    UPDATE public.processing_jobs SET deaths = deaths + coalesce(lease_holder <> p_holder, false)::int,
            lease_holder = p_holder, lease_until = clock_timestamp() + make_interval(secs => p_seconds), waits_for = NULL
        WHERE job_id = p_job_id AND status IN ('queued', 'processing')
            AND (lease_holder IS NULL OR lease_until < clock_timestamp() OR lease_holder = p_holder)
        RETURNING *
$$;

-- Jobs whose time is over, each to one caller: nobody else looks at them for p_seconds, so those of which the caller
-- never heard, since the answer was lost, come again. Whoever held the lease has died.
DROP FUNCTION take_over_leases(text, double precision, integer);
CREATE FUNCTION take_over_leases(p_seconds double precision, p_limit integer DEFAULT 100)
    RETURNS SETOF processing_jobs LANGUAGE sql SET search_path = '' AS $$
    -- now(), not clock_timestamp(), which changes while it is asked and so uses no index
    WITH expired AS (SELECT job_id, stage, lease_holder FROM public.processing_jobs WHERE lease_until < now()
            ORDER BY lease_until LIMIT p_limit FOR UPDATE SKIP LOCKED),
        lost AS (INSERT INTO public.processing_events (once, job_id, at, stage, kind, worker)
            SELECT gen_random_uuid()::text, job_id, clock_timestamp(), stage, 'lost', split_part(lease_holder, '/', 1)
            FROM expired WHERE lease_holder IS NOT NULL)
    UPDATE public.processing_jobs job SET deaths = deaths + (job.lease_holder IS NOT NULL)::int, lease_holder = NULL,
            lease_until = clock_timestamp() + make_interval(secs => p_seconds)
        FROM expired WHERE job.job_id = expired.job_id
        RETURNING job.*
$$;

GRANT EXECUTE ON FUNCTION register_job, admit_jobs, start_lease, take_over_leases TO service_role;
GRANT EXECUTE ON FUNCTION begin_stage, end_stage, put_off_job, drop_leases TO service_role, aseagi_worker;
