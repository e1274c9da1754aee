-- The last step of which every output of trace $side is there: it ended, or it was the network that failed in it.
SELECT max(step)
FROM events
WHERE side = $side AND (kind = 'step' OR (kind = 'abort' AND node = 'network'))
