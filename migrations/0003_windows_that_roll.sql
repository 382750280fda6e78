-- A rolling budget has a row for each piece of time in which something was taken, and many of them count at once.
CREATE INDEX budget_window_ends ON budget_window (ends_at_us);
