-- Whether a person's kept images may be trained on; nobody's may unless it was said.

ALTER TABLE persons ADD COLUMN consent_training INTEGER NOT NULL DEFAULT 0
    CHECK (consent_training IN (0, 1));
