-- Uploaded data sets. Their images lie in files beside the store, sealed with a key of the set's
-- own, which goes with the record as a person's does.

CREATE TABLE datasets (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    subjects INTEGER NOT NULL,
    fingers INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    dpi REAL CHECK (dpi > 0),
    pattern TEXT,
    report TEXT NOT NULL,
    key_slot INTEGER NOT NULL UNIQUE REFERENCES key_slots (slot)
) STRICT;

CREATE TRIGGER datasets_take_their_key_along AFTER DELETE ON datasets
BEGIN
    UPDATE key_slots SET wrapped_key = zeroblob(60) WHERE slot = OLD.key_slot;
END;
