-- Who may do what. Row-level security on every table; what no policy allows is refused.
--
--   service_role    the control plane: everything, except that the ledger is appended to and never changed
--   aseagi_worker   a rented instance: jobs that were given to the `instance` of its token, their documents and events
--   aseagi_viewer   reads documents, texts, jobs and events
--   anon, authenticated   nothing

-- Supabase grants everything in `public` to its roles by default: taken back, then given one by one.
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM PUBLIC, anon, authenticated;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON SEQUENCES FROM PUBLIC, anon, authenticated;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE EXECUTE ON FUNCTIONS FROM anon, authenticated;
GRANT USAGE ON SCHEMA public, extensions TO service_role, aseagi_worker, aseagi_viewer;

CREATE FUNCTION token_instance() RETURNS text LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'instance', '')
$$;
COMMENT ON FUNCTION token_instance() IS 'The instance that the request''s token was made for; null without one.';

-- Runs as its owner: what it answers does not depend on which jobs the asking role may see, so policies cannot loop.
CREATE FUNCTION is_given_document(p_document_id text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT EXISTS (SELECT FROM public.processing_jobs
        WHERE document_id = p_document_id AND instance_id = public.token_instance())
$$;
CREATE FUNCTION is_given_job(p_job_id text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT EXISTS (SELECT FROM public.processing_jobs
        WHERE job_id = p_job_id AND instance_id = public.token_instance())
$$;

ALTER TABLE documents ENABLE ROW LEVEL SECURITY;
ALTER TABLE document_texts ENABLE ROW LEVEL SECURITY;
ALTER TABLE known_names ENABLE ROW LEVEL SECURITY;
ALTER TABLE processing_jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE processing_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE costs ENABLE ROW LEVEL SECURITY;
ALTER TABLE cost_reservations ENABLE ROW LEVEL SECURITY;
ALTER TABLE instances ENABLE ROW LEVEL SECURITY;
ALTER TABLE bulk_runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE users ENABLE ROW LEVEL SECURITY;

-- the control plane
CREATE POLICY service ON documents TO service_role USING (true) WITH CHECK (true);
CREATE POLICY service ON document_texts TO service_role USING (true) WITH CHECK (true);
CREATE POLICY service ON known_names TO service_role USING (true) WITH CHECK (true);
CREATE POLICY service ON processing_jobs TO service_role USING (true) WITH CHECK (true);
CREATE POLICY service ON processing_events TO service_role USING (true) WITH CHECK (true);
CREATE POLICY service ON costs TO service_role USING (true) WITH CHECK (true);
CREATE POLICY service ON cost_reservations TO service_role USING (true) WITH CHECK (true);
CREATE POLICY service ON instances TO service_role USING (true) WITH CHECK (true);
CREATE POLICY service ON bulk_runs TO service_role USING (true) WITH CHECK (true);
CREATE POLICY service ON users TO service_role USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON documents, document_texts, known_names, processing_jobs, processing_events,
    cost_reservations, instances, bulk_runs, users TO service_role;
GRANT SELECT, INSERT ON costs TO service_role;

-- people who look
CREATE POLICY viewer ON documents FOR SELECT TO aseagi_viewer USING (true);
CREATE POLICY viewer ON document_texts FOR SELECT TO aseagi_viewer USING (true);
CREATE POLICY viewer ON known_names FOR SELECT TO aseagi_viewer USING (true);
CREATE POLICY viewer ON processing_jobs FOR SELECT TO aseagi_viewer USING (true);
CREATE POLICY viewer ON processing_events FOR SELECT TO aseagi_viewer USING (true);
GRANT SELECT ON documents, document_texts, known_names, processing_jobs, processing_events TO aseagi_viewer;

-- rented instances: the columns that a stage moves, in the rows that are theirs
CREATE POLICY worker ON processing_jobs FOR SELECT TO aseagi_worker USING (instance_id = (SELECT token_instance()));
CREATE POLICY worker_moves ON processing_jobs FOR UPDATE TO aseagi_worker
    USING (instance_id = (SELECT token_instance())) WITH CHECK (instance_id = (SELECT token_instance()));
CREATE POLICY worker ON documents FOR SELECT TO aseagi_worker USING (is_given_document(document_id));
CREATE POLICY worker_writes ON documents FOR UPDATE TO aseagi_worker
    USING (is_given_document(document_id)) WITH CHECK (is_given_document(document_id));
CREATE POLICY worker ON document_texts TO aseagi_worker
    USING (is_given_document(document_id)) WITH CHECK (is_given_document(document_id));
CREATE POLICY worker ON processing_events FOR SELECT TO aseagi_worker USING (is_given_job(job_id));
CREATE POLICY worker_adds ON processing_events FOR INSERT TO aseagi_worker WITH CHECK (is_given_job(job_id));
GRANT SELECT ON documents, document_texts, processing_jobs, processing_events TO aseagi_worker;
GRANT UPDATE (status, stage, deliveries, finished_at, error_class, error_message, lease_holder, lease_until)
    ON processing_jobs TO aseagi_worker;
GRANT UPDATE (processed, pages, document_type, document_date, case_number, title, parties, relevancy_score, versions, words)
    ON documents TO aseagi_worker;
GRANT INSERT, DELETE ON document_texts TO aseagi_worker;
GRANT INSERT ON processing_events TO aseagi_worker;

GRANT EXECUTE ON FUNCTION register_job, register_document, claim_document, charge_cost, reserve_cost, settle_cost,
    start_lease, take_over_leases, claim_bulk_run, sum_costs, save_texts TO service_role;
GRANT EXECUTE ON FUNCTION begin_stage, end_stage, add_event, end_job, complete_job, save_text, renew_lease
    TO service_role, aseagi_worker;
GRANT EXECUTE ON FUNCTION search_documents, count_jobs TO service_role, aseagi_viewer;
GRANT EXECUTE ON FUNCTION search_words, search_vector, without_accents, token_instance, is_given_document, is_given_job
    TO service_role, aseagi_worker, aseagi_viewer;
