-- +goose Up
CREATE TABLE feed (
	id        BIGINT PRIMARY KEY,
	revision  BIGINT NOT NULL,
	rules     BIGINT NOT NULL,
	signing   BIGINT NOT NULL,
	mark      VARCHAR(32) NOT NULL,
	forgotten BIGINT NOT NULL
);
INSERT INTO feed (id, revision, rules, signing, mark, forgotten) VALUES (1, 0, 0, 0, '', 0);

CREATE TABLE settings (
	name  VARCHAR(64) PRIMARY KEY,
	value TEXT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE accounts (
	id            VARCHAR(128) PRIMARY KEY,
	client_id     VARCHAR(128) NOT NULL UNIQUE,
	type          VARCHAR(16) NOT NULL,
	secret        VARCHAR(256) NOT NULL,
	metadata      TEXT NOT NULL,
	scopes        TEXT NOT NULL,
	roles         TEXT NOT NULL,
	redirect_uris TEXT NOT NULL,
	disabled      BIGINT NOT NULL,
	created       BIGINT NOT NULL,
	updated       BIGINT NOT NULL,
	valid_from    BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE rules (
	id       VARCHAR(128) PRIMARY KEY,
	rule     MEDIUMTEXT NOT NULL,
	revision BIGINT NOT NULL,
	INDEX rules_revision (revision)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE rule_changes (
	revision   BIGINT NOT NULL,
	id         VARCHAR(128) NOT NULL,
	was        MEDIUMTEXT NOT NULL,
	mark       VARCHAR(32) NOT NULL,
	changed_at BIGINT NOT NULL,
	PRIMARY KEY (revision, id)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE revocations (
	id         BIGINT AUTO_INCREMENT PRIMARY KEY,
	jti        VARCHAR(64) NOT NULL,
	sid        VARCHAR(64) NOT NULL,
	account    VARCHAR(128) NOT NULL,
	before_s   BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	revision   BIGINT NOT NULL,
	INDEX revocations_revision (revision),
	INDEX revocations_expires (expires_at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE signing_keys (
	slot        BIGINT PRIMARY KEY,
	kid         VARCHAR(64) NOT NULL UNIQUE,
	private_key TEXT NOT NULL,
	starts_ms   BIGINT NOT NULL
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE grants (
	sid        VARCHAR(64) PRIMARY KEY,
	account    VARCHAR(128) NOT NULL,
	client     VARCHAR(128) NOT NULL,
	scopes     TEXT NOT NULL,
	created    BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	revoked    BIGINT NOT NULL,
	INDEX grants_client (client),
	INDEX grants_expires (expires_at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE codes (
	hash         VARCHAR(64) PRIMARY KEY,
	sid          VARCHAR(64) NOT NULL,
	redirect_uri TEXT NOT NULL,
	challenge    VARCHAR(64) NOT NULL,
	nonce        VARCHAR(256) NOT NULL,
	expires_at   BIGINT NOT NULL,
	redeemed     BIGINT NOT NULL,
	INDEX codes_expires (expires_at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE refresh_tokens (
	hash       VARCHAR(64) PRIMARY KEY,
	sid        VARCHAR(64) NOT NULL,
	expires_at BIGINT NOT NULL,
	used_ms    BIGINT NOT NULL,
	INDEX refresh_tokens_expires (expires_at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE proven (
	place VARCHAR(64) PRIMARY KEY,
	seen  BIGINT NOT NULL,
	INDEX proven_seen (seen)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE decisions (
	instance VARCHAR(64) NOT NULL,
	reporter VARCHAR(128) NOT NULL,
	body     MEDIUMBLOB NOT NULL,
	updated  BIGINT NOT NULL,
	PRIMARY KEY (instance, reporter)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
