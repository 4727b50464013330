-- Makes a file of format 3 of one of format 2.
ALTER TABLE reconciliation_audit ADD COLUMN compared TEXT NOT NULL DEFAULT 'changes';
ALTER TABLE reconciliation_audit ADD COLUMN all_since TEXT;
UPDATE reconciliation_audit SET compared = 'report' WHERE service NOT LIKE 'documents/%' AND service <> 'log';
