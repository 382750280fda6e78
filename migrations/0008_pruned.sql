-- Events that are too old may go, once they stand in an archive. What is left says where the chain goes on and what
-- the events that went add up to; everything up to there may be deleted, and nothing else.
CREATE TABLE pruned (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    -- The last event that went, and its hash; 0 as long as none did.
    last_seq  INTEGER NOT NULL CHECK (last_seq >= 0),
    head      BLOB    NOT NULL CHECK (length(head) = 32),
    -- The event that says so.
    event_seq INTEGER NOT NULL CHECK (event_seq > last_seq OR last_seq = 0),
    -- Everything before this instant went.
    until_us  INTEGER NOT NULL,
    -- What goes on from there: names, calls under way, and what budgets had used. Its digest stands in the event.
    seam      TEXT    NOT NULL CHECK (json_valid(seam))
) STRICT;
INSERT INTO pruned (one, last_seq, head, event_seq, until_us, seam) VALUES (1, 0, zeroblob(32), 0, 0, '{}');

CREATE TRIGGER pruned_only_grows BEFORE UPDATE ON pruned WHEN NEW.last_seq < OLD.last_seq
BEGIN SELECT RAISE(ABORT, 'what was pruned stays pruned'); END;
CREATE TRIGGER pruned_stays BEFORE DELETE ON pruned
BEGIN SELECT RAISE(ABORT, 'what was pruned stays pruned'); END;

DROP TRIGGER event_never_goes;
CREATE TRIGGER event_never_goes BEFORE DELETE ON event
WHEN NOT EXISTS (SELECT 1 FROM pruned JOIN event AS said ON said.seq = event_seq
    WHERE said.kind = 'pruned' AND OLD.seq <= last_seq)
BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END;
