-- The first schema. Columns are in the words of the specification; what has a closed set of values is checked.

-- Whether the instances from the factory were made: a deleted one does not come back.
CREATE TABLE factory (
    made INTEGER PRIMARY KEY CHECK (made = 1)
) STRICT;

-- What the server set in its own account, and what the administrator had configured then.
CREATE TABLE account (
    id                  INTEGER PRIMARY KEY CHECK (id = 1),
    configured_lifetime INTEGER NOT NULL,
    lifetime            INTEGER NOT NULL
) STRICT;

-- What was accepted, in that order; kept when it is over.
CREATE TABLE operation (
    sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
    id          BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    kind        TEXT NOT NULL,
    origin      TEXT NOT NULL CHECK (origin IN ('server', 'user')),
    origin_id   INTEGER NOT NULL,
    deadline    INTEGER,
    accepted_at INTEGER NOT NULL,
    phase       TEXT NOT NULL
        CHECK (phase IN ('gate', 'pre', 'act', 'verify', 'commit', 'after', 'abort'))
) STRICT;

CREATE TABLE step (
    operation BLOB NOT NULL REFERENCES operation (id) ON DELETE CASCADE,
    ordinal   INTEGER NOT NULL,
    instance  INTEGER NOT NULL,
    action    TEXT NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed')),
    outcome   TEXT,
    PRIMARY KEY (operation, ordinal)
) STRICT;

CREATE TABLE instance (
    id                       INTEGER PRIMARY KEY CHECK (id BETWEEN 0 AND 65534),
    update_state             INTEGER NOT NULL CHECK (update_state BETWEEN 0 AND 4),
    update_result            INTEGER NOT NULL CHECK (update_result BETWEEN 0 AND 200),
    note                     TEXT,
    in_place_name            TEXT,
    in_place_version         TEXT,
    in_place_active          INTEGER CHECK (in_place_active IN (0, 1)),
    stage                    BLOB CHECK (length(stage) = 16),
    package_name             TEXT,
    package_version          TEXT,
    package_architecture     TEXT,
    package_length           INTEGER,
    package_signer           TEXT,
    package_uri              BLOB,
    operation                BLOB REFERENCES operation (id),
    progress                 TEXT CHECK (progress IN ('queued', 'running', 'receiving')),
    update_supported_objects INTEGER NOT NULL CHECK (update_supported_objects IN (0, 1)),
    settings_object          INTEGER NOT NULL CHECK (settings_object BETWEEN 0 AND 65535),
    settings_instance        INTEGER NOT NULL CHECK (settings_instance BETWEEN 0 AND 65535),
    user_name                BLOB,
    password                 BLOB
) STRICT;

-- What is still to be done, or being done. An effect may outlive its instance.
CREATE TABLE effect (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    instance  INTEGER NOT NULL,
    format    INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    operation BLOB,
    stage     BLOB,
    package   TEXT
) STRICT;

CREATE TABLE download (
    stage         BLOB PRIMARY KEY CHECK (length(stage) = 16),
    attempts      INTEGER NOT NULL DEFAULT 0,
    counted_from  INTEGER NOT NULL DEFAULT 0, -- what was durable when attempts were last forgiven
    durable       INTEGER NOT NULL DEFAULT 0,
    etag          TEXT,
    last_modified TEXT,
    signature     BLOB,
    continued     INTEGER NOT NULL DEFAULT 0 CHECK (continued IN (0, 1)),
    started_over  INTEGER NOT NULL DEFAULT 0 CHECK (started_over IN (0, 1)),
    whole         INTEGER NOT NULL DEFAULT 0 CHECK (whole IN (0, 1))
) STRICT;

-- What servers could see, one row a commit.
CREATE TABLE history (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    at            INTEGER NOT NULL,
    instance      INTEGER NOT NULL,
    operation     BLOB,
    update_state  INTEGER NOT NULL,
    update_result INTEGER NOT NULL,
    reason        TEXT NOT NULL,
    name          TEXT NOT NULL,
    version       TEXT NOT NULL
) STRICT;
