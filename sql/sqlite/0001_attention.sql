-- SPDX-License-Identifier: Apache-2.0
--
-- Who looked at what, and when. Users and items have the caller's ids, and numbers from 0 in the order
-- in which they were first named; everything else works with the numbers.
CREATE TABLE user (
    number INTEGER PRIMARY KEY CHECK (number >= 0),
    id     TEXT    NOT NULL UNIQUE
) STRICT;

CREATE TABLE item (
    number     INTEGER PRIMARY KEY CHECK (number >= 0),
    id         TEXT    NOT NULL UNIQUE,
    title      TEXT,
    text       TEXT,
    tags       TEXT,                        -- a JSON array of texts
    author     TEXT,
    url        TEXT,
    created_ms INTEGER NOT NULL DEFAULT 0,  -- milliseconds since 1970 UTC, as everywhere; 0: not known
    expires_ms INTEGER NOT NULL DEFAULT 0,  -- 0: never
    hidden     INTEGER NOT NULL DEFAULT 0 CHECK (hidden IN (0, 1))
) STRICT;

-- What an item is made of, as vectors: of its image, its sound, whatever the caller measures.
CREATE TABLE item_feature (
    item   INTEGER NOT NULL REFERENCES item (number),
    name   TEXT    NOT NULL,
    vector BLOB    NOT NULL,  -- float32, little-endian
    PRIMARY KEY (item, name)
) STRICT, WITHOUT ROWID;

-- One row is one fact. The key is its identity, so that putting it again changes nothing, and it is
-- also the order in which histories are read: one tree instead of a table and two indexes, which is
-- what makes imports fast. `seq` is the order of arrival and decides between equal times.
CREATE TABLE event (
    user     INTEGER NOT NULL REFERENCES user (number),
    ts_ms    INTEGER NOT NULL,            -- 0: only the order is known
    nth      INTEGER NOT NULL,            -- tells apart what would be equal otherwise
    item     INTEGER NOT NULL REFERENCES item (number),
    kind     INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 31),
    seq      INTEGER NOT NULL,
    dwell_ms INTEGER,
    value    REAL,
    id       TEXT,                        -- the caller's, where there is one: then it is the identity
    decision TEXT,                        -- of which decision this is an outcome
    position INTEGER,                     -- where in the page
    context  TEXT,                        -- JSON objects, as they came
    ext      TEXT,
    PRIMARY KEY (user, ts_ms, nth, item, kind)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX event_by_id ON event (id) WHERE id IS NOT NULL;

-- Which file is the model of a name now. Files are written by rename before they are named here.
CREATE TABLE model (
    name        TEXT    PRIMARY KEY,
    file        TEXT    NOT NULL,         -- under the data folder
    description TEXT    NOT NULL,         -- a JSON object: recipe, sizes, seed, quality
    made_ms     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Counts, kept in the transaction that changes them: counting a hundred million rows takes seconds.
CREATE TABLE total (
    only   INTEGER PRIMARY KEY CHECK (only = 1),
    events INTEGER NOT NULL,
    timed  INTEGER NOT NULL,  -- events whose time is known
    seq    INTEGER NOT NULL   -- the next event's
) STRICT;
INSERT INTO total (only, events, timed, seq) VALUES (1, 0, 0, 0);
