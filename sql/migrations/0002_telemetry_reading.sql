-- The raw readings, in one-day chunks: a hypertable where TimescaleDB is installed, range partitions elsewhere.
-- create_telemetry_chunks() and drop_old_telemetry() hide the difference.

-- An installed TimescaleDB that the server has not preloaded would end the connection; its setting tells them apart.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
        AND EXISTS (SELECT FROM pg_settings WHERE name = 'timescaledb.max_background_workers')
    THEN
        CREATE EXTENSION IF NOT EXISTS timescaledb;
    END IF;
END $$;

DO $$
DECLARE
    columns CONSTANT text := '
        channel_id smallint NOT NULL,
        ts timestamptz NOT NULL,
        received_at timestamptz NOT NULL,
        value double precision,
        raw_value text NOT NULL,
        status_class smallint,
        is_snapshot boolean NOT NULL,
        event_id bigint NOT NULL';
BEGIN
    IF store_edition() = 'postgresql' THEN
        EXECUTE format('CREATE TABLE telemetry_reading (%s) PARTITION BY RANGE (ts)', columns);
    ELSE
        EXECUTE format('CREATE TABLE telemetry_reading (%s)', columns);
        PERFORM create_hypertable('telemetry_reading', 'ts', chunk_time_interval => interval '1 day',
                                  create_default_indexes => false);
    END IF;
END $$;

CREATE UNIQUE INDEX telemetry_reading_identity ON telemetry_reading (channel_id, ts DESC, event_id);

COMMENT ON TABLE telemetry_reading IS
    'One row per update as received; the same update delivered twice is one row, two values with one stamp are two.';
COMMENT ON COLUMN telemetry_reading.channel_id IS 'The channel (telemetry_channel).';
COMMENT ON COLUMN telemetry_reading.ts IS 'Event time: when the station measured it (UTC).';
COMMENT ON COLUMN telemetry_reading.received_at IS 'When the daemon received it (UTC).';
COMMENT ON COLUMN telemetry_reading.value IS 'The value as a finite number, in the unit of the channel; NULL for text.';
COMMENT ON COLUMN telemetry_reading.raw_value IS 'The value as it came.';
COMMENT ON COLUMN telemetry_reading.status_class IS 'Status.Class of the feed; 24 is good.';
COMMENT ON COLUMN telemetry_reading.is_snapshot IS 'Whether it came as the first state after a (re)subscription.';
COMMENT ON COLUMN telemetry_reading.event_id IS '64-bit hash of item, TimeStamp, Value and Status.Class as received.';
