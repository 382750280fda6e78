-- A call of the first sample, refunded.
INSERT INTO event (seq, at_us, kind, meta, hash) VALUES(16,1795262400000000,'refunded','{"at_us":1795262400000000,"kind":"refunded","by":"operator","uid":1000,"why":"the picture was empty","refunds":"01a1f8d3-ea00-74c6-bc73-47dd154b6f42","budgets":[{"key":"agents.clawd calls/week@UTC","window":1794787200000000,"refunded":1},{"key":"servers.images calls/day@UTC each agent=clawd","window":1795132800000000,"refunded":1}]}',X'3fadb1d160be8eb09598cb34f8067db9a344b2811179d8d67cd2875de242f834');
INSERT INTO refund VALUES(X'01a1f8d3ea0074c6bc7347dd154b6f42',16);
UPDATE budget_window SET used = used - 1 WHERE budget_id = 1 AND starts_at_us = 1794787200000000;
UPDATE budget_window SET used = used - 1 WHERE budget_id = 2 AND starts_at_us = 1795132800000000;
