"""What a program settles before torch is loaded: waiting threads, Ctrl-C among the imports, odd terminals."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

STARTED = "import os, signal, sys; from stylecore.program import starting\nwith starting('painter'): "


def run_python(script: str, stdout: str = "", close: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    redirected = f'exec "$@" {">" + stdout if stdout else ""} ' + " ".join(f"{number}>&-" for number in close.split())
    return subprocess.run(
        ["sh", "-c", redirected, "sh", sys.executable, "-c", script],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_among_the_imports_ends_in_one_line(name: str) -> None:
    done = run_python(f"{STARTED} signal.raise_signal(signal.{name}); print('imported')")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "painter: Stopped before anything was begun.\n"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_afterwards_is_an_interrupt(name: str) -> None:
    done = run_python(
        f"{STARTED} pass\ntry: signal.raise_signal(signal.{name})\nexcept KeyboardInterrupt: print('saved')"
    )
    assert done.stdout == "saved\n"


def test_a_program_in_the_background_stays_deaf_to_ctrl_c() -> None:
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    assert run_python(f"{deaf}{STARTED} signal.raise_signal(signal.SIGINT)\nprint('on')").stdout == "on\n"


def test_a_terminal_that_lacks_a_letter_gets_its_code() -> None:
    done = run_python(f"{STARTED} pass\nprint('caf\\u00e9.png: saved')", PYTHONIOENCODING="ascii")
    assert done.stdout == "caf\\xe9.png: saved\n"


def test_a_program_without_stdout_and_stderr_runs_all_the_same(tmp_path: Path) -> None:
    done = run_python(f"{STARTED} pass\nprint(1); print(2, file=sys.stderr); open('{tmp_path}/ran', 'w')", close="1 2")
    assert done.returncode == 0
    assert (tmp_path / "ran").read_text() == "", "no file may take the number of stdout"


PRINTS = f"{STARTED} pass\nfrom stylecore.program import printing\nwith printing('painter'): print('saved')"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="of Linux")
def test_a_full_disk_behind_stdout_ends_in_one_line() -> None:
    done = run_python(f"{PRINTS}; sys.exit(0)", stdout="/dev/full")
    assert (done.returncode, done.stderr) == (
        1,
        "painter: The result could not be printed: No space left on device.\n",
    )


def test_a_reader_who_has_seen_enough_is_no_error() -> None:
    ends = "r, w = os.pipe(); os.close(r); os.dup2(w, 1)\n"
    assert run_python("import os\n" + ends + PRINTS).stderr == ""


def test_other_errors_of_the_system_stay_what_they_are() -> None:
    done = run_python(f"{PRINTS}; open('/no/such/file')")
    assert "FileNotFoundError" in done.stderr


@pytest.mark.parametrize(("given", "found"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_that_wait_leave_the_cores_to_others_unless_told_otherwise(given: dict[str, str], found: str) -> None:
    assert run_python(f"{STARTED} print(os.environ['OMP_WAIT_POLICY'])", **given).stdout == f"{found}\n"


def test_the_library_itself_settles_nothing() -> None:
    script = (
        "import os, signal, sys\n"
        "state = lambda: (dict(os.environ), signal.getsignal(signal.SIGTERM), sys.stdout.errors)\n"
        "before = state(); from stylecore import *; print(state() == before)"
    )
    assert run_python(script).stdout == "True\n"


@pytest.mark.parametrize("module", ["stylecore", "demo", "export"])
def test_every_program_begins_so_before_it_imports_torch(module: str) -> None:
    script = (
        "import os, runpy, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, *_): assert name != 'torch' or 'OMP_WAIT_POLICY' in os.environ\n"
        "sys.meta_path.insert(0, Watch())\n"
        "sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('{module}', run_name='__main__', alter_sys=True)\n"
        "except SystemExit: print(os.environ['OMP_WAIT_POLICY'])"
    )
    done = run_python(script)
    assert done.stdout.endswith("PASSIVE\n"), done.stderr
