-- +goose Up
CREATE TABLE transitions (
	id      BIGINT AUTO_INCREMENT PRIMARY KEY,
	at_ms   BIGINT NOT NULL,
	service VARCHAR(256) NOT NULL,
	node    VARCHAR(512) NOT NULL,
	item    VARCHAR(128) NOT NULL,
	was     VARCHAR(16) NOT NULL,
	became  VARCHAR(16) NOT NULL,
	detail  TEXT NOT NULL,
	INDEX transitions_at (at_ms),
	INDEX transitions_service (service, at_ms)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE nodes (
	node       VARCHAR(512) PRIMARY KEY,
	service    VARCHAR(256) NOT NULL,
	version    VARCHAR(128) NOT NULL,
	address    VARCHAR(256) NOT NULL,
	port       BIGINT NOT NULL,
	status     VARCHAR(16) NOT NULL,
	updated_ms BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
