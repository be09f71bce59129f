-- Writes that race, one function each: whoever calls at once and however often, the row ends as if one had called.
-- Calls that write an event carry `p_once`, made by the caller for each call: the same one again changes nothing
-- and gives the same answer. Errors: PT404 where there is no such row (PostgREST answers 404).

CREATE FUNCTION register_job(p_job_id text, p_source text, p_priority text, p_requested_by text DEFAULT NULL)
    RETURNS processing_jobs LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE job public.processing_jobs;
BEGIN
    INSERT INTO public.processing_jobs (job_id, source, priority, requested_by)
        VALUES (p_job_id, p_source, p_priority, p_requested_by) ON CONFLICT (job_id) DO NOTHING;
    SELECT * INTO STRICT job FROM public.processing_jobs WHERE job_id = p_job_id;
    RETURN job;
END $$;

-- The same bytes are one document under its first key; the job is tied to it.
CREATE FUNCTION register_document(p_job_id text, p_document_id text, p_sha256 text, p_key text, p_name text,
    p_bytes bigint, p_media_type text, p_created_at timestamptz)
    RETURNS documents LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE document public.documents;
BEGIN
    INSERT INTO public.documents (document_id, sha256, key, name, bytes, media_type, created_at)
        VALUES (p_document_id, p_sha256, p_key, p_name, p_bytes, p_media_type, p_created_at) ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT document FROM public.documents WHERE sha256 = p_sha256;
    UPDATE public.processing_jobs SET document_id = document.document_id WHERE job_id = p_job_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no job %', p_job_id USING ERRCODE = 'PT404', DETAIL = 'jobs';
    END IF;
    RETURN document;
END $$;

-- The job that works on a document: this one, unless another does of which something was heard since p_quiet_since.
CREATE FUNCTION claim_document(p_job_id text, p_document_id text, p_quiet_since timestamptz)
    RETURNS processing_jobs LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    holder text;
    job public.processing_jobs;
BEGIN
    SELECT claimed_by INTO holder FROM public.documents WHERE document_id = p_document_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no document %', p_document_id USING ERRCODE = 'PT404', DETAIL = 'documents';
    END IF;
    SELECT * INTO job FROM public.processing_jobs
        WHERE job_id = holder AND status IN ('queued', 'processing') AND updated_at >= p_quiet_since;
    IF NOT FOUND THEN
        UPDATE public.documents SET claimed_by = p_job_id WHERE document_id = p_document_id;
        SELECT * INTO job FROM public.processing_jobs WHERE job_id = p_job_id;
    END IF;
    RETURN job;
END $$;

-- Move to `processing` at a stage and count its deliveries; an ended job is returned as it is.
CREATE FUNCTION begin_stage(p_once text, p_job_id text, p_stage text, p_worker text)
    RETURNS processing_jobs LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE job public.processing_jobs;
BEGIN
    SELECT * INTO job FROM public.processing_jobs WHERE job_id = p_job_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no job %', p_job_id USING ERRCODE = 'PT404', DETAIL = 'jobs';
    END IF;
    IF job.status IN ('completed', 'error', 'cancelled')
        OR EXISTS (SELECT FROM public.processing_events WHERE once = p_once) THEN
        RETURN job;
    END IF;
    UPDATE public.processing_jobs SET status = 'processing', stage = p_stage,
            deliveries = CASE WHEN stage = p_stage THEN deliveries + 1 ELSE 1 END
        WHERE job_id = p_job_id RETURNING * INTO job;
    INSERT INTO public.processing_events (once, job_id, at, stage, kind, worker)
        VALUES (p_once, p_job_id, clock_timestamp(), p_stage, 'started', p_worker);
    RETURN job;
END $$;

-- Write the `finished` event; deliveries are counted anew from here.
CREATE FUNCTION end_stage(p_once text, p_job_id text, p_stage text, p_seconds double precision, p_worker text,
    p_detail jsonb DEFAULT '{}')
    RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    INSERT INTO public.processing_events (once, job_id, at, stage, kind, seconds, worker, detail)
        VALUES (p_once, p_job_id, clock_timestamp(), p_stage, 'finished', p_seconds, p_worker, p_detail)
        ON CONFLICT (once) DO NOTHING;
    IF FOUND THEN
        UPDATE public.processing_jobs SET deliveries = 0 WHERE job_id = p_job_id AND stage = p_stage;
    END IF;
