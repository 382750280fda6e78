-- The call in the middle of which the gateway is took its holds when it was admitted.
UPDATE hold SET taken_at_us = (SELECT at_us FROM event JOIN open_call ON admitted_seq = seq
    WHERE open_call.call_id = hold.call_id);
