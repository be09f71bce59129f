-- What the monitor asks: documents by what is known of them, days, who may use the API, who changed what.

-- What is wanted of documents as a condition: {document_type, case_number, requested_by, dated_since, dated_until,
-- relevancy}, each where it is there. Put into statements, so that each is planned for what it asks.
CREATE FUNCTION document_conditions(p_wanted jsonb) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT concat_ws(' AND ', 'true',
        'documents.document_type = ' || quote_literal(p_wanted ->> 'document_type'),
        'documents.case_number = ' || quote_literal(p_wanted ->> 'case_number'),
        'documents.document_date >= ' || quote_literal(p_wanted ->> 'dated_since'),
        'documents.document_date <= ' || quote_literal(p_wanted ->> 'dated_until'),
        'documents.relevancy_score >= ' || (p_wanted ->> 'relevancy')::integer,
        'documents.document_id IN (SELECT jobs.document_id FROM public.processing_jobs AS jobs WHERE jobs.requested_by = '
            || quote_literal(p_wanted ->> 'requested_by') || ')')
$$;
CREATE INDEX documents_by_type ON documents (document_type, created_at DESC, document_id DESC);
CREATE INDEX documents_by_case ON documents (case_number, created_at DESC, document_id DESC);
CREATE INDEX documents_by_date ON documents (document_date);
CREATE INDEX documents_by_relevancy ON documents (relevancy_score);
CREATE INDEX jobs_by_requester ON processing_jobs (requested_by, document_id);
CREATE INDEX jobs_by_end ON processing_jobs (finished_at) WHERE finished_at IS NOT NULL;

-- Documents as wanted, newest first, behind the one given by its age and id: the thousandth page costs what the first does.
CREATE FUNCTION find_documents(p_wanted jsonb, p_limit integer, p_created_at timestamptz DEFAULT NULL,
    p_document_id text DEFAULT NULL)
    RETURNS SETOF documents LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN QUERY EXECUTE 'SELECT documents.* FROM public.documents WHERE ' || public.document_conditions(p_wanted)
        || CASE WHEN p_created_at IS NULL THEN '' ELSE ' AND (documents.created_at, documents.document_id) < ($1, $2)' END
        || ' ORDER BY documents.created_at DESC, documents.document_id DESC LIMIT $3'
        USING p_created_at, p_document_id, p_limit;
END $$;

-- As before, among the documents that are wanted.
DROP FUNCTION search_documents(text[], integer, integer);
CREATE FUNCTION search_documents(p_parts text[], p_limit integer DEFAULT 20, p_offset integer DEFAULT 0,
    p_wanted jsonb DEFAULT '{}')
    RETURNS TABLE (document_id text, snippet text, rank real, exact boolean)
    LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    piece text;
    words text;
    phrase tsquery;
    ending text;
    every_word tsquery := NULL;
    phrases tsquery[] := '{}';
    conditions text := public.document_conditions(p_wanted);
