"""`xtrace info`."""

from __future__ import annotations

import json
import shutil


def test_json_has_what_scripts_rely_on(xtrace, recorded):
    answer = xtrace("info", recorded, "--json")
    facts = json.loads(answer.out)
    assert (answer.status, answer.err) == (0, "")
    assert facts["fingerprint"].startswith("xt1:sha256:")
    wanted = {key: facts[key] for key in ("status", "seed", "events", "steps", "nodes", "scenario")}
    assert wanted == {
        "status": "complete",
        "seed": 1,
        "events": 397,
        "steps": 101,
        "nodes": ["listener", "network", "talker"],
        "scenario": "talk",
    }
    assert facts["node_details"]["talker"] == {
        "type": "source",
        "implementation": "python_model",
        "artefacts": ["model.py"],
    }


def test_the_text_names_nodes_and_outcome(xtrace, recorded, failed):
    text = xtrace("info", recorded).out
    assert "status          complete\n" in text
    assert "  talker    source   python_model\n" in text
    assert "  network   network  direct\n" in text
    text = xtrace("info", failed).out
    assert "status          failed\n" in text
    assert "failure         NodeCrashed: node 'talker', step 11, virtual time 0.010000s: " in text
    assert "out of \\x1b[31mwords" in text


def test_the_event_log_is_not_read(xtrace, recorded, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(recorded, copy)
    log = copy / "events.arrow"
    log.write_bytes(bytes(log.stat().st_size))
    assert xtrace("info", copy).status == 0


def test_a_changed_manifest_is_refused(xtrace, recorded, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(recorded, copy)
    manifest = copy / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"complete", b"CompletE"))
    answer = xtrace("info", copy)
    assert (answer.status, answer.out) == (2, "")
    assert "manifest.json: offset" in answer.err
