-- +goose Up
-- Bytes, because a text holds no NUL.
CREATE TABLE spans (
    trace_id    BYTEA    NOT NULL,
    id          BYTEA    NOT NULL,
    kind        SMALLINT NOT NULL,
    parent_id   BYTEA    NOT NULL,
    name        BYTEA    NOT NULL,
    service     BYTEA    NOT NULL,
    source      BYTEA    NOT NULL,
    destination BYTEA    NOT NULL,
    begun       BIGINT   NOT NULL,
    duration    BIGINT   NOT NULL,
    failed      SMALLINT NOT NULL,
    received    BIGINT   NOT NULL,
    data        BYTEA    NOT NULL,
    PRIMARY KEY (trace_id, id, kind)
);
CREATE INDEX spans_parent ON spans (trace_id, parent_id);
CREATE INDEX spans_begun ON spans (begun);
CREATE INDEX spans_service ON spans (service, begun);
CREATE INDEX spans_name ON spans (name, begun);
CREATE INDEX spans_received ON spans (received);
CREATE TABLE tags (
    trace_id BYTEA    NOT NULL,
    id       BYTEA    NOT NULL,
    kind     SMALLINT NOT NULL,
    tag      BYTEA    NOT NULL,
    value    BYTEA    NOT NULL,
    PRIMARY KEY (trace_id, id, kind, tag, value),
    FOREIGN KEY (trace_id, id, kind) REFERENCES spans (trace_id, id, kind) ON DELETE CASCADE
);
CREATE INDEX tags_value ON tags (tag, value);
