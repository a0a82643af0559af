-- The sixth schema: the steps of an operation are the transaction that the installer performs.
ALTER TABLE step ADD COLUMN stage BLOB CHECK (length(stage) = 16); -- the file of an install
ALTER TABLE step ADD COLUMN package TEXT; -- the package of any other action of the installer

-- An effect for the installer had the target of its action, and an action had an effect of its own.
UPDATE step SET package = operation.package FROM operation WHERE operation.id = step.operation;
UPDATE step SET stage = effect.stage, package = effect.package FROM effect
WHERE effect.operation = step.operation AND effect.kind IN ('install', 'remove', 'purge', 'activate', 'deactivate');
UPDATE effect SET kind = 'perform', stage = NULL
WHERE kind IN ('install', 'remove', 'purge', 'activate', 'deactivate');
ALTER TABLE effect DROP COLUMN package;

-- The state of a step says the same as the phase, and nothing ever set a deadline.
ALTER TABLE operation DROP COLUMN package;
ALTER TABLE operation DROP COLUMN phase;
ALTER TABLE operation DROP COLUMN deadline;
CREATE VIEW ended_operation AS SELECT * FROM operation
WHERE NOT EXISTS (SELECT 1 FROM step WHERE step.operation = operation.id AND state IN ('queued', 'running'));
