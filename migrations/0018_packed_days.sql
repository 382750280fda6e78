-- Sums of days of UTC that are over, some hundred rows in one value: a page about a year reads some hundred of these and
-- not a million rows. What a table of sums says of a day and what is packed of its rows add up; packed rows are deleted.
CREATE TABLE packed_day (
    id     INTEGER PRIMARY KEY,
    -- Whose rows they are: `agent_day`, `tool_day`, `pair_day`, `refusal_day`, `spend_day`, `spend_quarter`, `rollup`,
    -- `rollup_refusal`.
    sums   TEXT    NOT NULL CHECK (sums <> ''),
    day_us INTEGER NOT NULL,
    -- The smallest and the largest number behind the time in their keys: of agents, or of servers in `tool_day`.
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL CHECK (last >= first),
    packed BLOB    NOT NULL CHECK (length(packed) > 0)
) STRICT;
CREATE INDEX packed_day_of ON packed_day (sums, day_us, first, last);
