-- Events, posts and changes of the link are told at their commit, as readings are (telemetry_stored): who shows them
-- live has not to ask again and again.
CREATE FUNCTION tell_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('peebot_changed', TG_TABLE_NAME);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION tell_change() IS 'Notifies peebot_changed with the name of the table, once a transaction.';

CREATE TRIGGER tell_change AFTER INSERT OR UPDATE OR DELETE ON detected_event
    FOR EACH STATEMENT EXECUTE FUNCTION tell_change();
CREATE TRIGGER tell_change AFTER INSERT OR UPDATE OR DELETE ON post
    FOR EACH STATEMENT EXECUTE FUNCTION tell_change();
CREATE TRIGGER tell_change AFTER INSERT OR UPDATE OR DELETE ON posting_mute
    FOR EACH STATEMENT EXECUTE FUNCTION tell_change();
-- Not each second's UPDATE of last_seen_at: a change of state begins a row.
CREATE TRIGGER tell_change AFTER INSERT ON link_interval
    FOR EACH STATEMENT EXECUTE FUNCTION tell_change();
