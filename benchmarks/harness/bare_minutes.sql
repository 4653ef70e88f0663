-- telemetry_minute as one would compute it once, by hand: the same columns for the same minutes, into a table of
-- the same shape, with nothing around it: no look at what is stored, no revisions, no locks, no Dagster.
INSERT INTO bare_minute
WITH live AS MATERIALIZED (
    SELECT started_at, ended_at FROM live_intervals(%(start)s, %(end)s)
),
-- [start, end) cut at each minute and wherever the link came or went.
span AS MATERIALIZED (
    SELECT date_trunc('minute', cut.at) AS minute, cut.at AS started_at,
        lead(cut.at, 1, %(end)s) OVER in_order AS ended_at,
        sum(sum(cut.step)) OVER in_order = 1 AS is_live
    FROM (
        SELECT generate_series(%(start)s::timestamptz, %(end)s::timestamptz - interval '1 minute', interval '1 minute'), 0
        UNION ALL SELECT started_at, 1 FROM live
        UNION ALL SELECT ended_at, -1 FROM live WHERE ended_at < %(end)s
    ) AS cut (at, step)
    GROUP BY cut.at
    WINDOW in_order AS (ORDER BY cut.at)
),
-- From each reading to the next; the last one before the range holds from its begin on.
held AS MATERIALIZED (
    SELECT channel_id, value, is_reading, ts AS started_at,
        date_bin('1 minute', ts, '2000-01-01 00:00+00') AS minute,
        lead(ts, 1, %(end)s) OVER (PARTITION BY channel_id ORDER BY ts, is_reading, received_at, event_id) AS ended_at
    FROM (
        SELECT channel_id, ts, received_at, event_id, true AS is_reading,
            CASE WHEN status_class IN (1, 2) THEN NULL ELSE value END AS value
        FROM telemetry_reading WHERE ts >= %(start)s AND ts < %(end)s
        UNION ALL
        SELECT channel.channel_id, %(start)s, last.received_at, last.event_id, false,
            CASE WHEN last.status_class IN (1, 2) THEN NULL ELSE last.value END
        FROM telemetry_channel AS channel, last_reading_before(channel.channel_id, %(start)s) AS last
    ) AS reading
),
in_minute AS (
    SELECT channel_id, minute, value, is_reading, started_at, least(ended_at, minute + interval '1 minute') AS ended_at
    FROM held
    WHERE is_reading OR ended_at > started_at
    UNION ALL
    SELECT channel_id, later.minute, value, false, later.minute, least(ended_at, later.minute + interval '1 minute')
    FROM held, generate_series(held.minute + interval '1 minute', ended_at - interval '1 microsecond',
                               interval '1 minute') AS later (minute)
    WHERE value IS NOT NULL AND ended_at > held.minute + interval '1 minute'
),
piece AS (
    SELECT in_minute.channel_id, in_minute.minute, CASE WHEN span.is_live THEN value END AS value,
        is_reading AND in_minute.started_at >= span.started_at AS is_reading,
        greatest(in_minute.started_at, span.started_at) AS started_at,
        date_part('epoch', least(in_minute.ended_at, span.ended_at)
                           - greatest(in_minute.started_at, span.started_at)) AS seconds
    FROM in_minute JOIN span ON span.minute = in_minute.minute
        AND span.ended_at > in_minute.started_at
        AND span.started_at < greatest(in_minute.ended_at, in_minute.started_at + interval '1 microsecond')
    WHERE span.is_live OR is_reading
)
SELECT channel_id, minute,
    (array_agg(value ORDER BY started_at) FILTER (WHERE value IS NOT NULL AND seconds > 0))[1],
    (array_agg(value ORDER BY started_at DESC) FILTER (WHERE value IS NOT NULL AND seconds > 0))[1],
    min(value), max(value),
    sum(value * seconds ORDER BY started_at)
        / nullif(coalesce(sum(seconds ORDER BY started_at) FILTER (WHERE value IS NOT NULL), 0), 0),
    count(*) FILTER (WHERE is_reading)::integer,
    coalesce(sum(seconds ORDER BY started_at) FILTER (WHERE value IS NOT NULL), 0)::real
FROM piece
GROUP BY channel_id, minute
HAVING count(*) FILTER (WHERE is_reading) > 0
    OR coalesce(sum(seconds) FILTER (WHERE value IS NOT NULL), 0) > 0
