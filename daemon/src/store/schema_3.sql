-- The third schema: how the software in place stands while its instance is not INSTALLED, whether it brings services, and
-- what of it systemd skipped.
-- The device is asked at the next start; until then what was active runs.
ALTER TABLE instance ADD COLUMN in_place_runs INTEGER NOT NULL DEFAULT 0 CHECK (in_place_runs IN (0, 1));
ALTER TABLE instance ADD COLUMN in_place_no_services INTEGER NOT NULL DEFAULT 0 CHECK (in_place_no_services IN (0, 1));
ALTER TABLE instance ADD COLUMN in_place_note TEXT -- why it could not be activated or deactivated, or what that waits for
    CHECK (in_place_note IS NULL OR in_place_name IS NOT NULL);
UPDATE instance SET in_place_runs = in_place_active WHERE in_place_name IS NOT NULL;
ALTER TABLE instance ADD COLUMN in_place_skipped TEXT
    CHECK (in_place_skipped IS NULL OR in_place_name IS NOT NULL);
