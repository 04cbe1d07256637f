-- +goose Up
CREATE TABLE log (
    one     INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    id      TEXT    NOT NULL,
    epoch   INTEGER NOT NULL, -- of the process that may write
    commits INTEGER NOT NULL,
    last    INTEGER NOT NULL, -- sequence that was given
    expired INTEGER NOT NULL, -- up to here retention has removed records
    bytes   INTEGER NOT NULL  -- of all records
);
CREATE TABLE records (
    sequence INTEGER NOT NULL PRIMARY KEY,
    id       TEXT    NOT NULL,
    type     TEXT    NOT NULL,
    occurred INTEGER NOT NULL, -- unix nanoseconds, as below
    appended INTEGER NOT NULL,
    crc      INTEGER NOT NULL, -- of data
    data     BLOB    NOT NULL
);
CREATE INDEX records_id ON records (id);
CREATE INDEX records_type ON records (type, sequence);
CREATE INDEX records_occurred ON records (occurred);
CREATE TABLE subscriptions (
    name  TEXT NOT NULL PRIMARY KEY,
    state BLOB NOT NULL
) WITHOUT ROWID;
