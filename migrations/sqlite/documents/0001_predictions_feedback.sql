-- The prediction log and the ground truth for it.
-- `record` holds the whole thing as JSON; the other columns are what is searched and ordered.

CREATE TABLE predictions (
    prediction_id TEXT    NOT NULL PRIMARY KEY,
    model         TEXT    NOT NULL,
    at_ns         INTEGER NOT NULL, -- nanoseconds since 1970
    record        TEXT    NOT NULL
) STRICT;

CREATE INDEX predictions_by_model_and_time ON predictions (model, at_ns, prediction_id);

CREATE TABLE feedback (
    prediction_id  TEXT    NOT NULL,
    outcome        TEXT    NOT NULL, -- JSON
    source         TEXT    NOT NULL,
    received_at_ns INTEGER NOT NULL, -- nanoseconds since 1970
    record         TEXT    NOT NULL,
    UNIQUE (prediction_id, outcome, source)
) STRICT;
