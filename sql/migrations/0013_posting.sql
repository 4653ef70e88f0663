-- Posts on several platforms, and a switch that silences all of them.

ALTER TABLE post ADD COLUMN link text, ADD COLUMN resume_at timestamptz;
COMMENT ON COLUMN post.platform IS 'x, bluesky, mastodon, or dry_run.';
COMMENT ON COLUMN post.external_id IS 'Id on the platform; NULL when nothing was sent, or nobody knows.';
COMMENT ON COLUMN post.link IS 'Where it can be read; NULL when it was not sent, or nobody knows.';
COMMENT ON COLUMN post.resume_at IS 'Until when the platform takes no more posts, as it said with its refusal (UTC); NULL when it said nothing.';
COMMENT ON COLUMN post.reason IS
    'Why it was not sent: retracted, replay, demo, backfill, stale, low_confidence, muted, quiet_hours, rate_limited, '
    'cooldown, quota, no_joke, dry_run, crashed_while_sending, or what the platform answered.';

UPDATE post SET reason = 'dry_run' WHERE state = 'dry_run' AND reason IS NULL;

CREATE TABLE posting_mute (
    muted_at timestamptz NOT NULL,
    muted_until timestamptz,
    CHECK (muted_until > muted_at)
);
CREATE UNIQUE INDEX posting_mute_is_one_row ON posting_mute ((true));
COMMENT ON TABLE posting_mute IS 'One row while nothing may be posted, none otherwise: ./peebot mute, ./peebot unmute.';
COMMENT ON COLUMN posting_mute.muted_at IS 'Since when (UTC).';
COMMENT ON COLUMN posting_mute.muted_until IS 'Until when (UTC); NULL: until it is lifted.';

SELECT grant_roles();
