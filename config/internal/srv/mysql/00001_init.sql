-- +goose Up
CREATE TABLE revision (
	id  INT PRIMARY KEY,
	now BIGINT NOT NULL
);
INSERT INTO revision (id, now) VALUES (1, 0);

CREATE TABLE configs (
	id        VARCHAR(256) PRIMARY KEY,
	revision  BIGINT NOT NULL,
	there     BOOLEAN NOT NULL,
	data      MEDIUMTEXT NOT NULL,
	author    VARCHAR(256) NOT NULL,
	comment   VARCHAR(1024) NOT NULL,
	updated   BIGINT NOT NULL,
	candidate MEDIUMTEXT NOT NULL,
	rollout   TEXT NOT NULL,
	INDEX configs_revision (revision)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE changes (
	revision BIGINT PRIMARY KEY,
	id       VARCHAR(256) NOT NULL,
	path     TEXT NOT NULL,
	action   VARCHAR(16) NOT NULL,
	author   VARCHAR(256) NOT NULL,
	comment  VARCHAR(1024) NOT NULL,
	at       BIGINT NOT NULL,
	settled  BOOLEAN NOT NULL,
	there    BOOLEAN NOT NULL,
	data     MEDIUMTEXT NOT NULL,
	rollout  TEXT NOT NULL,
	INDEX changes_id (id, revision),
	INDEX changes_at (at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE namespaces (
	name   VARCHAR(64) PRIMARY KEY,
	parent VARCHAR(64) NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
