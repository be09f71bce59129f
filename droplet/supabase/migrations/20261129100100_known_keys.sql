-- What the records know of keys in the bucket: a scan of a bulk run asks for a thousand at a time, in the order of the
-- keys' bytes, as a bucket lists them.

CREATE INDEX jobs_by_source ON processing_jobs ((source COLLATE "C"), created_at DESC);
CREATE INDEX documents_by_key ON documents ((key COLLATE "C"));

-- A job is about a key if it was requested by it, or if its document's original is there. Of several the open one
-- counts, then the newest. own_bytes: of the completed document that intake put there, whose id the key has in it.
CREATE FUNCTION known_keys(p_keys text[])
    RETURNS TABLE (key text, status text, created_at timestamptz, error_class text, completed_as_of timestamptz,
        own_bytes bigint)
    LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT wanted.key, (last.statuses)[1], (last.moments)[1], (last.errors)[1], last.completed_as_of, last.own_bytes
    FROM unnest(p_keys) AS wanted(key)
    CROSS JOIN LATERAL (
        SELECT array_agg(about.status ORDER BY about.open DESC, about.created_at DESC, about.job_id DESC) AS statuses,
            array_agg(about.created_at ORDER BY about.open DESC, about.created_at DESC, about.job_id DESC) AS moments,
            array_agg(about.error_class ORDER BY about.open DESC, about.created_at DESC, about.job_id DESC) AS errors,
            max(about.created_at) FILTER (WHERE about.status = 'completed') AS completed_as_of,
            max(about.own_bytes) AS own_bytes
        FROM (
            SELECT job.job_id, job.status, job.created_at, job.error_class, NULL::bigint AS own_bytes,
                    job.status IN ('queued', 'processing') AS open
                FROM public.processing_jobs AS job WHERE job.source COLLATE "C" = wanted.key
            UNION ALL
            SELECT job.job_id, job.status, job.created_at, job.error_class,
                    CASE WHEN document.processed IS NOT NULL
                        AND strpos(wanted.key, document.document_id) > 0 THEN document.bytes END,
                    job.status IN ('queued', 'processing')
                FROM public.documents AS document
                JOIN public.processing_jobs AS job ON job.document_id = document.document_id
                WHERE document.key COLLATE "C" = wanted.key
        ) AS about
    ) AS last
    WHERE last.statuses IS NOT NULL
$$;

-- Where originals of completed documents were put, behind a key and up to another.
CREATE FUNCTION original_keys(p_prefix text, p_after text, p_until text, p_before timestamptz, p_limit integer)
    RETURNS TABLE (key text) LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT DISTINCT document.key COLLATE "C" FROM public.documents AS document
        WHERE document.key COLLATE "C" >= p_prefix AND document.key COLLATE "C" > p_after
            AND document.key COLLATE "C" < p_prefix || U&'\+10FFFF'
            AND (p_until IS NULL OR document.key COLLATE "C" <= p_until)
            AND document.processed IS NOT NULL AND document.created_at < p_before
        ORDER BY 1 LIMIT p_limit
$$;

REVOKE ALL ON FUNCTION known_keys, original_keys FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION known_keys, original_keys TO service_role;
