-- +goose Up
CREATE TABLE spans (
    trace_id    TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    kind        INTEGER NOT NULL,
    parent_id   TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    service     TEXT    NOT NULL,
    source      TEXT    NOT NULL,
    destination TEXT    NOT NULL,
    begun       INTEGER NOT NULL,
    duration    INTEGER NOT NULL,
    failed      INTEGER NOT NULL,
    received    INTEGER NOT NULL,
    data        BLOB    NOT NULL,
    PRIMARY KEY (trace_id, id, kind)
);
CREATE INDEX spans_parent ON spans (trace_id, parent_id);
CREATE INDEX spans_begun ON spans (begun);
CREATE INDEX spans_service ON spans (service, begun);
CREATE INDEX spans_name ON spans (name, begun);
CREATE INDEX spans_received ON spans (received);

CREATE TABLE tags (
    trace_id TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    kind     INTEGER NOT NULL,
    tag      TEXT    NOT NULL,
    value    TEXT    NOT NULL,
    PRIMARY KEY (trace_id, id, kind, tag, value),
    FOREIGN KEY (trace_id, id, kind) REFERENCES spans (trace_id, id, kind) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX tags_value ON tags (tag, value);
