-- Jobs that are given to rented instances: whoever has taken a job's message asks for it, and has it until another does
-- or the instance is dismissed.

-- No row: it has ended, another's lease on it is not over, or the instance has so many already.
CREATE FUNCTION give_job(p_job_id text, p_instance_id text, p_at_most integer)
    RETURNS SETOF processing_jobs LANGUAGE sql SET search_path = '' AS $$
    UPDATE public.processing_jobs SET instance_id = p_instance_id
        WHERE job_id = p_job_id AND status IN ('queued', 'processing')
            AND (instance_id IS NOT DISTINCT FROM p_instance_id
                OR ((lease_holder IS NULL OR lease_until < clock_timestamp())
                    AND p_at_most > (SELECT count(*) FROM public.processing_jobs WHERE instance_id = p_instance_id
                        AND waits_for IS NULL AND status IN ('queued', 'processing'))))
        RETURNING *
$$;

-- Those that are open and wait for nothing, and those that ended since.
CREATE FUNCTION given_jobs(p_instance_id text, p_ended_since timestamptz)
    RETURNS SETOF processing_jobs LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT * FROM public.processing_jobs WHERE instance_id = p_instance_id AND waits_for IS NULL
        AND (finished_at IS NULL OR finished_at >= p_ended_since) ORDER BY created_at, job_id
$$;

CREATE FUNCTION take_jobs_back(p_instance_id text)
    RETURNS integer LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE taken integer;
BEGIN
    UPDATE public.processing_jobs SET instance_id = NULL WHERE instance_id = p_instance_id;
    GET DIAGNOSTICS taken = ROW_COUNT;
    RETURN taken;
END $$;

REVOKE ALL ON FUNCTION give_job, given_jobs, take_jobs_back FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION give_job, given_jobs, take_jobs_back TO service_role;
