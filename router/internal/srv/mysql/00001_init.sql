-- +goose Up
CREATE TABLE sets (
	kind     VARCHAR(8) NOT NULL, -- rule or label
	id       VARCHAR(64) NOT NULL,
	service  VARCHAR(256) NOT NULL,
	version  VARCHAR(128) NOT NULL,
	weight   BIGINT NOT NULL,
	priority BIGINT NOT NULL,
	label    VARCHAR(64) NOT NULL, -- its key
	value    VARCHAR(256) NOT NULL,
	fallback INT NOT NULL,
	PRIMARY KEY (kind, id),
	INDEX sets_service (service)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE limits (
	service     VARCHAR(256) PRIMARY KEY,
	rate        DOUBLE NOT NULL,
	concurrency BIGINT NOT NULL,
	retry_ratio DOUBLE
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What every router-srv polls to learn of the writes of others. config-srv, which
-- may use the same database, has a table "changes".
CREATE TABLE router_changes (number BIGINT NOT NULL);
INSERT INTO router_changes (number) VALUES (0);
