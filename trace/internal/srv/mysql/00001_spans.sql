-- +goose Up
-- Binary strings: names are compared byte by byte, trailing spaces included.
CREATE TABLE spans (
    trace_id    VARBINARY(32)  NOT NULL,
    id          VARBINARY(16)  NOT NULL,
    kind        TINYINT        NOT NULL,
    parent_id   VARBINARY(16)  NOT NULL,
    name        VARBINARY(256) NOT NULL,
    service     VARBINARY(256) NOT NULL,
    source      VARBINARY(256) NOT NULL,
    destination VARBINARY(256) NOT NULL,
    begun       BIGINT         NOT NULL,
    duration    BIGINT         NOT NULL,
    failed      TINYINT        NOT NULL,
    received    BIGINT         NOT NULL,
    data        MEDIUMBLOB     NOT NULL,
    PRIMARY KEY (trace_id, id, kind),
    KEY spans_parent (trace_id, parent_id),
    KEY spans_begun (begun),
    KEY spans_service (service, begun),
    KEY spans_name (name, begun),
    KEY spans_received (received)
) ENGINE = InnoDB;
CREATE TABLE tags (
    trace_id VARBINARY(32)  NOT NULL,
    id       VARBINARY(16)  NOT NULL,
    kind     TINYINT        NOT NULL,
    tag      VARBINARY(128) NOT NULL,
    value    VARBINARY(128) NOT NULL,
    PRIMARY KEY (trace_id, id, kind, tag, value),
    KEY tags_value (tag, value),
    FOREIGN KEY (trace_id, id, kind) REFERENCES spans (trace_id, id, kind) ON DELETE CASCADE
) ENGINE = InnoDB;
