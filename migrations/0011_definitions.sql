-- The gateway goes on at a start with the definitions of tools that it knew; they are found without reading the log.
CREATE INDEX event_tools ON event (seq) WHERE kind = 'tools';
