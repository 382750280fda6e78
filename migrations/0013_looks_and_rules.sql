-- Who looked at the log, and which rules were in force when, are found without reading the log.
CREATE INDEX event_accessed ON event (seq) WHERE kind = 'accessed';
CREATE INDEX event_policy ON event (seq) WHERE kind = 'policy';

-- The text of every policy file that came into force, once. Placeholders stand in it as they were written.
CREATE TABLE policy_file (
    -- SHA-256 of the file, in hexadecimal: what events name it by.
    revision TEXT    NOT NULL PRIMARY KEY CHECK (length(revision) = 64),
    -- The event with which it was kept.
    seq      INTEGER NOT NULL CHECK (seq > 0),
    text     TEXT    NOT NULL CHECK (octet_length(text) <= 1048576),
    -- 0 where something that looked like a secret was taken out.
    is_whole INTEGER NOT NULL CHECK (is_whole = 0 OR is_whole = 1)
) STRICT;
