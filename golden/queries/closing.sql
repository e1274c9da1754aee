-- Takes away the closing step of a trace, in which the end of the run drops what is under way: its drops have payloads that
-- end in $undelivered.
DELETE FROM events
WHERE (side, step) IN (
    SELECT (side, step) FROM events WHERE kind = 'drop' AND ends_with(hex(payload), $undelivered)
)
