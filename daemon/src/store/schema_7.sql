-- The seventh schema: the components of a package, and their ids in Object 14. A plain package is its own component.
CREATE TABLE component (
    id       INTEGER PRIMARY KEY CHECK (id BETWEEN 0 AND 65534),
    instance INTEGER NOT NULL REFERENCES instance (id) DEFERRABLE INITIALLY DEFERRED,
    name     TEXT NOT NULL,
    UNIQUE (instance, name)
) STRICT;

-- The components of a bundle in place.
CREATE TABLE component_in_place (
    component   INTEGER PRIMARY KEY REFERENCES component (id) ON DELETE CASCADE,
    ordinal     INTEGER NOT NULL,
    version     TEXT NOT NULL,
    active      INTEGER NOT NULL CHECK (active IN (0, 1)),
    damage      TEXT,
    no_services INTEGER NOT NULL CHECK (no_services IN (0, 1))
) STRICT;

-- The components of a delivered bundle.
CREATE TABLE component_delivered (
    component INTEGER PRIMARY KEY REFERENCES component (id) ON DELETE CASCADE,
    ordinal   INTEGER NOT NULL,
    version   TEXT NOT NULL
) STRICT;

INSERT INTO component (id, instance, name)
SELECT row_number() OVER (ORDER BY instance, name) - 1, instance, name FROM (
    SELECT id AS instance, package_name AS name FROM instance WHERE package_name IS NOT NULL
    UNION SELECT id, in_place_name FROM instance WHERE in_place_name IS NOT NULL
);

-- The component that the operation of the instance activates or deactivates alone.
ALTER TABLE instance ADD COLUMN component TEXT;
