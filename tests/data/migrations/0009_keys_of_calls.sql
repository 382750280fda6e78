INSERT INTO call_key (id, agent, given, arguments, call_id, state, outcome, kept_us, ends_us) VALUES
    (zeroblob(32), 'clawd', 1, zeroblob(32), zeroblob(16), 'done', 'ok', 1795262400000000, 1795262400000000);
