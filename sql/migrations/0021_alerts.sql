-- What alerts have told whom, so that a restart neither repeats nor forgets one.

CREATE TABLE alert_condition (
    condition text PRIMARY KEY,
    title text NOT NULL,
    advice text NOT NULL,
    ending text NOT NULL,
    began_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    over_at timestamptz
);
COMMENT ON TABLE alert_condition IS
    'One row per condition that somebody is to be told of, from when it is first seen until its end is told everywhere.';
COMMENT ON COLUMN alert_condition.condition IS 'feed_down, no_visit, spool:host:port or run_failed: with the run, backfill or job and hour that it is about.';
COMMENT ON COLUMN alert_condition.title IS 'What is wrong, in some words.';
COMMENT ON COLUMN alert_condition.advice IS 'What to do.';
COMMENT ON COLUMN alert_condition.ending IS 'What it means that it is over.';
COMMENT ON COLUMN alert_condition.began_at IS 'Since when (UTC).';
COMMENT ON COLUMN alert_condition.due_at IS 'From when on it has lasted long enough to be told (UTC).';
COMMENT ON COLUMN alert_condition.over_at IS 'When it was first seen to be over (UTC); NULL while it lasts.';

CREATE TABLE alert_told (
    condition text REFERENCES alert_condition ON DELETE CASCADE,
    destination text,
    told_at timestamptz NOT NULL,
    PRIMARY KEY (condition, destination)
);
COMMENT ON TABLE alert_told IS 'One row per condition and destination that knows of it; gone once its end is told there.';
COMMENT ON COLUMN alert_told.condition IS 'What was told.';
COMMENT ON COLUMN alert_told.destination IS 'Whom, as in alert_destination.';
COMMENT ON COLUMN alert_told.told_at IS 'When it was told last (UTC).';

CREATE TABLE alert_destination (
    destination text PRIMARY KEY,
    claimed_until timestamptz,
    failures integer NOT NULL DEFAULT 0,
    retry_at timestamptz,
    last_failure text
);
COMMENT ON TABLE alert_destination IS 'One row per URL of PEEBOT_ALERT_URLS that something was sent to.';
COMMENT ON COLUMN alert_destination.destination IS
    'Place in PEEBOT_ALERT_URLS, kind and two bytes of a hash, as in 1 mailtos #3f9a; nothing that could be secret.';
COMMENT ON COLUMN alert_destination.claimed_until IS
    'Until when who is sending to it may take (UTC); NULL: nobody is. A sender that dies leaves a time that passes.';
COMMENT ON COLUMN alert_destination.failures IS 'Failed messages since the last that was taken.';
COMMENT ON COLUMN alert_destination.retry_at IS 'When it is tried again (UTC); NULL: at once.';
COMMENT ON COLUMN alert_destination.last_failure IS 'Why the last message failed, without any secret; NULL: it did not.';

CREATE OR REPLACE FUNCTION grant_roles() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wanted text;
    may_create CONSTANT boolean := (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user);
BEGIN
    REVOKE EXECUTE ON FUNCTION create_telemetry_chunks, create_minute_chunks, maintain_store, order_chunk,
        maintain_store_now, drop_old_rejections_now, order_chunk_now FROM PUBLIC;
    FOREACH wanted IN ARRAY ARRAY['peebot_ingest', 'peebot_reader', 'peebot_dagster'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = wanted);
        IF NOT may_create THEN
            RAISE NOTICE 'there is no role %: let a superuser create it, then call grant_roles()', wanted;
            RETURN;
        END IF;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            -- Roles belong to the whole server; another database was migrated at the same moment.
            RAISE NOTICE 'the role % has just been made', wanted;
        END;
    END LOOP;

    EXECUTE format('GRANT USAGE ON SCHEMA %I TO peebot_ingest, peebot_reader, peebot_dagster', current_schema());
    IF NOT has_database_privilege('peebot_ingest', current_database(), 'TEMPORARY') THEN
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO peebot_ingest', current_database());
    END IF;
    GRANT SELECT, INSERT ON telemetry_channel TO peebot_ingest;
    -- RETURNING ts needs SELECT on ts only, but TimescaleDB can't grant a column of what it compresses.
    -- By EXECUTE, as TimescaleDB spoils a GRANT that plpgsql has kept for the next call.
    EXECUTE 'GRANT SELECT, INSERT ON telemetry_reading TO peebot_ingest';
    GRANT SELECT, INSERT, UPDATE ON telemetry_revision, link_interval TO peebot_ingest;
    -- What was rejected is stored once, so it has to be looked at.
    GRANT SELECT, INSERT ON rejected_reading TO peebot_ingest;
    GRANT EXECUTE ON FUNCTION create_telemetry_chunks TO peebot_ingest;
    -- Each process looks at its start whether it knows the schema.
    GRANT SELECT ON alembic_version TO peebot_ingest;

    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO peebot_reader, peebot_dagster', current_schema());
    EXECUTE 'GRANT INSERT, UPDATE, DELETE ON telemetry_minute TO peebot_dagster';
    GRANT INSERT, UPDATE, DELETE ON processor_revision, processor_state, detector_look, detected_event, post,
        alert_condition, alert_told, alert_destination TO peebot_dagster;
    REVOKE EXECUTE ON FUNCTION maintain_store, order_chunk FROM peebot_dagster;
    GRANT EXECUTE ON FUNCTION create_minute_chunks, maintain_store_now, drop_old_rejections_now, order_chunk_now
        TO peebot_dagster;
END $$;
COMMENT ON FUNCTION grant_roles() IS
    'Makes the roles, if the caller may, and grants them what they need: peebot_ingest stores readings and link states, '
    'peebot_reader reads, peebot_dagster reads and writes what is computed. Without them everything works as the owner.';

SELECT grant_roles();
