-- What models' scores mean on the site's own data. Counts, rates and thresholds: nothing in it is of
-- one person, so it outlives those it was measured on.

CREATE TABLE site_calibrations (
    id TEXT NOT NULL PRIMARY KEY,
    model_id TEXT NOT NULL,
    gallery TEXT,
    basis TEXT NOT NULL CHECK (basis IN ('verifications', 'single_views')),
    made_ms INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    left_out INTEGER NOT NULL CHECK (left_out >= 0),
    calibration TEXT NOT NULL,
    checks TEXT NOT NULL,
    drift TEXT NOT NULL CHECK (drift IN ('worse', 'none_seen', 'better', 'unknown')),
    applied_ms INTEGER,
    replaces INTEGER NOT NULL CHECK (replaces IN (0, 1)),
    CHECK (applied_ms IS NULL OR basis = 'verifications')
) STRICT;

CREATE UNIQUE INDEX one_applied_calibration_a_model ON site_calibrations (model_id)
WHERE applied_ms IS NOT NULL;
