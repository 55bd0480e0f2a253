-- Accounts, models with their versions, routes with their history.
-- `record` holds the whole thing as JSON; the other columns are what is searched, ordered or changed.
-- It is TEXT, since JSONB keeps neither the escaped NUL nor every number as written. Texts that
-- people choose are BYTEA (UTF-8), since TEXT cannot hold a NUL: `convert_from(username, 'UTF8')`.
-- Names are ordered by their bytes, whatever the language of the database.

CREATE TABLE users (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    username      BYTEA            NOT NULL,
    role          TEXT             NOT NULL,
    password_hash BYTEA            NOT NULL,
    created_at    TEXT             NOT NULL, -- RFC 3339, to the nanosecond
    created_by    BYTEA            NOT NULL
);

-- By digest, since an index takes no entry above 2.7 kB.
CREATE UNIQUE INDEX users_by_name ON users (sha256(username));

CREATE TABLE models (
    name   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    record TEXT             NOT NULL
);

CREATE TABLE versions (
    model   TEXT COLLATE "C" NOT NULL REFERENCES models (name),
    version BIGINT           NOT NULL CHECK (version > 0),
    enabled BOOLEAN          NOT NULL, -- wins over `record`
    record  TEXT             NOT NULL,
    PRIMARY KEY (model, version)
);

-- Every form a route ever had; the one with the highest generation is in force.
CREATE TABLE routes (
    model      TEXT COLLATE "C" NOT NULL,
    generation BIGINT           NOT NULL CHECK (generation > 0),
    record     TEXT             NOT NULL,
    PRIMARY KEY (model, generation)
);
