-- Accounts, models with their versions, routes with their history.
-- `record` holds the whole thing as JSON; the other columns are what is searched, ordered or changed.

CREATE TABLE users (
    username      TEXT NOT NULL PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    role          TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at    TEXT NOT NULL, -- RFC 3339
    created_by    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE models (
    name   TEXT NOT NULL PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;

CREATE TABLE versions (
    model   TEXT    NOT NULL REFERENCES models (name),
    version INTEGER NOT NULL CHECK (version > 0),
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)), -- wins over `record`
    record  TEXT    NOT NULL,
    PRIMARY KEY (model, version)
) STRICT;

-- Every form a route ever had; the one with the highest generation is in force.
CREATE TABLE routes (
    model      TEXT    NOT NULL,
    generation INTEGER NOT NULL CHECK (generation > 0),
    record     TEXT    NOT NULL,
    PRIMARY KEY (model, generation)
) STRICT;
