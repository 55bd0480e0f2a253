-- Ground truth for units beside that for predictions, and which of it the log knows the prediction of.

ALTER TABLE feedback ADD COLUMN kind TEXT NOT NULL DEFAULT 'value'; -- `label`, `value` or a metric's name
ALTER TABLE feedback ADD COLUMN model TEXT; -- NULL while the log does not know the prediction

UPDATE feedback SET kind = 'label' WHERE outcome LIKE '{"label":%';
UPDATE feedback SET model = (
    SELECT predictions.model FROM predictions
    WHERE predictions.prediction_id = feedback.prediction_id
);

CREATE INDEX feedback_pending ON feedback (prediction_id, received_at_ns) WHERE model IS NULL;
CREATE INDEX feedback_by_time ON feedback (received_at_ns, model, kind);

CREATE TABLE unit_feedback (
    model          TEXT    NOT NULL,
    unit           TEXT    NOT NULL,
    outcome        TEXT    NOT NULL, -- JSON
    source         TEXT    NOT NULL,
    received_at_ns INTEGER NOT NULL, -- nanoseconds since 1970
    kind           TEXT    NOT NULL,
    record         TEXT    NOT NULL,
    UNIQUE (model, unit, outcome, source)
) STRICT;

CREATE INDEX unit_feedback_by_time ON unit_feedback (received_at_ns, model, kind);
