-- What a user may use and since when tokens are good; sessions, API keys and sign-in attempts; the
-- audit trail.

ALTER TABLE users ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
ALTER TABLE users ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1));
-- Nanoseconds since 1970: tokens that were issued before are no longer good.
ALTER TABLE users ADD COLUMN tokens_from INTEGER NOT NULL DEFAULT 0;
-- The rest of the user, as JSON.
ALTER TABLE users ADD COLUMN more TEXT NOT NULL DEFAULT '{}';

CREATE TABLE credentials (
    kind       TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    revision   INTEGER NOT NULL,
    ended_at   INTEGER, -- nanoseconds since 1970, as below
    expires_at INTEGER,
    record     TEXT    NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX credentials_ended ON credentials (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX credentials_expiring ON credentials (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX users_tokens_from ON users (tokens_from);

-- Each entry's seal is made over the seal before it, so that none can be changed or taken out.
CREATE TABLE audit (
    seq    INTEGER NOT NULL PRIMARY KEY CHECK (seq > 0),
    at     INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    action TEXT    NOT NULL,
    target TEXT    NOT NULL,
    record TEXT    NOT NULL,
    seal   TEXT    NOT NULL
) STRICT;

-- The last entry, so that one missing at the end is noticed.
CREATE TABLE audit_head (
    one  INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    seq  INTEGER NOT NULL,
    seal TEXT    NOT NULL
) STRICT;
