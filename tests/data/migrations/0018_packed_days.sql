-- A day with one row, of agent 1 and tool 3 of server 2, that counts nothing: version, no texts, the beginning of the day,
-- three numbers, no columns.
INSERT INTO packed_day VALUES (1, 'pair_day', 1795132800000000, 1, 1, x'01000002040600');
