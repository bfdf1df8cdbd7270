CREATE TABLE instances (
    id BLOB PRIMARY KEY NOT NULL,
    alive_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE claims (
    key TEXT PRIMARY KEY NOT NULL,
    network TEXT NOT NULL,
    request BLOB NOT NULL,
    terms BLOB NOT NULL,
    presented BLOB NOT NULL,
    offer TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('claimed', 'settling', 'settled', 'delivered')),
    holder BLOB,
    turn INTEGER NOT NULL,
    hash TEXT,
    settlement TEXT,
    keep_until INTEGER NOT NULL,
    CHECK ((state IN ('settled', 'delivered')) = (settlement IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_forgettable ON claims (keep_until) WHERE state IN ('claimed', 'delivered');

CREATE TABLE settlements (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    network TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('prepared', 'signed', 'broadcast', 'settled', 'failed')),
    request TEXT NOT NULL,
    hash TEXT,
    reason TEXT,
    message TEXT,
    created INTEGER NOT NULL,
    CHECK (state <> 'settled' OR hash IS NOT NULL),
    CHECK ((state = 'failed') = (reason IS NOT NULL))
) STRICT;
CREATE INDEX settlements_by_state ON settlements (network, state, id);

CREATE TABLE transactions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    settlement INTEGER NOT NULL REFERENCES settlements (id),
    network TEXT NOT NULL,
    signer TEXT NOT NULL COLLATE NOCASE,
    nonce INTEGER NOT NULL CHECK (nonce >= 0),
    hash TEXT NOT NULL,
    raw BLOB NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0,
    replaced INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    UNIQUE (network, hash)
) STRICT;
CREATE INDEX transactions_by_settlement ON transactions (settlement, id);
CREATE INDEX transactions_by_nonce ON transactions (network, signer, nonce);
CREATE UNIQUE INDEX transactions_latest_of_nonce ON transactions (network, signer, nonce)
    WHERE replaced = 0 AND rejected = 0;
CREATE UNIQUE INDEX transactions_latest_of_settlement ON transactions (settlement)
    WHERE replaced = 0 AND rejected = 0;
