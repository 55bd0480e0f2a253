-- Experiments, rollouts and layers; what routers counted for them; who drives what.
-- `record` holds the whole thing as JSON; the other columns are what is searched, ordered or changed.

CREATE TABLE plans (
    id       TEXT    NOT NULL PRIMARY KEY, -- sorts by time
    kind     TEXT    NOT NULL,
    name     TEXT    NOT NULL, -- of which there is one of each kind
    model    TEXT,
    open     INTEGER NOT NULL CHECK (open IN (0, 1)),
    revision INTEGER NOT NULL,
    record   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX plans_by_name ON plans (kind, name);
CREATE INDEX plans_open ON plans (kind, id) WHERE open = 1;

CREATE TABLE counts (
    id     TEXT    NOT NULL PRIMARY KEY,
    plan   TEXT    NOT NULL,
    taken  INTEGER NOT NULL DEFAULT 0 CHECK (taken IN (0, 1)), -- whether the plan's record holds it
    at     INTEGER NOT NULL, -- nanoseconds since 1970
    record TEXT    NOT NULL
) STRICT;

CREATE INDEX counts_waiting ON counts (plan, at, id) WHERE taken = 0;

CREATE TABLE leases (
    name   TEXT    NOT NULL PRIMARY KEY,
    holder TEXT    NOT NULL,
    until  INTEGER NOT NULL -- nanoseconds since 1970
) STRICT;
