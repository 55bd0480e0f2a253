-- What happened, who is told of it, and each event's way to each of them. `record` is JSON in UTF-8.

CREATE TABLE events (
    -- Given one after the other (whoever adds holds a lock), so that none comes in between later.
    place  BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id     TEXT COLLATE "C" NOT NULL UNIQUE,
    at     BIGINT           NOT NULL, -- nanoseconds since 1970, as below
    kind   TEXT COLLATE "C" NOT NULL,
    model  TEXT COLLATE "C",
    record TEXT             NOT NULL
);

CREATE INDEX events_at ON events (at);

CREATE TABLE webhooks (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    revision BIGINT           NOT NULL,
    enabled  BOOLEAN          NOT NULL,
    record   TEXT             NOT NULL
);

CREATE TABLE deliveries (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    event    TEXT COLLATE "C" NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    webhook  TEXT COLLATE "C" NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    state    TEXT             NOT NULL,
    next_at  BIGINT           NOT NULL,
    revision BIGINT           NOT NULL,
    record   TEXT             NOT NULL,
    UNIQUE (event, webhook)
);

CREATE INDEX deliveries_due ON deliveries (next_at) WHERE state = 'waiting';
CREATE INDEX deliveries_by_state ON deliveries (state, id);
CREATE INDEX deliveries_by_webhook ON deliveries (webhook);
