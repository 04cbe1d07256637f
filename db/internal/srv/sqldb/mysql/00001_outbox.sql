-- +goose Up
CREATE TABLE micro_db_outbox (
    seq      BIGINT          NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id       VARBINARY(64)   NOT NULL,
    tbl      VARBINARY(64)   NOT NULL,
    record   VARBINARY(255)  NOT NULL,
    action   VARBINARY(16)   NOT NULL,
    etag     VARBINARY(64)   NOT NULL,
    happened BIGINT          NOT NULL,
    metadata MEDIUMBLOB      NOT NULL
) ENGINE = InnoDB;
