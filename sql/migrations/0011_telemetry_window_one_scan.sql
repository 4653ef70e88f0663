-- A window of several channels is one scan of the chunks: the readings of all channels lie mixed in order of time, and a
-- scan per channel fetched nearly each page of a busy day once per channel.

CREATE OR REPLACE FUNCTION telemetry_window(channel_ids smallint[], range_start timestamptz, range_end timestamptz)
RETURNS TABLE (
    channel_id smallint, item_id text, ts timestamptz, value double precision, status_class smallint, is_snapshot boolean
)
LANGUAGE sql STABLE AS $$
    SELECT channel.channel_id, channel.item_id, reading.ts, reading.value, reading.status_class, reading.is_snapshot
    FROM (
        -- Nothing is known before the first reading of a window, so nothing depends on how it came.
        SELECT before.channel_id, r.ts, r.value, r.status_class, false AS is_snapshot, r.received_at, r.event_id
        FROM telemetry_channel before, last_reading_before(before.channel_id, range_start) r
        WHERE before.channel_id = ANY (channel_ids)
        UNION ALL
        SELECT r.channel_id, r.ts, r.value, r.status_class, r.is_snapshot, r.received_at, r.event_id
        FROM telemetry_reading r
        WHERE r.channel_id = ANY (channel_ids) AND r.ts >= range_start AND r.ts < range_end
    ) reading JOIN telemetry_channel channel USING (channel_id)
    ORDER BY reading.ts, reading.received_at, reading.event_id
$$;
