-- +goose Up
-- Bytes, because a text holds no NUL.
CREATE TABLE log (
    one     SMALLINT NOT NULL PRIMARY KEY CHECK (one = 1),
    id      BYTEA    NOT NULL,
    epoch   BIGINT   NOT NULL,
    commits BIGINT   NOT NULL,
    last    BIGINT   NOT NULL,
    expired BIGINT   NOT NULL,
    bytes   BIGINT   NOT NULL
);
CREATE TABLE records (
    sequence BIGINT   NOT NULL PRIMARY KEY,
    id       BYTEA    NOT NULL,
    type     BYTEA    NOT NULL,
    occurred BIGINT   NOT NULL,
    appended BIGINT   NOT NULL,
    crc      BIGINT   NOT NULL,
    data     BYTEA    NOT NULL
);
CREATE INDEX records_id ON records (id);
CREATE INDEX records_type ON records (type, sequence);
CREATE INDEX records_occurred ON records (occurred);
CREATE TABLE subscriptions (
    name  BYTEA    NOT NULL PRIMARY KEY,
    state BYTEA    NOT NULL
);
