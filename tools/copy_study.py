"""Copy into demo/study/ what the page shows of docs/study.md: an installed page has no docs.

python -m tools.copy_study      # after `make study`, which runs it
"""

import shutil
from pathlib import Path

from demo.tabs.how import FIGURES, STUDY, figure

ORIGINAL = Path(__file__).parent.parent / "docs" / "study.md"


def originals() -> list[Path]:
    """The files of docs/ that are copied: the study and the page's figures."""
    text = ORIGINAL.read_text(encoding="utf-8")
    return [ORIGINAL, *(ORIGINAL.parent / figure(text, name)[0] for name in FIGURES)]


def main() -> None:
    STUDY.parent.mkdir(exist_ok=True)
    for path in originals():
        shutil.copyfile(path, STUDY.parent / path.name)


if __name__ == "__main__":
    main()
