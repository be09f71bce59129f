-- Documents processed again: jobs that begin in the middle, other analysts, and documents by what made their sets.

ALTER TABLE processing_jobs
    -- who is to find the facts instead of the settings' analyst: `rules`, or a model
    ADD COLUMN analyst text,
    -- the stage at which it begins, with what is published; null: the first
    ADD COLUMN begins text CHECK (begins = 'analyze');
CREATE INDEX documents_by_analyst
    ON documents (((versions ->> 'analyst') COLLATE "C"), created_at DESC, document_id DESC);
CREATE INDEX documents_by_engine ON documents (((versions ->> 'ocr') COLLATE "C"), created_at DESC, document_id DESC);

-- Add jobs of low priority on documents that are known: {job id: document id}. Those that are there stay as they are, so
-- that the call may be made again; how many were added.
CREATE FUNCTION register_again(p_jobs jsonb, p_requested_by text, p_begins text DEFAULT NULL,
    p_analyst text DEFAULT NULL, p_ocr_engine text DEFAULT NULL, p_again boolean DEFAULT false)
    RETURNS integer LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE added integer;
BEGIN
    INSERT INTO public.processing_jobs (job_id, source, priority, requested_by, document_id, again, ocr_engine, analyst,
            begins)
        SELECT wanted.key, documents.key, 'low', p_requested_by, documents.document_id, p_again, p_ocr_engine,
            p_analyst, p_begins
        FROM jsonb_each_text(p_jobs) AS wanted JOIN public.documents ON documents.document_id = wanted.value
        ON CONFLICT (job_id) DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN added;
END $$;

-- How the jobs that were requested so stand, and what they have cost.
CREATE FUNCTION count_requested(p_requested_by text)
    RETURNS TABLE (status text, jobs bigint, usd double precision) LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT jobs.status, count(*), sum(jobs.cost_usd)::double precision FROM public.processing_jobs AS jobs
    WHERE jobs.requested_by = p_requested_by GROUP BY jobs.status
$$;

-- Whether a version is the one that is wanted, or with a * behind it begins so: as a range, which an index has.
CREATE FUNCTION version_condition(p_name text, p_wanted text) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT CASE WHEN p_wanted IS NULL THEN NULL WHEN right(p_wanted, 1) = '*'
        THEN format('((documents.versions ->> %1$L) COLLATE "C" >= %2$L AND (documents.versions ->> %1$L) COLLATE "C" < %3$L)',
            p_name, rtrim(p_wanted, '*'), rtrim(p_wanted, '*') || chr(1114111))
        ELSE format('((documents.versions ->> %L) COLLATE "C" = %L)', p_name, p_wanted) END
$$;
CREATE FUNCTION other_version(p_name text, p_version text) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT CASE WHEN p_version IS NOT NULL THEN format(
        '(documents.versions ->> %1$L) COLLATE "C" < %2$L OR (documents.versions ->> %1$L) COLLATE "C" > %2$L',
        p_name, p_version) END
$$;

-- As before, and more: {taken_since, taken_until, document_ids, ocr, ocr_not, analyst, analyst_not, not_of_ocr,
-- not_of_analyst}.
CREATE OR REPLACE FUNCTION document_conditions(p_wanted jsonb)
    RETURNS text LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT concat_ws(' AND ', 'true',
        'documents.document_type = ' || quote_literal(p_wanted ->> 'document_type'),
        'documents.case_number = ' || quote_literal(p_wanted ->> 'case_number'),
        'documents.document_date >= ' || quote_literal(p_wanted ->> 'dated_since'),
        'documents.document_date <= ' || quote_literal(p_wanted ->> 'dated_until'),
        'documents.relevancy_score >= ' || (p_wanted ->> 'relevancy')::integer,
        'documents.document_id IN (SELECT jobs.document_id FROM public.processing_jobs AS jobs WHERE jobs.requested_by = '
            || quote_literal(p_wanted ->> 'requested_by') || ')',
        'documents.created_at >= ' || quote_literal((p_wanted ->> 'taken_since') || 'T00:00Z'),
        'documents.created_at < ' || quote_literal((p_wanted ->> 'taken_until') || 'T00:00Z'),
        'documents.document_id IN (SELECT jsonb_array_elements_text(' || quote_literal(p_wanted -> 'document_ids') || '))',
        public.version_condition('ocr', p_wanted ->> 'ocr'),
        public.version_condition('analyst', p_wanted ->> 'analyst'),
        'documents.processed IS NOT NULL AND NOT ' || public.version_condition('ocr', p_wanted ->> 'ocr_not'),
        'documents.processed IS NOT NULL AND NOT ' || public.version_condition('analyst', p_wanted ->> 'analyst_not'),
        'documents.processed IS NOT NULL AND (' || nullif(concat_ws(' OR ',
            public.other_version('ocr', p_wanted ->> 'not_of_ocr'),
            public.other_version('analyst', p_wanted ->> 'not_of_analyst')), '') || ')'
    )
$$;

-- How many documents are as wanted, by type.
CREATE FUNCTION count_documents(p_wanted jsonb) RETURNS TABLE (kind text, n bigint)
    LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN QUERY EXECUTE 'SELECT coalesce(documents.document_type, ''''), count(*) FROM public.documents WHERE '
        || public.document_conditions(p_wanted) || ' GROUP BY 1 ORDER BY 2 DESC, 1';
END $$;

REVOKE ALL ON FUNCTION register_again, count_requested, count_documents, version_condition, other_version
    FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION register_again, count_requested, count_documents TO service_role;
GRANT EXECUTE ON FUNCTION version_condition, other_version TO service_role, aseagi_viewer;
