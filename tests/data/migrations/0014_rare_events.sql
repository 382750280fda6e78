-- The index holds what the samples before it have written; nothing of its own comes with it.
SELECT 1;
