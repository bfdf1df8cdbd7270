ALTER TABLE settlements ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
ALTER TABLE settlements ADD COLUMN claim BLOB;
CREATE UNIQUE INDEX settlements_claimed ON settlements (network, claim)
    WHERE claim IS NOT NULL AND state <> 'failed';
