-- People who come in by Telegram: who they are, what they sent, what they were answered, what they corrected.

-- stranger: has written, and was not answered yet. refused: was told, once.
ALTER TABLE users DROP CONSTRAINT users_role_check;
ALTER TABLE users ADD CONSTRAINT users_role_check CHECK (role IN ('operator', 'user', 'stranger', 'refused'));
ALTER TABLE users ADD COLUMN language text NOT NULL DEFAULT 'en' CHECK (language IN ('en', 'es'));

-- What a person says a field is: appended to; of several for a field the last counts.
CREATE TABLE corrections (
    correction_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    once text COLLATE "C" NOT NULL UNIQUE,
    document_id text COLLATE "C" NOT NULL REFERENCES documents ON DELETE CASCADE,
    field text NOT NULL CHECK (field IN ('document_type', 'document_date', 'filed_date', 'case_number', 'court', 'title',
        'parties', 'summary', 'relevancy_score')),
    value text NOT NULL CHECK (field <> 'relevancy_score' OR value ~ '^[0-9]{1,3}$'),
    corrected_by text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX corrections_by_document ON corrections (document_id, correction_id);

-- What Telegram told, kept before Telegram hears that it arrived; the body is forgotten when it was dealt with.
CREATE TABLE telegram_updates (
    update_id bigint PRIMARY KEY,
    body jsonb NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    at timestamptz NOT NULL DEFAULT now(),
    done_at timestamptz
);
CREATE INDEX telegram_updates_open ON telegram_updates (update_id) WHERE done_at IS NULL;
CREATE INDEX telegram_updates_by_end ON telegram_updates (done_at) WHERE done_at IS NOT NULL;

-- The one message that tells about a job.
CREATE TABLE telegram_answers (
    job_id text COLLATE "C" PRIMARY KEY,
    telegram_id bigint NOT NULL,
    name text NOT NULL,
    reply_to bigint,
    message_id bigint,
    created_at timestamptz NOT NULL,
    answered_at timestamptz
);
CREATE INDEX telegram_answers_open ON telegram_answers (created_at) WHERE answered_at IS NULL;
CREATE INDEX telegram_answers_to ON telegram_answers (telegram_id, created_at DESC);

-- Whoever writes a document's row, and whatever it says: fields that a person corrected stay as corrected.
-- Runs as its owner: a rented machine that completes a document need not read who corrected what.
CREATE FUNCTION keep_corrections() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE said record;
BEGIN
    FOR said IN SELECT DISTINCT ON (field) field, value FROM public.corrections
            WHERE document_id = NEW.document_id ORDER BY field, correction_id DESC LOOP
        CASE said.field
            WHEN 'document_type' THEN NEW.document_type := said.value;
            WHEN 'document_date' THEN NEW.document_date := said.value;
            WHEN 'case_number' THEN NEW.case_number := said.value;
            WHEN 'title' THEN NEW.title := said.value;
            WHEN 'relevancy_score' THEN NEW.relevancy_score := said.value::integer;
            WHEN 'parties' THEN NEW.parties := to_jsonb(string_to_array(said.value, E'\n'));
            ELSE NULL;
        END CASE;
    END LOOP;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_corrections BEFORE UPDATE ON documents FOR EACH ROW EXECUTE FUNCTION keep_corrections();

-- Keep what a person says a field is; the same `once` is kept once.
CREATE FUNCTION correct_document(p_once text, p_document_id text, p_field text, p_value text, p_corrected_by text)
    RETURNS corrections LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE kept public.corrections;
BEGIN
    PERFORM FROM public.documents WHERE document_id = p_document_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no document %', p_document_id USING ERRCODE = 'PT404', DETAIL = 'documents';
    END IF;
    INSERT INTO public.corrections (once, document_id, field, value, corrected_by, at)
        VALUES (p_once, p_document_id, p_field, p_value, p_corrected_by, clock_timestamp()) ON CONFLICT (once) DO NOTHING;
    -- the trigger puts it in; naming the columns makes the names findable
    UPDATE public.documents SET case_number = case_number, parties = parties WHERE document_id = p_document_id;
    SELECT * INTO STRICT kept FROM public.corrections WHERE once = p_once;
    RETURN kept;
END $$;

-- Keep an update; whether it is still to be dealt with.
CREATE FUNCTION keep_update(p_update_id bigint, p_body jsonb) RETURNS boolean
    LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    INSERT INTO public.telegram_updates (update_id, body) VALUES (p_update_id, p_body) ON CONFLICT DO NOTHING;
    RETURN EXISTS (SELECT FROM public.telegram_updates WHERE update_id = p_update_id AND done_at IS NULL);
END $$;

-- Updates that are still to be dealt with, this time counted as a try.
CREATE FUNCTION open_updates() RETURNS SETOF telegram_updates LANGUAGE sql SET search_path = '' AS $$
    UPDATE public.telegram_updates SET tries = tries + 1 WHERE update_id IN (
        SELECT update_id FROM public.telegram_updates WHERE done_at IS NULL ORDER BY update_id LIMIT 1000
    ) RETURNING *
$$;

CREATE FUNCTION end_updates(p_update_ids bigint[]) RETURNS void LANGUAGE sql SET search_path = '' AS $$
    UPDATE public.telegram_updates SET body = '{}', done_at = coalesce(done_at, clock_timestamp())
        WHERE update_id = ANY (p_update_ids)
$$;

ALTER TABLE corrections ENABLE ROW LEVEL SECURITY;
ALTER TABLE telegram_updates ENABLE ROW LEVEL SECURITY;
ALTER TABLE telegram_answers ENABLE ROW LEVEL SECURITY;
CREATE POLICY service ON corrections TO service_role USING (true) WITH CHECK (true);
CREATE POLICY service ON telegram_updates TO service_role USING (true) WITH CHECK (true);
CREATE POLICY service ON telegram_answers TO service_role USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON corrections TO service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON telegram_updates, telegram_answers TO service_role;
CREATE POLICY viewer ON corrections FOR SELECT TO aseagi_viewer USING (true);
GRANT SELECT ON corrections TO aseagi_viewer;
GRANT EXECUTE ON FUNCTION correct_document, keep_update, open_updates, end_updates TO service_role;
