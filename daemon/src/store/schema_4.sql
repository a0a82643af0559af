-- The fourth schema: a pull or push ends with the verdict on its package. Until then an instance in DOWNLOADED has its
-- operation, which older schemas had recorded as done.
-- An operation that is done may be forgotten already: it is written again from what is left of it.
INSERT OR IGNORE INTO operation (id, kind, origin, origin_id, accepted_at, phase)
SELECT effect.operation,
    iif(EXISTS (SELECT 1 FROM download WHERE download.stage = effect.stage AND whole = 1), 'pull', 'push'),
    'server',
    1,
    coalesce((SELECT min(at) FROM history WHERE history.operation = effect.operation), 0),
    'verify'
FROM effect JOIN instance ON instance.stage = effect.stage
WHERE effect.kind = 'seal' AND update_state = 2;
UPDATE operation SET phase = 'verify' WHERE id IN (
    SELECT effect.operation FROM effect JOIN instance ON instance.stage = effect.stage
    WHERE effect.kind = 'seal' AND update_state = 2
);
UPDATE instance SET operation = (
    SELECT operation.id FROM effect JOIN operation ON operation.id = effect.operation
    WHERE effect.kind = 'seal' AND effect.stage = instance.stage
) WHERE update_state = 2;
INSERT OR IGNORE INTO step (operation, ordinal, instance, action, state)
SELECT operation.id, 0, instance.id, kind, 'running'
FROM operation JOIN instance ON instance.operation = operation.id
WHERE update_state = 2;
UPDATE step SET state = 'running', outcome = NULL WHERE operation IN (
    SELECT id FROM operation WHERE phase = 'verify'
);
-- Without a seal no verdict ever comes.
INSERT INTO effect (instance, format, kind, stage)
SELECT id, 1, 'discard', stage FROM instance WHERE update_state = 2 AND operation IS NULL;
UPDATE instance SET update_state = 0, update_result = 57, stage = NULL,
    note = 'nothing asked for a verdict on the package: order it again'
WHERE update_state = 2 AND operation IS NULL;
ALTER TABLE operation ADD COLUMN package TEXT; -- what an Activate or Deactivate is about; of others history tells
