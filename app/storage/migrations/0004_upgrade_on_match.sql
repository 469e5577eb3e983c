-- Where no image is kept, a probe that matched may give a template its descriptor under the model in
-- service. Whether a gallery wants that, and of each descriptor whether it was made of such a probe
-- instead of the sample that was enrolled.

ALTER TABLE galleries ADD COLUMN upgrade_on_match INTEGER NOT NULL DEFAULT 0
    CHECK (upgrade_on_match IN (0, 1));
ALTER TABLE descriptors ADD COLUMN of_probe INTEGER NOT NULL DEFAULT 0
    CHECK (of_probe IN (0, 1));
