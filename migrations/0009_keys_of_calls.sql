-- Keys of calls: what must not be done a second time, and what became of the first time. A key stands here from the
-- commit that lets its call through.
CREATE TABLE call_key (
    -- SHA-256 of agent, server, tool and key, so that keys of others never meet.
    id        BLOB    PRIMARY KEY CHECK (length(id) = 32),
    agent     TEXT    NOT NULL,
    -- Whether the agent sent it; otherwise the arguments themselves are the key.
    given     INTEGER NOT NULL CHECK (given = 0 OR given = 1),
    -- SHA-256 of the arguments as canonical JSON.
    arguments BLOB    NOT NULL CHECK (length(arguments) = 32),
    call_id   BLOB    NOT NULL CHECK (length(call_id) = 16),
    state     TEXT    NOT NULL CHECK (state = 'running' OR state = 'asked' OR state = 'done' OR state = 'unknown'),
    -- How the call ended, in the word of its closing event.
    outcome   TEXT,
    -- The event whose result a repeat is given, as far as it is still there, and what its server spoke.
    result_seq    INTEGER,
    result_modern INTEGER CHECK (result_modern = 0 OR result_modern = 1),
    -- Kept until here whatever comes, and forgotten there.
    kept_us   INTEGER NOT NULL,
    ends_us   INTEGER NOT NULL,
    CHECK (kept_us <= ends_us),
    CHECK ((result_seq IS NULL) = (result_modern IS NULL)),
    CHECK ((state = 'done' OR state = 'unknown') = (outcome IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX call_key_ends ON call_key (ends_us);
CREATE INDEX call_key_of_agent ON call_key (agent, kept_us);
CREATE INDEX call_key_running ON call_key (call_id) WHERE state = 'running';
CREATE INDEX call_key_asked ON call_key (call_id) WHERE state = 'asked';
