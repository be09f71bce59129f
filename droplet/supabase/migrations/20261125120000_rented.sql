-- A rented instance calls about one job, document or original at a time: only the jobs that this names are listed.

DROP FUNCTION given_jobs(text, timestamptz);

CREATE FUNCTION given_jobs(p_instance_id text, p_ended_since timestamptz, p_about text DEFAULT NULL)
    RETURNS SETOF processing_jobs LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT * FROM public.processing_jobs job WHERE instance_id = p_instance_id AND waits_for IS NULL
        AND (finished_at IS NULL OR finished_at >= p_ended_since)
        AND (p_about IS NULL OR p_about IN (job_id, document_id, source)
            OR EXISTS (SELECT 1 FROM public.documents it WHERE it.document_id = job.document_id AND it.key = p_about))
        ORDER BY created_at, job_id
$$;

REVOKE ALL ON FUNCTION given_jobs FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION given_jobs TO service_role;