BEGIN
    FOREACH piece IN ARRAY p_parts LOOP
        ending := CASE WHEN piece LIKE '%*' THEN ':*' ELSE '' END;
        words := public.search_words(piece);
        phrase := phraseto_tsquery('public.aseagi', words);
        CONTINUE WHEN numnode(phrase) = 0;
        phrase := (phrase::text || ending)::tsquery;
        -- the same words anywhere: the text's words stand in documents.search without positions
        every_word := coalesce(every_word && replace(phrase::text, '<->', '&')::tsquery,
                               replace(phrase::text, '<->', '&')::tsquery);
        IF numnode(phrase) > 1 THEN
            phrases := phrases || phrase;
        END IF;
    END LOOP;
    IF every_word IS NULL THEN
        RETURN;
    END IF;
    -- A dynamic statement: planned for these words, of which one may be rare and another in every document.
    RETURN QUERY EXECUTE $query$
        WITH matching AS MATERIALIZED (
            SELECT documents.document_id, documents.created_at, ts_rank(documents.search, $1) AS rank
            FROM public.documents
            WHERE documents.search @@ $1 AND $query$ || conditions || CASE WHEN phrases = '{}' THEN '' ELSE $query$
                AND (SELECT bool_and(documents.search @@ phrase OR EXISTS (
                    SELECT FROM public.document_texts AS texts
                    WHERE texts.document_id = documents.document_id AND texts.search @@ phrase
                )) FROM unnest($2) AS phrase) $query$ END || $query$
            LIMIT 1000
        ), best AS (
            SELECT * FROM matching ORDER BY rank DESC, created_at DESC LIMIT greatest(100, $3 + $4)
        ), ranked AS (
            SELECT best.document_id, best.created_at, shown.part, (-best.rank - coalesce(shown.rank, 0))::real AS rank
            FROM best LEFT JOIN LATERAL (
                SELECT texts.part, ts_rank(texts.search, $1, 1) AS rank FROM public.document_texts AS texts
                WHERE texts.document_id = best.document_id
                ORDER BY texts.search @@ $1 DESC, ts_rank(texts.search, $1, 1) DESC, texts.part LIMIT 1
            ) AS shown ON true
            ORDER BY rank, best.created_at DESC, best.document_id LIMIT $3 OFFSET $4
        )
        SELECT ranked.document_id, ts_headline('public.aseagi',
                -- a space behind what would make one token of two words ("and/or", "end.Next")
                regexp_replace(coalesce(texts.text, documents.title, documents.name),
                    '([[:alpha:]])([/@._])(?=[[:alpha:]])', '\1\2 ', 'g'),
                $1, 'StartSel=[, StopSel=], MinWords=8, MaxWords=16, MaxFragments=1, FragmentDelimiter=" … "'),
            ranked.rank, true
        FROM ranked JOIN public.documents USING (document_id)
        LEFT JOIN public.document_texts AS texts ON texts.document_id = ranked.document_id AND texts.part = ranked.part
        ORDER BY ranked.rank, ranked.created_at DESC, ranked.document_id
    $query$ USING every_word, phrases, p_limit, p_offset;
    IF FOUND OR p_offset > 0 THEN
        RETURN;
    END IF;
    words := public.without_accents(array_to_string(p_parts, ' '));
    IF length(words) < 4 OR length(words) > 100 THEN
        RETURN;
    END IF;
    -- half of the trigrams in common; the extension's own 0.6 misses a letter left out
    PERFORM set_config('pg_trgm.word_similarity_threshold', '0.5', true);
    RETURN QUERY EXECUTE $query$
        WITH alike AS MATERIALIZED (
            SELECT name, extensions.word_similarity($1, plain) AS likeness FROM public.known_names
            WHERE plain OPERATOR(extensions.%>) $1 ORDER BY likeness DESC, name LIMIT 10
        ), theirs AS (
            SELECT DISTINCT ON (found.document_id) found.*, alike.likeness
            FROM alike CROSS JOIN LATERAL (
                SELECT documents.* FROM public.documents
                WHERE documents.search @@ phraseto_tsquery('public.aseagi', public.search_words(alike.name))
                    AND $query$ || conditions || $query$ LIMIT 100
            ) AS found ORDER BY found.document_id, alike.likeness DESC
        )
        SELECT theirs.document_id,
            concat_ws(' · ', theirs.case_number, theirs.title,
                (SELECT string_agg(party, '; ') FROM jsonb_array_elements_text(theirs.parties) AS party)),
            (1 - theirs.likeness)::real, false
        FROM theirs ORDER BY theirs.likeness DESC, theirs.created_at DESC, theirs.document_id LIMIT $2
    $query$ USING words, p_limit;
END $$;

-- Each UTC day since then: what it cost by kind, and how its jobs ended.
CREATE FUNCTION daily_totals(p_since timestamptz)
    RETURNS TABLE (day date, usd jsonb, completed bigint, failed bigint, cancelled bigint, pages bigint)
    LANGUAGE sql STABLE SET search_path = '' AS $$
    WITH spent AS (
        SELECT day, jsonb_object_agg(kind, usd) AS usd FROM (
            SELECT (at AT TIME ZONE 'UTC')::date AS day, kind, sum(usd) AS usd FROM public.costs
            WHERE at >= p_since GROUP BY 1, 2) AS kinds GROUP BY day
    ), ended AS (
        SELECT (jobs.finished_at AT TIME ZONE 'UTC')::date AS day,
            count(*) FILTER (WHERE jobs.status = 'completed') AS completed,
            count(*) FILTER (WHERE jobs.status = 'error') AS failed,
            count(*) FILTER (WHERE jobs.status = 'cancelled') AS cancelled,
            coalesce(sum(documents.pages) FILTER (WHERE jobs.status = 'completed'), 0) AS pages
        FROM public.processing_jobs AS jobs LEFT JOIN public.documents USING (document_id)
        WHERE jobs.finished_at >= p_since GROUP BY 1
    )
    SELECT day, coalesce(spent.usd, '{}'), coalesce(ended.completed, 0), coalesce(ended.failed, 0),
        coalesce(ended.cancelled, 0), coalesce(ended.pages, 0)
    FROM spent FULL JOIN ended USING (day) ORDER BY day
$$;

-- Who may use the HTTP API. The token itself is shown once and kept nowhere.
CREATE TABLE api_tokens (
    token_sha256 text COLLATE "C" PRIMARY KEY CHECK (length(token_sha256) = 64),
    name text NOT NULL UNIQUE CHECK (name <> ''),
    scopes jsonb NOT NULL CHECK (jsonb_typeof(scopes) = 'array'),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

-- Who changed what, and when; appended to, never changed.
CREATE TABLE audit (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    once text COLLATE "C" NOT NULL UNIQUE,
    at timestamptz NOT NULL DEFAULT now(),
    who text NOT NULL,
    what text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);

ALTER TABLE api_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit ENABLE ROW LEVEL SECURITY;
CREATE POLICY service ON api_tokens TO service_role USING (true) WITH CHECK (true);
CREATE POLICY service ON audit TO service_role USING (true) WITH CHECK (true);
REVOKE ALL ON api_tokens, audit FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON api_tokens TO service_role;
GRANT SELECT, INSERT ON audit TO service_role;
GRANT EXECUTE ON FUNCTION find_documents, search_documents, document_conditions TO service_role, aseagi_viewer;
GRANT EXECUTE ON FUNCTION daily_totals TO service_role;
