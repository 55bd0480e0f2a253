-- What analyses of experiments and rollouts read of a prediction: all but the bodies, as JSON.

ALTER TABLE predictions ADD COLUMN plan TEXT;
ALTER TABLE predictions ADD COLUMN exposure TEXT;

CREATE INDEX predictions_by_plan ON predictions (plan, prediction_id) WHERE plan IS NOT NULL;
