-- Originals that other programs moved within the bucket.

-- A document's original is at p_key now. False where it is not known to be at p_was, nor at p_key already: the call may be
-- made again.
CREATE FUNCTION move_original(p_document_id text, p_was text, p_key text)
    RETURNS boolean LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    UPDATE public.documents SET key = p_key WHERE document_id = p_document_id AND key IN (p_was, p_key);
    RETURN FOUND;
END $$;

REVOKE ALL ON FUNCTION move_original FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION move_original TO service_role;
