-- Experiments, rollouts and layers; what routers counted for them; who drives what.
-- `record` holds the whole thing as JSON; the other columns are what is searched, ordered or changed.

CREATE TABLE plans (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- sorts by time
    kind     TEXT             NOT NULL,
    name     BYTEA            NOT NULL, -- UTF-8; of which there is one of each kind
    model    TEXT COLLATE "C",
    open     BOOLEAN          NOT NULL,
    revision BIGINT           NOT NULL,
    record   TEXT             NOT NULL
);

CREATE UNIQUE INDEX plans_by_name ON plans (kind, sha256(name));
CREATE INDEX plans_open ON plans (kind, id) WHERE open;

CREATE TABLE counts (
    id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    plan   TEXT COLLATE "C" NOT NULL,
    taken  BOOLEAN          NOT NULL DEFAULT FALSE, -- whether the plan's record holds it
    at     BIGINT           NOT NULL, -- nanoseconds since 1970
    record TEXT             NOT NULL
);

CREATE INDEX counts_waiting ON counts (plan, at, id) WHERE NOT taken;

CREATE TABLE leases (
    name   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder TEXT             NOT NULL,
    until  BIGINT           NOT NULL -- nanoseconds since 1970
);
