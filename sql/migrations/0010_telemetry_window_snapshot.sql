-- A window tells which readings came as the first state after a (re)subscription: what changed just before them went
-- unheard, and a detector has to know.

DROP FUNCTION telemetry_window(smallint[], timestamptz, timestamptz);

CREATE FUNCTION telemetry_window(channel_ids smallint[], range_start timestamptz, range_end timestamptz)
RETURNS TABLE (
    channel_id smallint, item_id text, ts timestamptz, value double precision, status_class smallint, is_snapshot boolean
)
LANGUAGE sql STABLE AS $$
    SELECT channel.channel_id, channel.item_id, reading.ts, reading.value, reading.status_class, reading.is_snapshot
    FROM telemetry_channel channel CROSS JOIN LATERAL (
        -- Nothing is known before the first reading of a window, so nothing depends on how it came.
        SELECT r.ts, r.value, r.status_class, false AS is_snapshot, r.received_at, r.event_id
        FROM last_reading_before(channel.channel_id, range_start) r
        UNION ALL
        SELECT r.ts, r.value, r.status_class, r.is_snapshot, r.received_at, r.event_id
        FROM telemetry_reading r
        WHERE r.channel_id = channel.channel_id AND r.ts >= range_start AND r.ts < range_end
    ) reading
    WHERE channel.channel_id = ANY (channel_ids)
    ORDER BY reading.ts, reading.received_at, reading.event_id
$$;
COMMENT ON FUNCTION telemetry_window(smallint[], timestamptz, timestamptz) IS
    'Readings of the channels with range_start <= ts < range_end, and of each channel the last reading before range_start, '
    'in order of event time; readings with the same event time come in the order in which they were received. '
    'is_snapshot: it came as the first state after a (re)subscription, so that others may have been missed before it.';
