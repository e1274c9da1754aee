-- The closing steps, in which the end of a run drops what is under way: their drops have payloads that end in $undelivered.
SELECT DISTINCT side, step
FROM events
WHERE kind = 'drop' AND ends_with(hex(payload), $undelivered)
ORDER BY ALL
