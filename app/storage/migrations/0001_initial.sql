-- Times are milliseconds since the epoch. A shipped migration is never edited: its checksum is kept.

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE galleries (
    id TEXT NOT NULL PRIMARY KEY,
    store_images TEXT NOT NULL CHECK (store_images IN ('none', 'encrypted')),
    default_dpi REAL CHECK (default_dpi > 0),
    created_ms INTEGER NOT NULL
) STRICT;

INSERT INTO galleries (id, store_images, default_dpi, created_ms)
VALUES ('default', 'none', NULL, CAST(strftime('%s', 'now') AS INTEGER) * 1000);

-- The keys of persons' templates and images, wrapped by the master key. A slot is cleared in place
-- and never deleted: when rows are deleted SQLite moves their neighbours to other pages, and what it
-- leaves in the slack of the old ones is not wiped, secure_delete or not. Slots are only ever
-- appended and cleared, so no copy of a key arises, and what a cleared key had sealed is noise
-- wherever it is still to be found.
CREATE TABLE key_slots (
    slot INTEGER PRIMARY KEY AUTOINCREMENT,
    wrapped_key BLOB NOT NULL CHECK (length(wrapped_key) = 60)
) STRICT;

CREATE TRIGGER key_slots_are_never_deleted BEFORE DELETE ON key_slots
BEGIN
    SELECT RAISE(ABORT, 'key slots are cleared, never deleted');
END;

CREATE TABLE persons (
    gallery TEXT NOT NULL REFERENCES galleries (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    key_slot INTEGER NOT NULL UNIQUE REFERENCES key_slots (slot),
    PRIMARY KEY (gallery, id)
) STRICT;

CREATE TRIGGER persons_take_their_key_along AFTER DELETE ON persons
BEGIN
    UPDATE key_slots SET wrapped_key = zeroblob(60) WHERE slot = OLD.key_slot;
END;

CREATE TABLE templates (
    id TEXT NOT NULL PRIMARY KEY,
    gallery TEXT NOT NULL,
    person_id TEXT NOT NULL,
    finger INTEGER NOT NULL CHECK (finger BETWEEN 0 AND 10),
    quality INTEGER NOT NULL CHECK (quality BETWEEN 0 AND 100),
    reasons TEXT NOT NULL,
    format TEXT NOT NULL,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL,
    dpi REAL NOT NULL CHECK (dpi > 0),
    dpi_source TEXT NOT NULL,
    has_image INTEGER NOT NULL CHECK (has_image IN (0, 1)),
    created_ms INTEGER NOT NULL,
    FOREIGN KEY (gallery, person_id) REFERENCES persons (gallery, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX templates_by_person ON templates (gallery, person_id, finger, id);

CREATE TABLE descriptors (
    template_id TEXT NOT NULL REFERENCES templates (id) ON DELETE CASCADE,
    model_id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (template_id, model_id)
) STRICT;

CREATE INDEX descriptors_by_model ON descriptors (model_id, template_id);

CREATE TABLE images (
    template_id TEXT NOT NULL PRIMARY KEY REFERENCES templates (id) ON DELETE CASCADE,
    sealed BLOB NOT NULL,
    dpi REAL NOT NULL CHECK (dpi > 0)
) STRICT;

-- Outlives what it tells of: no foreign keys.
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    gallery TEXT NOT NULL,
    template_id TEXT NOT NULL,
    removed INTEGER NOT NULL CHECK (removed IN (0, 1))
) STRICT;

CREATE INDEX changes_by_gallery ON changes (gallery, seq);

CREATE TABLE aliases (
    alias TEXT NOT NULL PRIMARY KEY CHECK (alias IN ('champion', 'candidate', 'previous')),
    model_id TEXT NOT NULL
) STRICT;

CREATE TABLE jobs (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (
        state IN ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled')
    ),
    spec TEXT NOT NULL,
    progress TEXT NOT NULL,
    result TEXT,
    problem TEXT,
    attempt INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    worker TEXT,
    lease_until_ms INTEGER,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER,
    ended_ms INTEGER,
    CHECK ((lease_until_ms IS NOT NULL) = (state IN ('running', 'cancelling')))
) STRICT;

CREATE INDEX jobs_by_state ON jobs (state, created_ms, id);

CREATE TABLE keys (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    details TEXT NOT NULL,
    request_id TEXT
) STRICT;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TABLE replies (
    actor TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (actor, idempotency_key)
) STRICT;

CREATE INDEX replies_by_age ON replies (created_ms);
