-- The ledger and the log stand in one file, so that money and its record move in one transaction.

-- Who wrote this file. `log_id` is in every hash of the chain; reviewers pin it.
CREATE TABLE gateway (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    log_id        BLOB    NOT NULL CHECK (length(log_id) = 16),
    created_at_us INTEGER NOT NULL
) STRICT;

-- Names of agents, servers and tools, written once. They outlive the objects they name.
CREATE TABLE name (
    id   INTEGER PRIMARY KEY,
    text TEXT    NOT NULL UNIQUE
) STRICT;

-- The log. `meta` is the exact text that is hashed; the other columns repeat parts of it for queries, and
-- `hayward audit verify` checks that they do.
CREATE TABLE event (
    seq       INTEGER PRIMARY KEY CHECK (seq > 0),
    at_us     INTEGER NOT NULL,
    -- Not IN: in a CHECK it fills a temporary table for every row, which costs more than the row.
    kind      TEXT    NOT NULL CHECK (
                  kind = 'admitted' OR kind = 'denied' OR
                  kind = 'settled' OR kind = 'failed' OR kind = 'released' OR kind = 'abandoned' OR
                  kind = 'started' OR kind = 'stopped' OR kind = 'policy'),
    call_id   BLOB    CHECK (length(call_id) = 16),
    agent_id  INTEGER,
    server_id INTEGER,
    tool_id   INTEGER,
    reason    TEXT,
    meta      TEXT    NOT NULL CHECK (json_valid(meta)),
    hash      BLOB    NOT NULL CHECK (length(hash) = 32),
    CHECK (call_id IS NOT NULL OR kind IN ('started', 'stopped', 'policy', 'denied')),
    CHECK ((kind = 'denied') = (reason IS NOT NULL))
) STRICT;

-- A call opens once and closes once.
CREATE UNIQUE INDEX event_of_call ON event (call_id, kind IN ('admitted', 'denied'))
    WHERE call_id IS NOT NULL;
CREATE INDEX event_denied ON event (seq) WHERE kind = 'denied';

CREATE TRIGGER event_never_changes BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END;
CREATE TRIGGER event_never_goes BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END;

-- Which budgets there are: the identity that `policy` composed.
CREATE TABLE budget (
    id  INTEGER PRIMARY KEY,
    key TEXT    NOT NULL UNIQUE
) STRICT;

-- One row a window, addressed by its start, never reset.
CREATE TABLE budget_window (
    budget_id    INTEGER NOT NULL REFERENCES budget (id),
    starts_at_us INTEGER NOT NULL,
    ends_at_us   INTEGER NOT NULL,
    -- The limit in force at the last reservation, and the highest that was in force in this window.
    limit_calls  INTEGER NOT NULL CHECK (limit_calls >= 0),
    limit_high   INTEGER NOT NULL CHECK (limit_high >= limit_calls),
    used         INTEGER NOT NULL DEFAULT 0 CHECK (used >= 0),
    held         INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    PRIMARY KEY (budget_id, starts_at_us),
    CHECK (starts_at_us < ends_at_us),
    CHECK (used + held <= limit_high)
) STRICT, WITHOUT ROWID;

-- Calls that were admitted and not closed. After a crash these are the ones to abandon.
CREATE TABLE open_call (
    call_id      BLOB    PRIMARY KEY CHECK (length(call_id) = 16),
    admitted_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What open calls hold, in the window they were admitted in.
CREATE TABLE hold (
    call_id      BLOB    NOT NULL,
    budget_id    INTEGER NOT NULL,
    starts_at_us INTEGER NOT NULL,
    amount       INTEGER NOT NULL CHECK (amount > 0),
    PRIMARY KEY (call_id, budget_id),
    FOREIGN KEY (budget_id, starts_at_us) REFERENCES budget_window (budget_id, starts_at_us)
) STRICT, WITHOUT ROWID;
