-- Refusals that repeat one another: counted here until they are written down as one event.
CREATE TABLE repeat (
    id       INTEGER PRIMARY KEY,
    -- What is known of the first of them.
    refusal  TEXT    NOT NULL CHECK (json_valid(refusal)),
    times    INTEGER NOT NULL CHECK (times > 0),
    first_us INTEGER NOT NULL,
    last_us  INTEGER NOT NULL
) STRICT;
