-- What happened to the gateway and its log, and what operators did, is found without reading the log: a page about the
-- whole of it lists the newest of each kind.
CREATE INDEX event_rare ON event (kind, seq) WHERE
    kind = 'started' OR kind = 'stopped' OR kind = 'accepted' OR kind = 'clock' OR kind = 'exported' OR
    kind = 'refunded' OR kind = 'repaired' OR kind = 'unfrozen' OR kind = 'seeded' OR kind = 'pruned' OR
    kind = 'redacted';
