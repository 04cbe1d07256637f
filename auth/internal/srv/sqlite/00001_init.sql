-- +goose Up
CREATE TABLE feed (
	id        INTEGER PRIMARY KEY,
	revision  INTEGER NOT NULL,
	rules     INTEGER NOT NULL,
	signing   INTEGER NOT NULL,
	mark      TEXT NOT NULL,
	forgotten INTEGER NOT NULL
);
INSERT INTO feed (id, revision, rules, signing, mark, forgotten) VALUES (1, 0, 0, 0, '', 0);

CREATE TABLE settings (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
);

CREATE TABLE accounts (
	id            TEXT PRIMARY KEY,
	client_id     TEXT NOT NULL UNIQUE,
	type          TEXT NOT NULL,
	secret        TEXT NOT NULL,
	metadata      TEXT NOT NULL,
	scopes        TEXT NOT NULL,
	roles         TEXT NOT NULL,
	redirect_uris TEXT NOT NULL,
	disabled      INTEGER NOT NULL,
	created       INTEGER NOT NULL,
	updated       INTEGER NOT NULL,
	valid_from    INTEGER NOT NULL
);

CREATE TABLE rules (
	id       TEXT PRIMARY KEY,
	rule     TEXT NOT NULL,
	revision INTEGER NOT NULL
);

CREATE INDEX rules_revision ON rules (revision);

CREATE TABLE rule_changes (
	revision   INTEGER NOT NULL,
	id         TEXT NOT NULL,
	was        TEXT NOT NULL,
	mark       TEXT NOT NULL,
	changed_at INTEGER NOT NULL,
	PRIMARY KEY (revision, id)
);

CREATE TABLE revocations (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	jti        TEXT NOT NULL,
	sid        TEXT NOT NULL,
	account    TEXT NOT NULL,
	before_s   INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	revision   INTEGER NOT NULL
);
CREATE INDEX revocations_revision ON revocations (revision);
CREATE INDEX revocations_expires ON revocations (expires_at);

CREATE TABLE signing_keys (
	slot        INTEGER PRIMARY KEY,
	kid         TEXT NOT NULL UNIQUE,
	private_key TEXT NOT NULL,
	starts_ms   INTEGER NOT NULL
);

CREATE TABLE grants (
	sid        TEXT PRIMARY KEY,
	account    TEXT NOT NULL,
	client     TEXT NOT NULL,
	scopes     TEXT NOT NULL,
	created    INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	revoked    INTEGER NOT NULL
);
CREATE INDEX grants_client ON grants (client);
CREATE INDEX grants_expires ON grants (expires_at);

CREATE TABLE codes (
	hash         TEXT PRIMARY KEY,
	sid          TEXT NOT NULL,
	redirect_uri TEXT NOT NULL,
	challenge    TEXT NOT NULL,
	nonce        TEXT NOT NULL,
	expires_at   INTEGER NOT NULL,
	redeemed     INTEGER NOT NULL
);
CREATE INDEX codes_expires ON codes (expires_at);

CREATE TABLE refresh_tokens (
	hash       TEXT PRIMARY KEY,
	sid        TEXT NOT NULL,
	expires_at INTEGER NOT NULL,
	used_ms    INTEGER NOT NULL
);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires_at);

CREATE TABLE proven (
	place TEXT PRIMARY KEY,
	seen  INTEGER NOT NULL
);
CREATE INDEX proven_seen ON proven (seen);

CREATE TABLE decisions (
	instance TEXT NOT NULL,
	reporter TEXT NOT NULL,
	body     BLOB NOT NULL,
	updated  INTEGER NOT NULL,
	PRIMARY KEY (instance, reporter)
);
