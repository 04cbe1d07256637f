-- +goose Up
CREATE TABLE decisions (
	instance VARCHAR(64) NOT NULL,
	reporter VARCHAR(128) NOT NULL,
	body     MEDIUMBLOB NOT NULL,
	updated  BIGINT NOT NULL,
	PRIMARY KEY (instance, reporter)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
