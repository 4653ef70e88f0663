-- The link as everyone hears it together: one daemon that hears the station is enough.

CREATE FUNCTION link(range_start timestamptz, range_end timestamptz)
RETURNS TABLE (started_at timestamptz, ended_at timestamptz, state text)
LANGUAGE sql STABLE AS $$
    WITH told AS (
        SELECT link.state, tstzrange(link.started_at, coalesce(link.ended_at, link.last_seen_at))
            * tstzrange(range_start, range_end) AS during
        FROM link_interval link
        WHERE link.started_at < range_end AND (link.ended_at IS NULL OR link.ended_at > range_start)
    ), heard AS (
        SELECT coalesce(range_agg(during) FILTER (WHERE told.state = 'LIVE'), '{}') AS live,
            coalesce(range_agg(during) FILTER (WHERE told.state = 'LOS'), '{}') AS los,
            coalesce(range_agg(during) FILTER (WHERE told.state = 'DOWN'), '{}') AS down
        FROM told
    )
    SELECT lower(piece), upper(piece), merged.state
    FROM heard, LATERAL (VALUES ('LIVE', live), ('LOS', los - live), ('DOWN', down - los - live)) merged (state, during),
        LATERAL unnest(merged.during) piece
    ORDER BY lower(piece)
$$;
COMMENT ON FUNCTION link(timestamptz, timestamptz) IS
    'The link in the range, as disjoint intervals in order: LIVE while any source was LIVE (as live_intervals() has it), '
    'else LOS while any was LOS, else DOWN while any was DOWN. No row covers time of which no source has told; '
    'a current interval counts up to its last_seen_at.';
