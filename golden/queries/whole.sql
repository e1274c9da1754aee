-- The last step of trace $side of which every output is there.
SELECT max(step)
FROM steps
WHERE side = $side AND is_whole
