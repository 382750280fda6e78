-- What tools said of themselves, each definition once. Events name them by their hash.
CREATE TABLE tool_definition (
    -- SHA-256 of the canonical text, in hexadecimal.
    hash     TEXT    NOT NULL PRIMARY KEY CHECK (length(hash) = 64),
    -- The event with which it was kept.
    seq      INTEGER NOT NULL CHECK (seq > 0),
    text     TEXT    NOT NULL CHECK (octet_length(text) <= 65536),
    -- 0 where something that looked like a secret was taken out.
    is_whole INTEGER NOT NULL CHECK (is_whole = 0 OR is_whole = 1)
) STRICT;
