-- With IN, the condition of the index fills a temporary table for every event, which costs more than the event.
DROP INDEX event_of_gateway;
CREATE INDEX event_of_gateway ON event (seq)
WHERE kind = 'started' OR kind = 'stopped' OR kind = 'accepted' OR kind = 'checkpoint' OR kind = 'clock' OR
    kind = 'refunded' OR kind = 'repaired' OR kind = 'unfrozen';
