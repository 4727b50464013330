-- Makes a file of format 4 of one of format 3. The MACs are written in the same transaction.
ALTER TABLE server ADD COLUMN integrity_key TEXT;
ALTER TABLE documents ADD COLUMN mac TEXT;
ALTER TABLE snapshots ADD COLUMN mac TEXT;
ALTER TABLE idempotency_keys ADD COLUMN mac TEXT;
ALTER TABLE games ADD COLUMN mac TEXT;
ALTER TABLE seats ADD COLUMN mac TEXT;
ALTER TABLE reconnect_tokens ADD COLUMN mac TEXT;
ALTER TABLE subscriptions ADD COLUMN mac TEXT;
ALTER TABLE usage_counters ADD COLUMN mac TEXT;
ALTER TABLE moves ADD COLUMN mac TEXT;
ALTER TABLE rate_limit_users ADD COLUMN mac TEXT;
ALTER TABLE rate_limit_rules ADD COLUMN mac TEXT;
ALTER TABLE sessions ADD COLUMN mac TEXT;
