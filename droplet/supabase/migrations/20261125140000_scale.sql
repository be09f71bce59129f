-- What a million jobs make slow. Measured by benchmarks/scale.py, on a million rows.

-- Those that count as live. Without it each look at how many there are reads all that wait for something else, a message
-- batch for instance: 85 ms where a million do, each time a document ends.
CREATE INDEX jobs_live ON processing_jobs (lease_until) WHERE lease_until IS NOT NULL AND waits_for IS NULL;
CREATE INDEX jobs_held ON processing_jobs (lease_holder) WHERE lease_holder IS NOT NULL;

-- As before. The limit is taken before places are counted, so that the index gives the first few, and not all that wait
-- (382 ms where a million do, one caller at a time: no more than five documents a second would be let in).
CREATE OR REPLACE FUNCTION admit_jobs(p_live integer, p_seconds double precision, p_limit integer DEFAULT 100)
    RETURNS SETOF processing_jobs LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE live bigint;
BEGIN
    -- one at a time: a count of rows cannot be guarded by their locks
    PERFORM pg_advisory_xact_lock(hashtext('aseagi.admission'));
    SELECT count(*) INTO live FROM public.processing_jobs WHERE lease_until IS NOT NULL AND waits_for IS NULL;
    RETURN QUERY UPDATE public.processing_jobs SET lease_until = clock_timestamp() + make_interval(secs => p_seconds)
        WHERE job_id IN (
            SELECT job_id FROM (
                SELECT job_id, priority, row_number() OVER () AS place FROM (
                    SELECT job_id, priority FROM public.processing_jobs
                        WHERE lease_until IS NULL AND status IN ('queued', 'processing')
                        ORDER BY (CASE priority WHEN 'high' THEN 0 WHEN 'normal' THEN 1 ELSE 2 END), created_at, job_id
                        LIMIT p_limit) AS first) AS next
            WHERE live + place <= CASE priority WHEN 'high' THEN 2 * p_live ELSE p_live END)
        RETURNING *;
END $$;

-- As before, by the index of those that are held.
CREATE OR REPLACE FUNCTION drop_leases(p_prefix text, p_died boolean)
    RETURNS integer LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE dropped integer;
BEGIN
    UPDATE public.processing_jobs SET lease_until = clock_timestamp(),
            lease_holder = CASE WHEN p_died THEN lease_holder END
        WHERE lease_holder IS NOT NULL AND starts_with(lease_holder, p_prefix);
    GET DIAGNOSTICS dropped = ROW_COUNT;
    RETURN dropped;
END $$;
