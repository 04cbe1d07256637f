-- +goose Up
-- Binary strings: names are compared byte by byte, trailing spaces included.
CREATE TABLE log (
    one     TINYINT       NOT NULL PRIMARY KEY CHECK (one = 1),
    id      VARBINARY(64) NOT NULL,
    epoch   BIGINT        NOT NULL,
    commits BIGINT        NOT NULL,
    last    BIGINT        NOT NULL,
    expired BIGINT        NOT NULL,
    bytes   BIGINT        NOT NULL
) ENGINE = InnoDB;
CREATE TABLE records (
    sequence BIGINT         NOT NULL PRIMARY KEY,
    id       VARBINARY(512) NOT NULL,
    type     VARBINARY(512) NOT NULL,
    occurred BIGINT         NOT NULL,
    appended BIGINT         NOT NULL,
    crc      BIGINT         NOT NULL,
    data     MEDIUMBLOB     NOT NULL,
    KEY records_id (id),
    KEY records_type (type, sequence),
    KEY records_occurred (occurred)
) ENGINE = InnoDB;
CREATE TABLE subscriptions (
    name  VARBINARY(128) NOT NULL PRIMARY KEY,
    state MEDIUMBLOB     NOT NULL
) ENGINE = InnoDB;
