"""What a `process` node is given: its command, environment, files, and what is refused before it starts."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from xtrace.bridges.process import ProcessNode
from xtrace.engine.errors import InputError, NodeCrashed
from xtrace.engine.event import Output
from xtrace.engine.node import Setup, Workspace

NODES = Path(__file__).parent / "nodes"


def started(node: ProcessNode) -> ProcessNode:
    node.init(Setup("edge", "test", 1, {}))
    return node


@pytest.mark.parametrize(("transport", "placeholder"), [("unix", "{socket}"), ("tcp", "{address}")])
def test_the_address_is_an_argument_too(make, tmp_path, transport, placeholder):
    code = "import os, sys; print(sys.argv[1] == '--at=' + os.environ[sys.argv[2]], file=sys.stderr)"
    name = {"unix": "XTRACE_SOCKET", "tcp": "XTRACE_ADDRESS"}[transport]
    with pytest.raises(NodeCrashed, match="it ended with exit status 0"):
        started(make("{python}", "-c", code, f"--at={placeholder}", name, transport=transport))
    assert (tmp_path / "logs" / "edge.log").read_text() == "True\n"


def test_the_scenario_may_lie_at_a_relative_path(make, tmp_path, monkeypatch):
    monkeypatch.chdir(NODES.parent)
    node = started(make("./counter.sh", workspace=Workspace(Path("nodes"), logs=tmp_path)))
    assert node.advance(0, 1000, []).outputs == [Output(0, "", "count", 1, None)]


def test_the_environment_is_clean(make, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "42")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    code = "import os, sys; print(sorted(os.environ), os.getcwd(), os.getsid(0) == os.getpid(), file=sys.stderr)"
    with pytest.raises(NodeCrashed):
        started(make("{python}", "-c", code, env={"PORT": 80}))
    log = (tmp_path / "logs" / "edge.log").read_text()
    assert "SECRET" not in log
    assert "'LANG', 'PATH', 'PORT', 'PYTHONDONTWRITEBYTECODE', 'PYTHONHASHSEED'" in log
    assert f"{NODES} True" in log


@pytest.mark.parametrize(
    ("command", "options", "complaint"),
    [
        (["pythn3", "x.py"], {}, "no program 'pythn3' on the PATH"),
        (["./ecko.py"], {}, "'./ecko.py' does not exist in .*; did you mean 'echo.py'?"),
        (["counter.sh"], {}, "did you mean './counter.sh'?"),
        (["./echo.py"], {}, "'./echo.py' is not executable: chmod [+]x it, or name its interpreter before it"),
        (["{python}", "{socket}"], {}, "has {socket}, which needs transport: unix, not stdio"),
        (
            ["{python}", "echo.py"],
            {"files": ["a", "b", "echo.py"]},
            "edge': files: 2 mistakes\n  a: no such file .*\n  b: no",
        ),
    ],
)
def test_a_command_that_can_not_run_is_an_input_error(make, command, options, complaint):
    with pytest.raises(InputError, match=complaint):
        make(*command, **options)


def test_a_program_that_the_system_refuses_says_how_to_mend_it(make, tmp_path):
    for name, text in (("plain", "no first line"), ("lost", "#!/no/such/interpreter\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(stat.S_IRWXU)
        with pytest.raises(NodeCrashed, match=r"can't be started: .*\n.* first line"):
            started(make(str(tmp_path / name)))


def test_options_are_checked_before_a_node_is_built():
    check = {name: option.check for name, option in ProcessNode.OPTIONS.items()}
    with pytest.raises(InputError, match=r"2 mistakes\n  A: a variable is text, not True.*\n  'B=' can't"):
        check["env"]({"A": True, "B=": "", "C": "d"})
    for wrong in ([], [""], ["a", "b\0"]):
        with pytest.raises(InputError):
            check["command"](wrong)


def test_files_that_the_command_names_are_kept(make, tmp_path):
    for name in ("node.py", "table.csv", "more.bin", "extra.txt"):
        (tmp_path / name).write_text("")
    kept: list[str] = []

    def keep(name: str, path: Path) -> Path:
        kept.append(name)
        return path

    workspace = Workspace(tmp_path, logs=tmp_path / "logs", keep=keep)
    command = ["{python}", "node.py", "-v", "--table=table.csv", str(tmp_path / "more.bin"), "absent", "x" * 5000]
    node = make(*command, workspace=workspace, files=["extra.txt"])
    assert kept == ["node.py", "table.csv", str(tmp_path / "more.bin"), "extra.txt"]
    assert node._command == [sys.executable, *command[1:]]


def test_files_from_outside_are_found_where_a_replay_has_put_them(make, tmp_path):
    (tmp_path / "put_here.py").write_text("")
    located = {"../shared/node.py": tmp_path / "put_here.py"}
    node = make("{python}", "../shared/node.py", workspace=Workspace(NODES, logs=tmp_path, located=located))
    assert node._command[1] == str(tmp_path / "put_here.py")
