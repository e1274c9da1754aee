"""What all tests share: in CI nothing is skipped, and real telemetry is looked for beside the checkout."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
MAY_BE_ABSENT = "telemetry_csv"
TELEMETRY_VARIABLE = "XTRACE_TELEMETRY_CSV"

if "PYTEST_XDIST_WORKER" in os.environ:
    # What a test starts is not measured: it would start slowly, and hold modules that are none of its own.
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)

# Examples may take as long as a busy machine needs; in CI (hypothesis's own profile) they are the same every time.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "unhurried")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither see the user's XTRACE_* variables nor add to the runs that the user trusts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in sorted(os.environ):
            if name.startswith("XTRACE_") and name != TELEMETRY_VARIABLE:
                patch.delenv(name)
        patch.setenv("XTRACE_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def telemetry_csv() -> Path:
    """Recorded telemetry of a machine that fails, which is not part of the repository; skips where it is absent."""
    named = os.environ.get(TELEMETRY_VARIABLE)
    path = Path(named) if named else ROOT.parent / "shared" / "data" / "machine_temperature.csv"
    if not path.is_file():
        pytest.skip(f"{TELEMETRY_VARIABLE} must name a CSV file of recorded telemetry; there is none at {path}")
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if MAY_BE_ABSENT not in getattr(item, "fixturenames", ()):
        _fail_if_skipped_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped_in_ci(report)
    return report


def _fail_if_skipped_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where every test has to run: {reason}"
