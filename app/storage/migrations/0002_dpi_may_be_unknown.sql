-- A picture of a model that needs no resolution may have none. SQLite cannot take NOT NULL off a
-- column, so another takes its place. The tables themselves stay: building them anew would mean
-- dropping the old ones, and that would cascade to descriptors and images.

ALTER TABLE templates ADD COLUMN known_dpi REAL CHECK (known_dpi > 0);
UPDATE templates SET known_dpi = dpi;
ALTER TABLE templates DROP COLUMN dpi;
ALTER TABLE templates RENAME COLUMN known_dpi TO dpi;

ALTER TABLE images ADD COLUMN known_dpi REAL CHECK (known_dpi > 0);
UPDATE images SET known_dpi = dpi;
ALTER TABLE images DROP COLUMN dpi;
ALTER TABLE images RENAME COLUMN known_dpi TO dpi;