END $$;

CREATE FUNCTION add_event(p_once text, p_job_id text, p_stage text, p_kind text, p_worker text,
    p_detail jsonb DEFAULT '{}')
    RETURNS void LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO public.processing_events (once, job_id, at, stage, kind, worker, detail)
        VALUES (p_once, p_job_id, clock_timestamp(), p_stage, p_kind, p_worker, p_detail)
        ON CONFLICT (once) DO NOTHING
$$;

-- End a job, once. True if this call did it, now or when it was made before.
CREATE FUNCTION end_job(p_once text, p_job_id text, p_status text, p_kind text, p_stage text DEFAULT NULL,
    p_error_class text DEFAULT NULL, p_error_message text DEFAULT NULL)
    RETURNS boolean LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF p_status NOT IN ('completed', 'error', 'cancelled') THEN
        RAISE EXCEPTION '% does not end a job', p_status USING ERRCODE = 'PT400';
    END IF;
    UPDATE public.processing_jobs SET status = p_status, stage = coalesce(p_stage, stage),
            finished_at = clock_timestamp(), error_class = p_error_class, error_message = p_error_message,
            lease_holder = NULL, lease_until = NULL
        WHERE job_id = p_job_id AND status IN ('queued', 'processing');
    IF NOT FOUND THEN
        RETURN EXISTS (SELECT FROM public.processing_events WHERE once = p_once);
    END IF;
    INSERT INTO public.processing_events (once, job_id, at, stage, kind, detail)
        VALUES (p_once, p_job_id, clock_timestamp(), p_stage, p_kind,
            jsonb_strip_nulls(jsonb_build_object('error_class', p_error_class, 'message', p_error_message)));
    RETURN true;
END $$;

-- Complete a job, once; in the same transaction the document's facts, and its text for search. The facts are those of
-- the row as it shall be; null where the results were known before.
CREATE FUNCTION complete_job(p_once text, p_job_id text, p_document jsonb DEFAULT NULL, p_parts text[] DEFAULT NULL)
    RETURNS boolean LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE facts public.documents;
BEGIN
    IF EXISTS (SELECT FROM public.processing_events WHERE once = p_once) THEN
        RETURN true;
    END IF;
    IF NOT public.end_job(p_once, p_job_id, 'completed', CASE WHEN p_document IS NULL THEN 'known' ELSE 'completed' END) THEN
        RETURN false;
    END IF;
    IF p_document IS NOT NULL THEN
        facts := jsonb_populate_record(NULL::public.documents, p_document);
        UPDATE public.documents SET processed = facts.processed, pages = facts.pages,
                document_type = facts.document_type, document_date = facts.document_date,
                case_number = facts.case_number, title = facts.title, parties = coalesce(facts.parties, '[]'),
                relevancy_score = facts.relevancy_score, versions = coalesce(facts.versions, '{}')
            WHERE document_id = facts.document_id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no document %', facts.document_id USING ERRCODE = 'PT404', DETAIL = 'documents';
        END IF;
        IF p_parts IS NOT NULL THEN
            PERFORM public.save_text(facts.document_id, p_parts);
        END IF;
    END IF;
    RETURN true;
END $$;

-- Append to the ledger; the same `once` is written once. False if it was there.
CREATE FUNCTION charge_cost(p_once text, p_job_id text, p_kind text, p_usd numeric, p_detail jsonb DEFAULT '{}')
    RETURNS boolean LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    INSERT INTO public.costs (once, at, kind, usd, job_id, detail)
        VALUES (p_once, clock_timestamp(), p_kind, p_usd, p_job_id, p_detail) ON CONFLICT (once) DO NOTHING;
    RETURN FOUND;
END $$;

-- Set money aside before it is spent. False if the UTC day's ledger and reservations leave too little of the budget.
-- The same `once` again is true while it is reserved, and once it was settled: that money is spent.
CREATE FUNCTION reserve_cost(p_once text, p_job_id text, p_kind text, p_usd numeric, p_daily_budget_usd numeric)
    RETURNS boolean LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    today timestamptz;
    committed numeric;
