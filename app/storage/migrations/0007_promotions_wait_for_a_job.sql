-- The job of re-embedding that a candidate waits for before it goes into service.

ALTER TABLE aliases ADD COLUMN job_id TEXT;
