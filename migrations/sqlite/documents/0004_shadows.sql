-- What shadow versions would have answered. `record` holds the whole thing as JSON.

CREATE TABLE shadows (
    prediction_id TEXT    NOT NULL,
    model         TEXT    NOT NULL,
    version       INTEGER NOT NULL, -- the shadow's
    at_ns         INTEGER NOT NULL, -- nanoseconds since 1970
    record        TEXT    NOT NULL,
    PRIMARY KEY (prediction_id, version)
) STRICT, WITHOUT ROWID;

CREATE INDEX shadows_by_version_and_time ON shadows (model, version, at_ns);
