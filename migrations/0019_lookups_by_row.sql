-- A list of places is often longer than a page holds. In a tree of keys SQLite reads a long row as a whole for each look at
-- its key (sqlite.org/fileformat2.html, "B-tree Pages"), so the keys get a tree of their own.
ALTER TABLE lookup RENAME TO lookup_before;
CREATE TABLE lookup (
    id        INTEGER PRIMARY KEY,
    chunk     INTEGER NOT NULL CHECK (chunk >= 0),
    dimension TEXT    NOT NULL CHECK (dimension <> ''),
    -- The number of a name or a word; `?` for a name without a number, nothing where there is no name.
    term      TEXT    NOT NULL,
    places    BLOB    NOT NULL CHECK (length(places) > 0 AND length(places) % 2 = 0)
) STRICT;
INSERT INTO lookup (chunk, dimension, term, places)
    SELECT chunk, dimension, term, places FROM lookup_before ORDER BY chunk, dimension, term;
DROP TABLE lookup_before;
CREATE UNIQUE INDEX lookup_of ON lookup (chunk, dimension, term);
