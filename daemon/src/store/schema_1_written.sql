PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE factory (
    made INTEGER PRIMARY KEY CHECK (made = 1)
) STRICT;
INSERT INTO factory VALUES(1);
CREATE TABLE account (
    id                  INTEGER PRIMARY KEY CHECK (id = 1),
    configured_lifetime INTEGER NOT NULL,
    lifetime            INTEGER NOT NULL
) STRICT;
INSERT INTO account VALUES(1,86400,300);
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
INSERT INTO operation VALUES(1,X'01010101010101010101010101010101','pull','server',1,NULL,1800000000,'act');
CREATE TABLE step (
    operation BLOB NOT NULL REFERENCES operation (id) ON DELETE CASCADE,
    ordinal   INTEGER NOT NULL,
    instance  INTEGER NOT NULL,
    action    TEXT NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed')),
    outcome   TEXT,
    PRIMARY KEY (operation, ordinal)
) STRICT;
INSERT INTO step VALUES(X'01010101010101010101010101010101',0,0,'pull','running',NULL);
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
INSERT INTO instance VALUES(0,1,1,NULL,NULL,NULL,NULL,X'02020202020202020202020202020202',NULL,NULL,NULL,NULL,NULL,X'687474703a2f2f6f726967696e2f702e6465623f746f6b656e3d733363726574',X'01010101010101010101010101010101','running',0,65535,65535,X'67617465776179',X'636f727265637420686f727365206261747465727920737461706c65');
INSERT INTO instance VALUES(1,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,65535,65535,NULL,NULL);
CREATE TABLE effect (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    instance  INTEGER NOT NULL,
    format    INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    operation BLOB,
    stage     BLOB,
    package   TEXT
) STRICT;
INSERT INTO effect VALUES(2,0,1,'start-pull',X'01010101010101010101010101010101',X'02020202020202020202020202020202',NULL);
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
INSERT INTO download VALUES(X'02020202020202020202020202020202',1,8388608,8388608,'"v1"',NULL,NULL,0,0,0);
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
INSERT INTO history VALUES(1,1800000000,0,X'01010101010101010101010101010101',1,1,'10: waiting for the first byte','','');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('operation',1);
INSERT INTO sqlite_sequence VALUES('history',1);
INSERT INTO sqlite_sequence VALUES('effect',2);
COMMIT;
