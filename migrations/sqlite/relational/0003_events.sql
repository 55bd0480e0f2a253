-- What happened, who is told of it, and each event's way to each of them.

CREATE TABLE events (
    place  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, -- none is given twice, whatever is removed
    id     TEXT    NOT NULL UNIQUE,
    at     INTEGER NOT NULL, -- nanoseconds since 1970, as below
    kind   TEXT    NOT NULL,
    model  TEXT,
    record TEXT    NOT NULL
) STRICT;

CREATE INDEX events_at ON events (at);

CREATE TABLE webhooks (
    id       TEXT    NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    enabled  INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    record   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
    id       TEXT    NOT NULL PRIMARY KEY,
    event    TEXT    NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    webhook  TEXT    NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    state    TEXT    NOT NULL,
    next_at  INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    record   TEXT    NOT NULL,
    UNIQUE (event, webhook)
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_due ON deliveries (next_at) WHERE state = 'waiting';
CREATE INDEX deliveries_by_state ON deliveries (state, id);
CREATE INDEX deliveries_by_webhook ON deliveries (webhook);
