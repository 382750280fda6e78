-- Lookups and sums, built behind the writer so that no call waits for them. All of it follows from the events, and
-- `hayward audit verify` compares: a call that was taken out here, to hide it from the pages, is found.

-- Where the calls of an agent, a server, a tool, a reason, a state are: for each 16,384 sequence numbers the places
-- in them, two bytes each, the low one first.
CREATE TABLE lookup (
    chunk     INTEGER NOT NULL CHECK (chunk >= 0),
    dimension TEXT    NOT NULL CHECK (dimension <> ''),
    -- The number of a name or a word; `?` for a name without a number, nothing where there is no name.
    term      TEXT    NOT NULL,
    places    BLOB    NOT NULL CHECK (length(places) > 0 AND length(places) % 2 = 0),
    PRIMARY KEY (chunk, dimension, term)
) STRICT, WITHOUT ROWID;

-- What happened in a quarter of an hour. Days and hours begin with one in every time zone.
CREATE TABLE rollup (
    quarter_us INTEGER NOT NULL,
    -- 0 stands for a name without a number, and for none.
    agent_id   INTEGER NOT NULL,
    server_id  INTEGER NOT NULL,
    tool_id    INTEGER NOT NULL,
    -- Calls that were opened, and refusals.
    admitted   INTEGER NOT NULL,
    refused    INTEGER NOT NULL,
    -- Calls that were closed, by how they ended.
    ok         INTEGER NOT NULL,
    errors     INTEGER NOT NULL,
    failed     INTEGER NOT NULL,
    released   INTEGER NOT NULL,
    abandoned  INTEGER NOT NULL,
    -- What they were charged in all their budgets together, each in its own unit.
    charged    INTEGER NOT NULL,
    -- How long they took, together and by length.
    latency_us INTEGER NOT NULL,
    under_10ms INTEGER NOT NULL,
    under_100ms INTEGER NOT NULL,
    under_1s   INTEGER NOT NULL,
    under_10s  INTEGER NOT NULL,
    under_1min INTEGER NOT NULL,
    longer     INTEGER NOT NULL,
    PRIMARY KEY (quarter_us, agent_id, server_id, tool_id)
) STRICT, WITHOUT ROWID;

-- Why calls were refused.
CREATE TABLE rollup_refusal (
    quarter_us INTEGER NOT NULL,
    agent_id   INTEGER NOT NULL,
    server_id  INTEGER NOT NULL,
    tool_id    INTEGER NOT NULL,
    reason     TEXT    NOT NULL CHECK (reason <> ''),
    refused    INTEGER NOT NULL,
    PRIMARY KEY (quarter_us, agent_id, server_id, tool_id, reason)
) STRICT, WITHOUT ROWID;

-- All of this covers the events up to here; who reads looks through the few after it.
CREATE TABLE lookup_mark (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL CHECK (seq >= 0)
) STRICT;
INSERT INTO lookup_mark (one, seq) VALUES (1, 0);
