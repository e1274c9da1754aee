#!/bin/sh
# The main job, step by step: `make demo`. Needs `xtrace` on the path; everything goes into the folder demo/.
set -eu

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

say() {
    printf '\n# %s\n' "$*"
}

rm -rf demo/first demo/second demo/changed

say "Record a machine that is watched: sensors, a lossy network, a gateway, an edge node with an ONNX model, a cloud."
run xtrace record machine_monitoring -o demo/first

say "Run the edge node again, alone, fed from the recording: it must behave exactly as before."
run xtrace replay demo/first --node edge

say "Record once more: the same scenario gives the same run."
run xtrace record machine_monitoring -o demo/second
run xtrace diff demo/first demo/second

say "Change one thing, the seed, and ask where the runs part."
run xtrace record machine_monitoring --seed 7 -o demo/changed
status=0
run xtrace diff demo/first demo/changed || status=$?
if [ "$status" -ne 1 ]; then
    echo "demo: expected the two runs to differ (exit status 1), got exit status $status" >&2
    exit 1
fi

say "They differ, as they should: exit status 1. The recordings are in demo/; try: xtrace info demo/first"
