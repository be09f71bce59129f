-- Search: words without accents and case, phrases, beginnings of words; names and case numbers with typing errors.
--
-- documents.search finds: facts with their weight, and every word of the text once. One index, also where the words
-- stand on different pages. document_texts.search tells: positions for phrases and rank, a few pages at a time, since
-- a tsvector keeps no position beyond 16,383 and 256 of one word.

CREATE TEXT SEARCH CONFIGURATION aseagi (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION aseagi ALTER MAPPING FOR asciiword, word, numword, hword, hword_part, numhword, asciihword,
    hword_asciipart, hword_numpart WITH extensions.unaccent, simple;

-- Letters and digits only: PostgreSQL's parser takes "and/or" for a file and "21-cv" for a number and a word.
CREATE FUNCTION search_words(content text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SET search_path = '' AS $$
    -- under the collation "C", which a column may bring along, only ASCII has letters
    SELECT regexp_replace(normalize(content, NFC) COLLATE "default", '[^[:alnum:]]+', ' ', 'g')
$$;
CREATE FUNCTION search_vector(content text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT to_tsvector('public.aseagi'::regconfig, public.search_words(coalesce(content, '')))
$$;
CREATE FUNCTION without_accents(content text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT lower(extensions.unaccent('extensions.unaccent'::regdictionary, coalesce(content, '')) COLLATE "default")
$$;

ALTER TABLE documents
    -- every word of the text once, written with the text
    ADD COLUMN words text NOT NULL DEFAULT '',
    ADD COLUMN search tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(search_vector(title), 'A') || setweight(search_vector(case_number), 'A')
        || setweight(search_vector(parties::text), 'B') || setweight(search_vector(name), 'C')
        || strip(search_vector(words))
    ) STORED;
CREATE INDEX documents_by_word ON documents USING gin (search) WITH (fastupdate = off);

-- Every case number and party there is or was, once: what is found with typing errors. A case has hundreds of papers, so
-- trigrams over these are few; over the documents themselves a search took 20 times as long.
CREATE TABLE known_names (
    name text PRIMARY KEY,
    plain text NOT NULL GENERATED ALWAYS AS (without_accents(name)) STORED
);
CREATE INDEX known_names_by_likeness ON known_names USING gin (plain extensions.gin_trgm_ops) WITH (fastupdate = off);

-- Runs as its owner: who may write facts need not be allowed to read names.
CREATE FUNCTION keep_names() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO public.known_names (name)
        SELECT DISTINCT left(given, 200) FROM (
            SELECT NEW.case_number UNION ALL SELECT jsonb_array_elements_text(NEW.parties)
        ) AS names (given) WHERE given <> '' ORDER BY 1
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER keep_names AFTER INSERT OR UPDATE OF case_number, parties ON documents
    FOR EACH ROW EXECUTE FUNCTION keep_names();

CREATE TABLE document_texts (
    document_id text COLLATE "C" NOT NULL REFERENCES documents ON DELETE CASCADE,
    part integer NOT NULL CHECK (part >= 0),
    -- the parts of a document joined are its text, with a form feed between pages
    text text NOT NULL,
    search tsvector NOT NULL GENERATED ALWAYS AS (search_vector(text)) STORED,
    PRIMARY KEY (document_id, part)
);

-- Put a document's text in place of what was there.
CREATE FUNCTION save_text(p_document_id text, p_parts text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    DELETE FROM public.document_texts WHERE document_id = p_document_id;
    INSERT INTO public.document_texts (document_id, part, text)
        SELECT p_document_id, number - 1, content FROM unnest(p_parts) WITH ORDINALITY AS parts (content, number);
    UPDATE public.documents SET words = coalesce((
        -- a tsvector holds 1 MB: 60,000 different words of usual length, those on most parts first
        SELECT string_agg(lexeme, ' ') FROM (
            SELECT lexeme FROM public.document_texts AS texts, unnest(texts.search)
            WHERE texts.document_id = p_document_id AND length(lexeme) <= 100
            GROUP BY lexeme ORDER BY count(*) DESC, lexeme LIMIT 60000
        ) AS different
    ), '') WHERE document_id = p_document_id;
END $$;

-- Several texts at once: {document_id: [part, …]}
CREATE FUNCTION save_texts(p_texts jsonb) RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE entry record;
BEGIN
    FOR entry IN SELECT * FROM jsonb_each(p_texts) LOOP
        PERFORM public.save_text(entry.key, ARRAY(SELECT jsonb_array_elements_text(entry.value)));
    END LOOP;
END $$;

-- Find documents that have every part of a query; a part is a word, a phrase, or either with a last * for a beginning.
-- Best first among the first 1,000 that match (ranking reads each one); rank is lower for better. Where nothing
-- matches, names that look alike: exact is false then.
CREATE FUNCTION search_documents(p_parts text[], p_limit integer DEFAULT 20, p_offset integer DEFAULT 0)
    RETURNS TABLE (document_id text, snippet text, rank real, exact boolean)
    LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    piece text;
    words text;
    phrase tsquery;
    ending text;
    every_word tsquery := NULL;
    phrases tsquery[] := '{}';
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
            WHERE documents.search @@ $1 $query$ || CASE WHEN phrases = '{}' THEN '' ELSE $query$
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
                WHERE documents.search @@ phraseto_tsquery('public.aseagi', public.search_words(alike.name)) LIMIT 100
            ) AS found ORDER BY found.document_id, alike.likeness DESC
        )
        SELECT theirs.document_id,
            concat_ws(' · ', theirs.case_number, theirs.title,
                (SELECT string_agg(party, '; ') FROM jsonb_array_elements_text(theirs.parties) AS party)),
            (1 - theirs.likeness)::real, false
        FROM theirs ORDER BY theirs.likeness DESC, theirs.created_at DESC, theirs.document_id LIMIT $2
    $query$ USING words, p_limit;
END $$;
