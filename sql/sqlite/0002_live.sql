-- SPDX-License-Identifier: Apache-2.0
--
-- What a store needs to be served from: what users say of themselves, what has changed since somebody
-- looked, who may ask, and who did what.

-- consent is a set of bits: 1 learn, 2 personalise, 4 sell. Nobody is sold who has not said so.
-- A user who was erased keeps the number, so that numbers stay dense, under an id that nobody can have.
ALTER TABLE user ADD COLUMN attributes TEXT;                     -- a JSON object
ALTER TABLE user ADD COLUMN consent INTEGER NOT NULL DEFAULT 3;

-- Whom or what a user follows, or never wants to see.
CREATE TABLE user_mark (
    user INTEGER NOT NULL REFERENCES user (number),
    mark TEXT    NOT NULL CHECK (mark IN ('block', 'follow')),
    what TEXT    NOT NULL CHECK (what IN ('item', 'author', 'tag')),
    name TEXT    NOT NULL,
    PRIMARY KEY (user, mark, what, name)
) STRICT, WITHOUT ROWID;

-- Go up with each transaction that changes an item, or that takes something from a user (an erasure, a
-- withdrawn consent): what was read before is stale then. New events change neither.
ALTER TABLE total ADD COLUMN item_changes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE total ADD COLUMN user_changes INTEGER NOT NULL DEFAULT 0;

-- What could be computed from the events again and would take long: one number an item, float64,
-- little-endian, as of the event before `seq`.
CREATE TABLE summary (
    name   TEXT    PRIMARY KEY,
    seq    INTEGER NOT NULL,
    at_ms  INTEGER NOT NULL,
    vector BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

-- Keys of programs that ask over the network. The key itself is kept nowhere, only its hash.
CREATE TABLE api_key (
    number     INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    role       TEXT    NOT NULL CHECK (role IN ('ingest', 'serve', 'advertiser', 'operator')),
    account    TEXT,                      -- the advertiser's
    hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    per_second INTEGER NOT NULL DEFAULT 0 CHECK (per_second >= 0),  -- requests; 0: the server's own limit
    per_day    INTEGER NOT NULL DEFAULT 0 CHECK (per_day >= 0),     -- 0: no quota
    made_ms    INTEGER NOT NULL,
    revoked_ms INTEGER NOT NULL DEFAULT 0 -- 0: in use
) STRICT;

-- What operators did. Rows are only added.
CREATE TABLE audit (
    number  INTEGER PRIMARY KEY,
    at_ms   INTEGER NOT NULL,
    who     TEXT    NOT NULL,             -- a key's name, or "local"
    action  TEXT    NOT NULL,
    subject TEXT    NOT NULL              -- never a secret
) STRICT;
CREATE TRIGGER audit_keeps BEFORE UPDATE ON audit
BEGIN SELECT raise(ABORT, 'the audit log is never changed'); END;
