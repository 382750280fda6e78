-- Sums by the hour and the day, so that a page about a year reads some thousand rows and not the millions of `rollup`.
-- Like those they are built behind the writer, cover the events up to the mark, and follow from the events alone.
-- What was built so far is built anew, in the same way as after a crash; until then pages search the log itself.
DELETE FROM lookup;
DELETE FROM rollup;
DELETE FROM rollup_refusal;
UPDATE lookup_mark SET seq = 0 WHERE one = 1;

-- The whole gateway. Days and hours begin with a quarter of an hour in every time zone.
CREATE TABLE all_quarter (
    quarter_us INTEGER NOT NULL PRIMARY KEY,
    -- Calls that were opened, and refusals.
    admitted   INTEGER NOT NULL,
    refused    INTEGER NOT NULL,
    -- Calls that were closed, by how they ended.
    ok         INTEGER NOT NULL,
    errors     INTEGER NOT NULL,
    failed     INTEGER NOT NULL,
    released   INTEGER NOT NULL,
    abandoned  INTEGER NOT NULL,
    -- How long they took, together.
    latency_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One agent, by hours of UTC. Here and below 0 stands for a name without a number, and for none.
CREATE TABLE agent_hour (
    agent_id   INTEGER NOT NULL,
    hour_us    INTEGER NOT NULL,
    admitted   INTEGER NOT NULL,
    refused    INTEGER NOT NULL,
    ok         INTEGER NOT NULL,
    errors     INTEGER NOT NULL,
    failed     INTEGER NOT NULL,
    released   INTEGER NOT NULL,
    abandoned  INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    PRIMARY KEY (agent_id, hour_us)
) STRICT, WITHOUT ROWID;

-- One tool, by hours of UTC.
CREATE TABLE tool_hour (
    server_id  INTEGER NOT NULL,
    tool_id    INTEGER NOT NULL,
    hour_us    INTEGER NOT NULL,
    admitted   INTEGER NOT NULL,
    refused    INTEGER NOT NULL,
    ok         INTEGER NOT NULL,
    errors     INTEGER NOT NULL,
    failed     INTEGER NOT NULL,
    released   INTEGER NOT NULL,
    abandoned  INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    PRIMARY KEY (server_id, tool_id, hour_us)
) STRICT, WITHOUT ROWID;

-- All agents of a day of UTC.
CREATE TABLE agent_day (
    day_us     INTEGER NOT NULL,
    agent_id   INTEGER NOT NULL,
    admitted   INTEGER NOT NULL,
    refused    INTEGER NOT NULL,
    ok         INTEGER NOT NULL,
    errors     INTEGER NOT NULL,
    failed     INTEGER NOT NULL,
    released   INTEGER NOT NULL,
    abandoned  INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    PRIMARY KEY (day_us, agent_id)
) STRICT, WITHOUT ROWID;

-- All tools of a day of UTC.
CREATE TABLE tool_day (
    day_us     INTEGER NOT NULL,
    server_id  INTEGER NOT NULL,
    tool_id    INTEGER NOT NULL,
    admitted   INTEGER NOT NULL,
    refused    INTEGER NOT NULL,
    ok         INTEGER NOT NULL,
    errors     INTEGER NOT NULL,
    failed     INTEGER NOT NULL,
    released   INTEGER NOT NULL,
    abandoned  INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    -- Bytes of calls that were let through, and of their answers.
    bytes_in   INTEGER NOT NULL,
    bytes_out  INTEGER NOT NULL,
    -- How many took how long: b00 under 1 ms, each next bound 1.5 times the one before, b31 whatever is longer.
    b00 INTEGER NOT NULL, b01 INTEGER NOT NULL, b02 INTEGER NOT NULL, b03 INTEGER NOT NULL,
    b04 INTEGER NOT NULL, b05 INTEGER NOT NULL, b06 INTEGER NOT NULL, b07 INTEGER NOT NULL,
    b08 INTEGER NOT NULL, b09 INTEGER NOT NULL, b10 INTEGER NOT NULL, b11 INTEGER NOT NULL,
    b12 INTEGER NOT NULL, b13 INTEGER NOT NULL, b14 INTEGER NOT NULL, b15 INTEGER NOT NULL,
    b16 INTEGER NOT NULL, b17 INTEGER NOT NULL, b18 INTEGER NOT NULL, b19 INTEGER NOT NULL,
    b20 INTEGER NOT NULL, b21 INTEGER NOT NULL, b22 INTEGER NOT NULL, b23 INTEGER NOT NULL,
    b24 INTEGER NOT NULL, b25 INTEGER NOT NULL, b26 INTEGER NOT NULL, b27 INTEGER NOT NULL,
    b28 INTEGER NOT NULL, b29 INTEGER NOT NULL, b30 INTEGER NOT NULL, b31 INTEGER NOT NULL,
    PRIMARY KEY (day_us, server_id, tool_id)
) STRICT, WITHOUT ROWID;

-- Who called what on a day of UTC.
CREATE TABLE pair_day (
    day_us     INTEGER NOT NULL,
    agent_id   INTEGER NOT NULL,
    server_id  INTEGER NOT NULL,
    tool_id    INTEGER NOT NULL,
    admitted   INTEGER NOT NULL,
    refused    INTEGER NOT NULL,
    ok         INTEGER NOT NULL,
    errors     INTEGER NOT NULL,
    failed     INTEGER NOT NULL,
    released   INTEGER NOT NULL,
    abandoned  INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    PRIMARY KEY (day_us, agent_id, server_id, tool_id)
) STRICT, WITHOUT ROWID;

-- Why calls were refused on a day of UTC.
CREATE TABLE refusal_day (
    day_us    INTEGER NOT NULL,
    agent_id  INTEGER NOT NULL,
    server_id INTEGER NOT NULL,
    tool_id   INTEGER NOT NULL,
    reason    TEXT    NOT NULL CHECK (reason <> ''),
    refused   INTEGER NOT NULL,
    PRIMARY KEY (day_us, agent_id, server_id, tool_id, reason)
) STRICT, WITHOUT ROWID;

-- What calls cost, in millionths of a unit; a call that several budgets of one unit paid cost the largest of these
-- amounts once. By the quarter of an hour, and by the day of UTC.
CREATE TABLE spend_quarter (
    quarter_us INTEGER NOT NULL,
    agent_id   INTEGER NOT NULL,
    server_id  INTEGER NOT NULL,
    tool_id    INTEGER NOT NULL,
    unit       TEXT    NOT NULL CHECK (unit <> ''),
    amount     INTEGER NOT NULL,
    PRIMARY KEY (quarter_us, agent_id, server_id, tool_id, unit)
) STRICT, WITHOUT ROWID;

CREATE TABLE spend_day (
    day_us    INTEGER NOT NULL,
    agent_id  INTEGER NOT NULL,
    server_id INTEGER NOT NULL,
    tool_id   INTEGER NOT NULL,
    unit      TEXT    NOT NULL CHECK (unit <> ''),
    amount    INTEGER NOT NULL,
    PRIMARY KEY (day_us, agent_id, server_id, tool_id, unit)
) STRICT, WITHOUT ROWID;
