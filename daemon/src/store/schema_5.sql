-- The fifth schema: a row of a server belongs to its account, which a Short Server ID names (TS Core 1.0 E.2). Until now
-- there was one server, with the Short Server ID 1.

-- A lifetime that the server wrote into its account, and the one that was configured then.
ALTER TABLE account RENAME TO old_account;
CREATE TABLE account (
    id                  INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 65534),
    configured_lifetime INTEGER NOT NULL,
    lifetime            INTEGER NOT NULL
) STRICT;
INSERT INTO account SELECT 1, configured_lifetime, lifetime FROM old_account;
DROP TABLE old_account;

-- One for an account at most; its Location-Path and its observations go with it.
ALTER TABLE registration RENAME TO old_registration;
CREATE TABLE registration (
    account         INTEGER PRIMARY KEY CHECK (account BETWEEN 1 AND 65534),
    server          TEXT NOT NULL, -- its URI as it was configured
    endpoint        TEXT NOT NULL,
    lwm2m_version   TEXT NOT NULL,
    message_ceiling INTEGER NOT NULL CHECK (message_ceiling BETWEEN 0 AND 65535),
    observe_ceiling INTEGER NOT NULL CHECK (observe_ceiling BETWEEN 0 AND 16777215)
) STRICT;
INSERT INTO registration
SELECT 1, server, endpoint, lwm2m_version, message_ceiling, observe_ceiling FROM old_registration;
DROP TABLE old_registration;

-- The Location-Path that the server assigned, by its segments.
ALTER TABLE location RENAME TO old_location;
CREATE TABLE location (
    ordinal INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES registration (account) ON DELETE CASCADE,
    segment BLOB NOT NULL
) STRICT;
INSERT INTO location SELECT ordinal, 1, segment FROM old_location;
DROP TABLE old_location;

ALTER TABLE observation RENAME TO old_observation;
CREATE TABLE observation (
    ordinal        INTEGER PRIMARY KEY,
    account        INTEGER NOT NULL REFERENCES registration (account) ON DELETE CASCADE,
    object         INTEGER NOT NULL CHECK (object BETWEEN 0 AND 65534),
    instance       INTEGER CHECK (instance BETWEEN 0 AND 65534),
    resource       INTEGER CHECK (resource BETWEEN 0 AND 65534),
    token          BLOB NOT NULL CHECK (length(token) <= 8),
    format         INTEGER NOT NULL CHECK (format BETWEEN 0 AND 65535),
    block_exponent INTEGER NOT NULL CHECK (block_exponent BETWEEN 0 AND 6),
    told           INTEGER NOT NULL, -- a digest of the value that the server has
    CHECK (instance IS NOT NULL OR resource IS NULL)
) STRICT;
INSERT INTO observation
SELECT ordinal, 1, object, instance, resource, token, format, block_exponent, told FROM old_observation;
DROP TABLE old_observation;

-- Messages that acted, with their answers, for as long as the server may repeat them.
ALTER TABLE answered RENAME TO old_answered;
CREATE TABLE answered (
    id         INTEGER PRIMARY KEY,
    account    INTEGER NOT NULL CHECK (account BETWEEN 1 AND 65534),
    message_id INTEGER NOT NULL CHECK (message_id BETWEEN 0 AND 65535),
    digest     INTEGER NOT NULL, -- of the whole message
    reply      BLOB NOT NULL, -- the datagram; empty where none answers it
    at         INTEGER NOT NULL -- seconds since 1970
) STRICT;
INSERT INTO answered SELECT id, 1, message_id, digest, reply, at FROM old_answered;
DROP TABLE old_answered;

-- The UDP port that the server knows wharfd by.
ALTER TABLE local_port RENAME TO old_local_port;
CREATE TABLE local_port (
    account INTEGER PRIMARY KEY CHECK (account BETWEEN 1 AND 65534),
    port    INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535)
) STRICT;
INSERT INTO local_port SELECT 1, port FROM old_local_port;
DROP TABLE old_local_port;

-- Whether a local user created the instance. It is not known of older ones, which count as the server's.
ALTER TABLE instance ADD COLUMN local INTEGER NOT NULL DEFAULT 0 CHECK (local IN (0, 1));

-- Who wants a job cancelled: a uid, until the installer has answered.
ALTER TABLE operation ADD COLUMN cancelled_by INTEGER;
