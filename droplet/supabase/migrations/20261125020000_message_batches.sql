-- Requests to Claude that are submitted together. The row stands before the call is made, and one at a time: whoever
-- finds it after a restart looks at the service for a batch that may have been made, before it makes another.
CREATE TABLE message_batches (
    batch_id text COLLATE "C" PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('intent', 'sent', 'ended', 'dropped')),
    -- as the service calls it
    service_id text COLLATE "C" UNIQUE,
    requests integer NOT NULL CHECK (requests > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX one_intent ON message_batches (state) WHERE state = 'intent';
CREATE TRIGGER touch BEFORE UPDATE ON message_batches FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE message_batches ENABLE ROW LEVEL SECURITY;
CREATE POLICY service ON message_batches TO service_role USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON message_batches TO service_role;

-- False while another batch is about to be submitted. The same id again, since an answer was lost: true.
CREATE FUNCTION intend_batch(p_batch_id text, p_requests integer) RETURNS boolean
    LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    INSERT INTO public.message_batches (batch_id, state, requests) VALUES (p_batch_id, 'intent', p_requests)
        ON CONFLICT DO NOTHING;
    RETURN FOUND OR EXISTS (SELECT FROM public.message_batches WHERE batch_id = p_batch_id AND state = 'intent');
END $$;

-- intent to sent or dropped, sent to ended.
CREATE FUNCTION move_batch(p_batch_id text, p_state text, p_service_id text DEFAULT NULL) RETURNS boolean
    LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    UPDATE public.message_batches SET state = p_state, service_id = coalesce(p_service_id, service_id)
        WHERE batch_id = p_batch_id
            AND state = CASE p_state WHEN 'sent' THEN 'intent' WHEN 'dropped' THEN 'intent' WHEN 'ended' THEN 'sent' END;
    RETURN FOUND;
END $$;

-- As before, but a budget is for one kind of cost: Claude does not stop since a GPU was rented.
CREATE OR REPLACE FUNCTION reserve_cost(p_once text, p_job_id text, p_kind text, p_usd numeric, p_daily_budget_usd numeric)
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
    SELECT coalesce((SELECT sum(usd) FROM public.costs WHERE kind = p_kind AND at >= today), 0)
         + coalesce((SELECT sum(usd) FROM public.cost_reservations WHERE kind = p_kind AND at >= today), 0)
        INTO committed;
    IF committed + p_usd > p_daily_budget_usd THEN
        RETURN false;
    END IF;
    INSERT INTO public.cost_reservations AS reserved (once, at, kind, usd, job_id)
        VALUES (p_once, clock_timestamp(), p_kind, p_usd, p_job_id)
        ON CONFLICT (once) DO UPDATE SET at = excluded.at, usd = excluded.usd;
    RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION intend_batch, move_batch TO service_role;
