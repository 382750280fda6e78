-- A call of the first sample, refunded.
INSERT INTO event (seq, at_us, kind, meta, hash) VALUES(14,1795262400000000,'refunded','{"at_us":1795262400000000,"kind":"refunded","by":"operator","uid":1000,"why":"the picture was empty","refunds":"01a1f8d3-ea00-74c6-bc73-47dd154b6f42","budgets":[{"key":"agents.clawd calls/week@UTC","window":1794787200000000,"refunded":1},{"key":"servers.images calls/day@UTC each agent=clawd","window":1795132800000000,"refunded":1}]}',X'2b7cfc47feb284a03243fb4af7c2aba94a993bfd7997d6831b92f3e2d59d6aea');
INSERT INTO refund VALUES(X'01a1f8d3ea0074c6bc7347dd154b6f42',14);
UPDATE budget_window SET used = used - 1 WHERE budget_id = 1 AND starts_at_us = 1794787200000000;
UPDATE budget_window SET used = used - 1 WHERE budget_id = 2 AND starts_at_us = 1795132800000000;
