-- The second schema: what is wrong with the software in place, and what outlives wharfd of its registration and of its
-- exchanges with the server.
ALTER TABLE instance ADD COLUMN in_place_damage TEXT -- in the package manager's words
    CHECK (in_place_damage IS NULL OR in_place_name IS NOT NULL);

-- One at most.
CREATE TABLE registration (
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    server          TEXT NOT NULL, -- its URI as it was configured
    endpoint        TEXT NOT NULL,
    lwm2m_version   TEXT NOT NULL,
    message_ceiling INTEGER NOT NULL CHECK (message_ceiling BETWEEN 0 AND 65535),
    observe_ceiling INTEGER NOT NULL CHECK (observe_ceiling BETWEEN 0 AND 16777215)
) STRICT;

-- The Location-Path that the server assigned, by its segments.
CREATE TABLE location (
    ordinal INTEGER PRIMARY KEY,
    segment BLOB NOT NULL
) STRICT;

CREATE TABLE observation (
    ordinal        INTEGER PRIMARY KEY,
    object         INTEGER NOT NULL CHECK (object BETWEEN 0 AND 65534),
    instance       INTEGER CHECK (instance BETWEEN 0 AND 65534),
    resource       INTEGER CHECK (resource BETWEEN 0 AND 65534),
    token          BLOB NOT NULL CHECK (length(token) <= 8),
    format         INTEGER NOT NULL CHECK (format BETWEEN 0 AND 65535),
    block_exponent INTEGER NOT NULL CHECK (block_exponent BETWEEN 0 AND 6),
    told           INTEGER NOT NULL, -- a digest of the value that the server has
    CHECK (instance IS NOT NULL OR resource IS NULL)
) STRICT;

-- Messages of the server that acted, with their answers, for as long as it may repeat them.
CREATE TABLE answered (
    id         INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL CHECK (message_id BETWEEN 0 AND 65535),
    digest     INTEGER NOT NULL, -- of the whole message
    reply      BLOB NOT NULL, -- the datagram; empty where none answers it
    at         INTEGER NOT NULL -- seconds since 1970
) STRICT;

-- The UDP port that the server knows wharfd by.
CREATE TABLE local_port (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535)
) STRICT;
