"""Copy into demo/study/ what the page shows of docs/: an installed page has none.

python -m tools.copy_study      # after `make bench` or `make bench-export`; `make study` runs it
"""

import shutil
from pathlib import Path

from demo.tabs.how import FIGURES, STUDY, figure

ORIGINAL = Path(__file__).parent.parent / "docs" / "study.md"


def originals() -> list[Path]:
    """The files of docs/ that are copied: the study and the page's figures, and the records of two benches."""
    text, benchmarks = ORIGINAL.read_text(encoding="utf-8"), ORIGINAL.parent / "benchmarks"
    records = [benchmarks / "bench.md", benchmarks / "export" / "bench.json"]
    return [ORIGINAL, *(ORIGINAL.parent / figure(text, name)[0] for name in FIGURES), *records]


def main() -> None:
    STUDY.parent.mkdir(exist_ok=True)
    for path in originals():
        shutil.copyfile(path, STUDY.parent / path.name)


if __name__ == "__main__":
    main()
