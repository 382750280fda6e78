-- The file has such events already; the index finds the first of them.
SELECT seq FROM event WHERE kind IN ('started', 'stopped', 'accepted', 'checkpoint', 'clock', 'refunded', 'repaired', 'unfrozen')
ORDER BY seq LIMIT 1;