BEGIN
    -- one at a time: a sum over rows cannot be guarded by their locks
    PERFORM pg_advisory_xact_lock(hashtext('aseagi.daily_budget'));
    today := date_trunc('day', clock_timestamp() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    IF EXISTS (SELECT FROM public.cost_reservations WHERE once = p_once AND at >= today)
        OR EXISTS (SELECT FROM public.costs WHERE once = p_once) THEN
        RETURN true;
    END IF;
    SELECT coalesce((SELECT sum(usd) FROM public.costs WHERE at >= today), 0)
         + coalesce((SELECT sum(usd) FROM public.cost_reservations WHERE at >= today), 0) INTO committed;
    IF committed + p_usd > p_daily_budget_usd THEN
        RETURN false;
    END IF;
    INSERT INTO public.cost_reservations AS reserved (once, at, kind, usd, job_id)
        VALUES (p_once, clock_timestamp(), p_kind, p_usd, p_job_id)
        ON CONFLICT (once) DO UPDATE SET at = excluded.at, usd = excluded.usd;
    RETURN true;
END $$;

-- Put what it really cost into the ledger and free what was reserved; 0 frees it and writes nothing. False if the
-- ledger had it already, or there was neither a reservation nor a cost.
CREATE FUNCTION settle_cost(p_once text, p_usd numeric, p_detail jsonb DEFAULT '{}')
    RETURNS boolean LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE reserved public.cost_reservations;
BEGIN
    DELETE FROM public.cost_reservations WHERE once = p_once RETURNING * INTO reserved;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    RETURN p_usd = 0 OR public.charge_cost(p_once, reserved.job_id, reserved.kind, p_usd, p_detail);
END $$;

-- Leases: who works on a job says so for a while. Start: nobody else holds one. Renew: still the holder's.
CREATE FUNCTION start_lease(p_job_id text, p_holder text, p_seconds double precision)
    RETURNS boolean LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    UPDATE public.processing_jobs
        SET lease_holder = p_holder, lease_until = clock_timestamp() + make_interval(secs => p_seconds)
        WHERE job_id = p_job_id AND status IN ('queued', 'processing')
            AND (lease_until IS NULL OR lease_until < clock_timestamp() OR lease_holder = p_holder);
    RETURN FOUND;
END $$;

CREATE FUNCTION renew_lease(p_job_id text, p_holder text, p_seconds double precision)
    RETURNS boolean LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    UPDATE public.processing_jobs SET lease_until = clock_timestamp() + make_interval(secs => p_seconds)
        WHERE job_id = p_job_id AND lease_holder = p_holder AND status IN ('queued', 'processing');
    RETURN FOUND;
END $$;

-- Take over leases that are over, each job by one caller. The caller holds them for a while: jobs of which it never
-- heard, since the answer was lost, are over again then.
CREATE FUNCTION take_over_leases(p_holder text, p_seconds double precision, p_limit integer DEFAULT 100)
    RETURNS SETOF processing_jobs LANGUAGE sql SET search_path = '' AS $$
    UPDATE public.processing_jobs
        SET lease_holder = p_holder, lease_until = clock_timestamp() + make_interval(secs => p_seconds)
        -- now(), not clock_timestamp(), which changes while it is asked and so uses no index
        WHERE job_id IN (SELECT job_id FROM public.processing_jobs WHERE lease_until < now()
            ORDER BY lease_until LIMIT p_limit FOR UPDATE SKIP LOCKED)
        RETURNING *
$$;

-- The oldest confirmed run, or one whose worker fell silent; null if there is none.
CREATE FUNCTION claim_bulk_run(p_holder text, p_seconds double precision)
    RETURNS SETOF bulk_runs LANGUAGE sql SET search_path = '' AS $$
    UPDATE public.bulk_runs SET status = 'running', lease_holder = p_holder,
            lease_until = clock_timestamp() + make_interval(secs => p_seconds)
        WHERE run_id = (SELECT run_id FROM public.bulk_runs WHERE status IN ('confirmed', 'running')
            AND (lease_until IS NULL OR lease_until < now())
            ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING *
$$;

CREATE FUNCTION count_jobs() RETURNS TABLE (status text, jobs bigint)
    LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT status, count(*) FROM public.processing_jobs GROUP BY status
$$;

CREATE FUNCTION sum_costs(p_since timestamptz) RETURNS TABLE (kind text, usd numeric)
    LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT kind, sum(usd) FROM public.costs WHERE at >= p_since GROUP BY kind
$$;
