-- Arguments and results stand beside the chain, covered by digests in it, so that they can be deleted and the chain
-- still verifies. Without the salt a short body could be guessed from its digest: it goes with the body.
CREATE TABLE body (
    -- The event that covers it: `admitted` for arguments, the closing one for a result.
    seq        INTEGER PRIMARY KEY,
    kind       TEXT    NOT NULL CHECK (kind = 'arguments' OR kind = 'result'),
    salt       BLOB    NOT NULL CHECK (length(salt) = 16),
    bytes      BLOB    NOT NULL,
    -- How long it was as it came, in bytes.
    full_bytes INTEGER NOT NULL CHECK (full_bytes >= 0),
    -- Whether more was to be kept than is.
    truncated  INTEGER NOT NULL CHECK (truncated = 0 OR truncated = 1)
) STRICT;

-- What was deleted in good order is looked up before the log is read.
CREATE INDEX event_redacted ON event (seq) WHERE kind = 'redacted' OR kind = 'pruned';
