ALTER TABLE settlements RENAME TO settlements_1;
ALTER TABLE transactions RENAME TO transactions_1;

CREATE TABLE transactions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    network TEXT NOT NULL,
    signer TEXT NOT NULL COLLATE NOCASE,
    nonce INTEGER NOT NULL CHECK (nonce >= 0),
    hash TEXT NOT NULL,
    raw BLOB NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0,
    replaced INTEGER NOT NULL DEFAULT 0,
    members INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    bid INTEGER NOT NULL,
    counted INTEGER NOT NULL,
    block INTEGER,
    fee INTEGER,
    UNIQUE (network, hash),
    CHECK ((block IS NULL) = (fee IS NULL))
) STRICT;

CREATE TABLE settlements (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    network TEXT NOT NULL,
    payer TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('prepared', 'signed', 'broadcast', 'settled', 'failed')),
    holder BLOB,
    request TEXT NOT NULL,
    latest INTEGER REFERENCES transactions (id),
    hash TEXT,
    block INTEGER,
    is_final INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    message TEXT,
    reverts INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL,
    ended INTEGER,
    CHECK (state <> 'settled' OR hash IS NOT NULL),
    CHECK ((state = 'failed') = (reason IS NOT NULL)),
    CHECK (block IS NULL OR state = 'settled'),
    CHECK (state = 'settled' OR is_final = (state = 'failed')),
    CHECK (state NOT IN ('settled', 'failed') OR holder IS NULL)
) STRICT;

CREATE TABLE carried (
    carrier INTEGER NOT NULL REFERENCES transactions (id),
    place INTEGER NOT NULL,
    settlement INTEGER NOT NULL REFERENCES settlements (id),
    reverted INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (carrier, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    network TEXT NOT NULL,
    signer TEXT NOT NULL COLLATE NOCASE,
    holder BLOB,
    turn INTEGER NOT NULL,
    PRIMARY KEY (network, signer)
) STRICT, WITHOUT ROWID;

CREATE TABLE gas (
    network TEXT NOT NULL,
    hour INTEGER NOT NULL,
    gwei INTEGER NOT NULL,
    PRIMARY KEY (network, hour)
) STRICT, WITHOUT ROWID;

INSERT INTO transactions (id, network, signer, nonce, hash, raw, sent, replaced, members, hour, bid, counted)
SELECT t.id, t.network, t.signer, t.nonce, t.hash, t.raw, t.sent,
       EXISTS (SELECT 1 FROM transactions_1 o WHERE o.network = t.network AND o.signer = t.signer
               AND o.nonce = t.nonce AND o.rejected = 0 AND o.id > t.id),
       1, 0, 0, 0
FROM transactions_1 t WHERE t.rejected = 0;
INSERT INTO settlements (id, key, network, payer, state, request, latest, hash, is_final, reason, message, created)
SELECT s.id, s.key, s.network,
       lower(coalesce(s.request ->> '$.paymentPayload.payload.authorization.from', '')), s.state, s.request,
       (SELECT max(t.id) FROM transactions_1 t WHERE t.settlement = s.id AND t.rejected = 0), s.hash,
       s.state IN ('settled', 'failed'), s.reason, s.message, s.created
FROM settlements_1 s;
INSERT INTO carried (carrier, place, settlement)
SELECT id, 0, settlement FROM transactions_1 WHERE rejected = 0;
DROP TABLE transactions_1;
DROP TABLE settlements_1;

CREATE INDEX settlements_unfinished ON settlements (network, id)
    WHERE state IN ('prepared', 'signed', 'broadcast');
CREATE INDEX settlements_not_final ON settlements (network, block) WHERE state = 'settled' AND is_final = 0;
CREATE INDEX settlements_by_time ON settlements (created);
CREATE INDEX settlements_reverted ON settlements (network, payer, created) WHERE reverts > 0;
CREATE INDEX transactions_by_nonce ON transactions (network, signer, nonce);
CREATE UNIQUE INDEX transactions_latest ON transactions (network, signer, nonce) WHERE replaced = 0;
CREATE UNIQUE INDEX carried_by_settlement ON carried (settlement, carrier);
