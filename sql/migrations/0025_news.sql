-- Live detection remembers since when nothing has changed: what a change means is often decided soon after it, by time alone.
ALTER TABLE detector_look ADD COLUMN news_at timestamptz NOT NULL DEFAULT clock_timestamp();
UPDATE detector_look SET news_at = looked_at;
COMMENT ON COLUMN detector_look.news_at IS 'When a look last found more in the hour than the one before it; the first look counts (UTC).';
