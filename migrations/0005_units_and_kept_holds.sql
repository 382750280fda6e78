-- Amounts are in the unit of their budget: calls, whole numbers of an argument, or millionths of a cost.
ALTER TABLE budget_window RENAME COLUMN limit_calls TO limit_amount;

-- What servers reported beyond what was held, and whether the budget is frozen for it.
ALTER TABLE budget_window ADD COLUMN overrun INTEGER NOT NULL DEFAULT 0 CHECK (overrun >= 0);
ALTER TABLE budget_window ADD COLUMN frozen INTEGER NOT NULL DEFAULT 0 CHECK (frozen = 0 OR frozen = 1);

-- When a hold was taken; and, of a closed call whose hold another goes on with, until when it is kept.
ALTER TABLE hold ADD COLUMN taken_at_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hold ADD COLUMN kept_until_us INTEGER;

-- What was charged, by the hour (UTC) in which the hold was taken: what a count begins with whose rule was changed.
CREATE TABLE used_hour (
    budget_id INTEGER NOT NULL REFERENCES budget (id),
    hour_us   INTEGER NOT NULL,
    used      INTEGER NOT NULL CHECK (used >= 0),
    PRIMARY KEY (budget_id, hour_us)
) STRICT, WITHOUT ROWID;

-- Of windows from before it is not known when in them; as late as it can have been counts for longest.
INSERT INTO used_hour (budget_id, hour_us, used)
    SELECT budget_id, hour_us, sum(used) FROM (
        SELECT budget_id, used,
            (min(ends_at_us - 1, CAST(strftime('%s', 'now') AS INTEGER) * 1000000) / 3600000000) * 3600000000 AS hour_us
        FROM budget_window WHERE used > 0)
    GROUP BY budget_id, hour_us;
