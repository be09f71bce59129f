-- The fleet: what an instance's row needs beyond its beginning, what is known of machines, decisions, what operators set.

ALTER TABLE instances DROP CONSTRAINT instances_state_check;
UPDATE instances SET state = lower(state);
ALTER TABLE instances
    ADD CONSTRAINT instances_state_check CHECK (state IN ('intent', 'requested', 'loading', 'running', 'joined', 'draining',
        'destroying', 'gone', 'ambiguous', 'failed', 'lost', 'preempted', 'orphan')),
    ADD COLUMN provider_id bigint,
    ADD COLUMN machine_id bigint NOT NULL DEFAULT 0,
    ADD COLUMN state_since timestamptz NOT NULL DEFAULT now(),
    -- up to here its cost is in the ledger
    ADD COLUMN billed_until timestamptz;
DROP INDEX instances_alive;
CREATE INDEX instances_alive ON instances (created_at, instance_id) WHERE state <> 'gone';
CREATE INDEX instances_by_age ON instances (created_at, instance_id);

CREATE TABLE fleet_machines (
    machine_id bigint PRIMARY KEY,
    gpu text NOT NULL,
    failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    -- a failure of the same instance is not counted twice
    failed_instance text,
    barred_until timestamptz,
    why text,
    seconds_per_page double precision CHECK (seconds_per_page > 0),
    boot_s double precision CHECK (boot_s >= 0),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX fleet_machines_by_age ON fleet_machines (updated_at DESC);

-- A bounded log: see add_fleet_tick.
CREATE TABLE fleet_ticks (
    tick_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    detail jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE fleet_controls (
    name text COLLATE "C" PRIMARY KEY,
    value jsonb NOT NULL,
    set_by text,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION add_instance(p_instance_id text, p_gpu_name text, p_machine_id bigint, p_price_usd_per_hour numeric,
    p_detail jsonb DEFAULT '{}')
    RETURNS instances LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE found public.instances;
BEGIN
    INSERT INTO public.instances (instance_id, label, state, gpu_name, price_usd_per_hour, machine_id, created_at,
            state_since, detail)
        VALUES (p_instance_id, p_instance_id, 'intent', p_gpu_name, p_price_usd_per_hour, p_machine_id,
            clock_timestamp(), clock_timestamp(), p_detail)
        ON CONFLICT DO NOTHING;
    SELECT * INTO found FROM public.instances WHERE instance_id = p_instance_id;
    RETURN found;
END $$;

-- Null values take a key away, as in SQLite (json_patch).
CREATE FUNCTION merged_detail(p_detail jsonb, p_patch jsonb)
    RETURNS jsonb LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT coalesce(jsonb_object_agg(key, value), '{}')
        FROM jsonb_each(p_detail || p_patch) WHERE value <> 'null'::jsonb
$$;

-- Moves what is in one of the states that the caller saw. No row: it was in another by now.
CREATE FUNCTION move_instance(p_instance_id text, p_seen text[], p_to text, p_provider_id bigint DEFAULT NULL,
    p_detail jsonb DEFAULT '{}')
    RETURNS SETOF instances LANGUAGE sql SET search_path = '' AS $$
    UPDATE public.instances
        SET state_since = CASE WHEN state = p_to THEN state_since ELSE clock_timestamp() END, state = p_to,
            provider_id = coalesce(provider_id, p_provider_id), detail = public.merged_detail(detail, p_detail)
        WHERE instance_id = p_instance_id AND state = ANY (p_seen)
        RETURNING *
$$;

CREATE FUNCTION note_instance(p_instance_id text, p_detail jsonb)
    RETURNS void LANGUAGE sql SET search_path = '' AS $$
    UPDATE public.instances SET detail = public.merged_detail(detail, p_detail) WHERE instance_id = p_instance_id
$$;

-- The ledger's next part for an instance and the mark behind it, together: a second caller finds the mark moved.
CREATE FUNCTION bill_instance(p_instance_id text, p_since timestamptz, p_until timestamptz, p_usd numeric,
    p_detail jsonb DEFAULT '{}', p_note jsonb DEFAULT '{}')
    RETURNS boolean LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    UPDATE public.instances SET billed_until = p_until, detail = public.merged_detail(detail, p_note)
        WHERE instance_id = p_instance_id AND billed_until IS NOT DISTINCT FROM p_since;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO public.costs (once, at, kind, usd, detail)
        VALUES (p_instance_id || ':' || to_char(p_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
            clock_timestamp(), 'gpu', p_usd, jsonb_build_object('instance_id', p_instance_id) || p_detail);
    RETURN true;
END $$;

CREATE FUNCTION billed_instance(p_instance_id text)
    RETURNS numeric LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce(sum(usd), 0) FROM public.costs WHERE once >= p_instance_id || ':' AND once < p_instance_id || ';'
$$;

-- By its whole id, or its beginning or end; two rows mean that it is ambiguous.
CREATE FUNCTION find_instance(p_part text)
    RETURNS SETOF instances LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT * FROM public.instances
        WHERE instance_id = p_part OR left(instance_id, length(p_part)) = p_part OR right(instance_id, length(p_part)) = p_part
        ORDER BY instance_id = p_part DESC, created_at DESC LIMIT 2
$$;

-- Those that live, and those that were created since.
CREATE FUNCTION list_instances(p_since timestamptz, p_limit integer, p_offset integer DEFAULT 0)
    RETURNS SETOF instances LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT * FROM public.instances WHERE state <> 'gone' OR created_at >= p_since
        ORDER BY created_at, instance_id LIMIT p_limit OFFSET p_offset
$$;

CREATE FUNCTION fail_machine(p_machine_id bigint, p_gpu text, p_instance_id text, p_why text,
    p_first_s double precision, p_most_s double precision)
    RETURNS fleet_machines LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE found public.fleet_machines;
BEGIN
    INSERT INTO public.fleet_machines (machine_id, gpu) VALUES (p_machine_id, p_gpu) ON CONFLICT DO NOTHING;
    UPDATE public.fleet_machines SET failures = failures + 1, failed_instance = p_instance_id, why = p_why,
            barred_until = clock_timestamp() + make_interval(secs => least(p_first_s * 2 ^ failures, p_most_s)),
            updated_at = clock_timestamp()
        WHERE machine_id = p_machine_id AND failed_instance IS DISTINCT FROM p_instance_id;
    SELECT * INTO found FROM public.fleet_machines WHERE machine_id = p_machine_id;
    RETURN found;
END $$;

CREATE FUNCTION measure_machine(p_machine_id bigint, p_gpu text, p_seconds_per_page double precision DEFAULT NULL,
    p_boot_s double precision DEFAULT NULL)
    RETURNS void LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO public.fleet_machines AS known (machine_id, gpu, seconds_per_page, boot_s)
        VALUES (p_machine_id, p_gpu, p_seconds_per_page, p_boot_s)
        ON CONFLICT (machine_id) DO UPDATE SET gpu = excluded.gpu,
            seconds_per_page = coalesce(excluded.seconds_per_page, known.seconds_per_page),
            boot_s = coalesce(excluded.boot_s, known.boot_s), updated_at = clock_timestamp()
$$;

CREATE FUNCTION add_fleet_tick(p_at timestamptz, p_detail jsonb, p_keep bigint)
    RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE added bigint;
BEGIN
    INSERT INTO public.fleet_ticks (at, detail) VALUES (p_at, p_detail) RETURNING tick_id INTO added;
    DELETE FROM public.fleet_ticks WHERE tick_id <= added - p_keep;
END $$;

CREATE FUNCTION set_fleet_control(p_name text, p_value jsonb, p_by text)
    RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF p_value IS NULL OR p_value = 'null' THEN
        DELETE FROM public.fleet_controls WHERE name = p_name;
    ELSE
        INSERT INTO public.fleet_controls (name, value, set_by) VALUES (p_name, p_value, p_by)
            ON CONFLICT (name) DO UPDATE
            SET value = excluded.value, set_by = excluded.set_by, updated_at = clock_timestamp();
    END IF;
END $$;

-- Asked every 15 s, whatever the newest rows are: documents that nobody has read yet, or one bulk run of 20,000.
CREATE INDEX documents_read_by_age ON documents (created_at DESC) WHERE pages IS NOT NULL;
CREATE INDEX jobs_in_bulk_by_age ON processing_jobs (created_at DESC) WHERE priority = 'low';
CREATE INDEX jobs_not_in_bulk_by_age ON processing_jobs (created_at DESC) WHERE priority <> 'low';

-- What is open and how much work it is. Pages of a job in work are those that rasterizing left to recognition, one at
-- least; of the others the document's if they are known, else as usual.
CREATE FUNCTION fleet_demand() RETURNS jsonb LANGUAGE sql STABLE SET search_path = '' AS $$
    WITH usual AS (SELECT coalesce(avg(pages), 3) AS pages FROM
            (SELECT pages FROM public.documents WHERE pages IS NOT NULL ORDER BY created_at DESC LIMIT 200) AS latest),
        -- not what waits for something else than a machine: a message batch, for instance
        open AS (SELECT count(*) AS jobs, min(created_at) AS oldest,
                count(*) FILTER (WHERE lease_until IS NULL AND priority = 'high') AS outside_interactive,
                count(*) FILTER (WHERE lease_until IS NULL AND priority <> 'high') AS outside_bulk
            FROM public.processing_jobs WHERE status IN ('queued', 'processing') AND waits_for IS NULL),
        -- of those whose turn is next: however many wait, this is asked every 15 s
        next AS (SELECT coalesce(
                (SELECT greatest(1, (detail ->> 'unread')::integer) FROM public.processing_events AS event
                    WHERE event.job_id = job.job_id AND job.status = 'processing'
                        AND event.stage = 'rasterize' AND event.kind = 'finished' ORDER BY event_id DESC LIMIT 1),
                (SELECT pages FROM public.documents AS document WHERE document.document_id = job.document_id)) AS pages
            FROM (SELECT * FROM public.processing_jobs WHERE status IN ('queued', 'processing') AND waits_for IS NULL
                ORDER BY created_at LIMIT 500) AS job),
        requested AS (
            (SELECT created_at FROM public.processing_jobs WHERE priority <> 'low' ORDER BY created_at DESC LIMIT 40)
            UNION (SELECT created_at FROM public.processing_jobs WHERE priority = 'low' ORDER BY created_at DESC LIMIT 1))
    SELECT jsonb_build_object('open_jobs', open.jobs, 'oldest', open.oldest,
        'pages_per_document', coalesce((SELECT avg(coalesce(next.pages, usual.pages)) FROM next), usual.pages),
        'outside_interactive', open.outside_interactive, 'outside_bulk', open.outside_bulk,
        'requested', coalesce((SELECT jsonb_agg(created_at) FROM requested), '[]')) FROM open, usual
$$;

ALTER TABLE fleet_machines ENABLE ROW LEVEL SECURITY;
ALTER TABLE fleet_ticks ENABLE ROW LEVEL SECURITY;
ALTER TABLE fleet_controls ENABLE ROW LEVEL SECURITY;
CREATE POLICY service ON fleet_machines TO service_role USING (true) WITH CHECK (true);
CREATE POLICY service ON fleet_ticks TO service_role USING (true) WITH CHECK (true);
CREATE POLICY service ON fleet_controls TO service_role USING (true) WITH CHECK (true);
-- Supabase grants everything to its roles by default
REVOKE ALL ON fleet_machines, fleet_ticks, fleet_controls FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON fleet_machines, fleet_ticks, fleet_controls TO service_role;
REVOKE ALL ON FUNCTION add_instance, merged_detail, move_instance, note_instance, bill_instance, billed_instance,
    find_instance, list_instances, fail_machine, measure_machine, add_fleet_tick, set_fleet_control,
    fleet_demand FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION add_instance, merged_detail, move_instance, note_instance, bill_instance, billed_instance,
    find_instance, list_instances, fail_machine, measure_machine, add_fleet_tick, set_fleet_control,
    fleet_demand TO service_role;
