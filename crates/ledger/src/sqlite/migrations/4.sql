ALTER TABLE settlements ADD COLUMN asker BLOB;
ALTER TABLE claims ADD COLUMN idempotency_key TEXT;
