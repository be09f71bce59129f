-- Housekeeping: what happened to a job long ago is kept as one row of its events, and answers of long ago go.

ALTER TABLE processing_jobs
    -- its events are one row
    ADD COLUMN rolled_up boolean NOT NULL DEFAULT false;
CREATE INDEX jobs_to_roll_up ON processing_jobs (finished_at) WHERE rolled_up IS FALSE AND finished_at IS NOT NULL;
CREATE INDEX telegram_answers_ended ON telegram_answers (answered_at) WHERE answered_at IS NOT NULL;

DROP TRIGGER touch ON processing_jobs;
CREATE TRIGGER touch BEFORE UPDATE ON processing_jobs FOR EACH ROW
    WHEN (OLD.cost_usd = NEW.cost_usd AND OLD.rolled_up = NEW.rolled_up)  -- neither is a sign of life
    EXECUTE FUNCTION touch_updated_at();

-- Put each row in the place of its job's events of these kinds, once: [{job_id, row or null}]. Of two callers the
-- second changes nothing. Returns how many jobs it was.
CREATE FUNCTION roll_up_events(p_summaries jsonb)
    RETURNS integer LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    one jsonb;
    rolled integer := 0;
BEGIN
    FOR one IN SELECT value FROM jsonb_array_elements(p_summaries) ORDER BY value ->> 'job_id' LOOP
        UPDATE public.processing_jobs SET rolled_up = true
            WHERE job_id = one ->> 'job_id' AND finished_at IS NOT NULL AND NOT rolled_up;
        CONTINUE WHEN NOT FOUND;
        rolled := rolled + 1;
        CONTINUE WHEN jsonb_typeof(one -> 'row') <> 'object';
        DELETE FROM public.processing_events WHERE job_id = one ->> 'job_id'
            AND kind IN ('started', 'finished', 'lost', 'resumed', 'failed', 'completed', 'cancelled', 'known');
        INSERT INTO public.processing_events (once, job_id, at, kind, seconds, worker, detail)
            SELECT 'summary-' || (one ->> 'job_id'), one ->> 'job_id', at, kind, seconds, worker, detail
            FROM jsonb_populate_record(NULL::public.processing_events, one -> 'row');
    END LOOP;
    RETURN rolled;
END $$;

GRANT EXECUTE ON FUNCTION roll_up_events TO service_role;
