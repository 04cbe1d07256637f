-- +goose Up
CREATE TABLE micro_db_outbox (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT    NOT NULL,
    tbl      TEXT    NOT NULL,
    record   TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    etag     TEXT    NOT NULL,
    happened INTEGER NOT NULL,
    metadata BLOB    NOT NULL
);
