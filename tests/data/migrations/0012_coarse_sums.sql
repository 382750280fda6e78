-- Sums that were begun anew: so far of the first event, which adds to none of them.
INSERT INTO lookup (chunk, dimension, term, places) VALUES (0, 'kind', 'started', x'0100');
INSERT INTO rollup VALUES (1795172400000000, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO rollup_refusal VALUES (1795172400000000, 1, 2, 3, 'budget', 0);
INSERT INTO all_quarter VALUES (1795172400000000, 0, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO agent_hour VALUES (1, 1795172400000000, 0, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO tool_hour VALUES (2, 3, 1795172400000000, 0, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO agent_day VALUES (1795132800000000, 1, 0, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO tool_day VALUES (1795132800000000, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO pair_day VALUES (1795132800000000, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO refusal_day VALUES (1795132800000000, 1, 2, 3, 'budget', 0);
INSERT INTO spend_quarter VALUES (1795172400000000, 1, 2, 3, 'USD', 0);
INSERT INTO spend_day VALUES (1795132800000000, 1, 2, 3, 'USD', 0);
UPDATE lookup_mark SET seq = 1;
