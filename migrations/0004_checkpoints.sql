-- The table of events is made anew: which kinds there are is the program's to say, and verified from the text. A
-- list in a CHECK could not be added to.
DROP TRIGGER event_never_changes;
DROP TRIGGER event_never_goes;
DROP INDEX event_of_call;
DROP INDEX event_denied;
ALTER TABLE event RENAME TO event_before;

CREATE TABLE event (
    seq       INTEGER PRIMARY KEY CHECK (seq > 0),
    at_us     INTEGER NOT NULL,
    kind      TEXT    NOT NULL CHECK (kind <> ''),
    call_id   BLOB    CHECK (length(call_id) = 16),
    agent_id  INTEGER,
    server_id INTEGER,
    tool_id   INTEGER,
    reason    TEXT,
    meta      TEXT    NOT NULL CHECK (json_valid(meta)),
    hash      BLOB    NOT NULL CHECK (length(hash) = 32),
    -- Not IN: in a CHECK it fills a temporary table for every row, which costs more than the row.
    CHECK (call_id IS NOT NULL OR (
        kind <> 'admitted' AND kind <> 'settled' AND kind <> 'failed' AND kind <> 'released' AND kind <> 'abandoned')),
    CHECK ((kind = 'denied') = (reason IS NOT NULL))
) STRICT;

INSERT INTO event (seq, at_us, kind, call_id, agent_id, server_id, tool_id, reason, meta, hash)
    SELECT seq, at_us, kind, call_id, agent_id, server_id, tool_id, reason, meta, hash FROM event_before ORDER BY seq;
DROP TABLE event_before;

-- A call opens once and closes once.
CREATE UNIQUE INDEX event_of_call ON event (call_id, kind IN ('admitted', 'denied'))
    WHERE call_id IS NOT NULL;
CREATE INDEX event_denied ON event (seq) WHERE kind = 'denied';

CREATE TRIGGER event_never_changes BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END;
CREATE TRIGGER event_never_goes BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END;

-- The last checkpoint, so that nobody has to look for it.
ALTER TABLE gateway ADD COLUMN checkpoint_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE gateway ADD COLUMN checkpoint_at_us INTEGER NOT NULL DEFAULT 0;
