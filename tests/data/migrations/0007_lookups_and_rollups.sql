INSERT INTO lookup (chunk, dimension, term, places) VALUES (0, 'kind', 'started', x'0100');
INSERT INTO rollup VALUES (1795172400000000, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO rollup_refusal VALUES (1795172400000000, 1, 2, 3, 'budget', 0);
UPDATE lookup_mark SET seq = 1;
