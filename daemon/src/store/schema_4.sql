-- The fourth schema: a pull or push ends with the verdict on its package. Until then an instance in DOWNLOADED has its
-- operation, which older schemas had recorded as done.
UPDATE operation SET phase = 'verify' WHERE id IN (
    SELECT effect.operation FROM effect JOIN instance ON instance.stage = effect.stage
    WHERE effect.kind = 'seal' AND update_state = 2
);
UPDATE step SET state = 'running', outcome = NULL WHERE operation IN (
    SELECT id FROM operation WHERE phase = 'verify'
);
UPDATE instance SET operation = (
    SELECT effect.operation FROM effect WHERE effect.kind = 'seal' AND effect.stage = instance.stage
) WHERE update_state = 2;
