-- Which calls were refunded, so that none is refunded twice; what was given back stands in the event.
CREATE TABLE refund (
    call_id BLOB    PRIMARY KEY CHECK (length(call_id) = 16),
    seq     INTEGER NOT NULL CHECK (seq > 0)
) STRICT, WITHOUT ROWID;
