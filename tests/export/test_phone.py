"""docs/phone.md: what of it can be followed without a phone, word by word."""

import re
import subprocess

from paths import ROOT
from stylecore_export.record import RECORDS
from stylecore_export.report import machines_table

PAGE = (ROOT / "docs" / "phone.md").read_text(encoding="utf-8")
# As performance_runner.h of onnxruntime's perf tool writes it with -s: model, seconds, memory, CPU, run; percentiles.
RESULTS = "vgg16-int8,0.0312,61440,99,0\nvgg16-int8,0.0309154,61440,99,1\n\nMin Latency is 0.0309154sec\n"


def test_the_page_turns_the_tools_results_into_milliseconds() -> None:
    (line,) = re.findall(r"^(python3 .*) <nnapi\.txt$", PAGE, re.MULTILINE)
    done = subprocess.run(["sh", "-c", line], input=RESULTS, capture_output=True, text=True, check=True)
    assert done.stdout == "[31.2, 30.915]\n"


def test_the_pages_record_is_one_and_goes_into_the_table() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    record = RECORDS.validate_json(text)
    (row,) = machines_table([record]).cells
    assert row[:3] == ["vgg16-int8", "Pixel 8, Tensor G3, Android 15, onnxruntime 1.23.2", "nnapi"]
    for field in ("name", "num_threads", "provider", "size_px", "milliseconds"):
        assert f"`{field}`" in PAGE
