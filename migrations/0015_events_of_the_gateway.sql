-- What the gateway says of itself in a month is found without reading the log: when it ran, how its clock went, where
-- checkpoints are, and what operators corrected.
CREATE INDEX event_of_gateway ON event (seq)
WHERE kind IN ('started', 'stopped', 'accepted', 'checkpoint', 'clock', 'refunded', 'repaired', 'unfrozen');
