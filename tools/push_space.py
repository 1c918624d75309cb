"""Push the last commit to a Hugging Face Space, with the Space's settings at the head of its README.

python -m tools.push_space you/stylecore
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
HOST = "https://huggingface.co/spaces"


def space_readme() -> str:
    """The README under the settings that docs/hosting.md shows."""
    (head,) = re.findall(r"```yaml\n(---\n.*?---\n)```", (ROOT / "docs" / "hosting.md").read_text("utf-8"), re.DOTALL)
    return f"{head}\n{(ROOT / 'README.md').read_text('utf-8')}"


def main(space: str) -> None:
    with tempfile.TemporaryDirectory() as folder:

        def git(*arguments: str) -> None:
            subprocess.run(["git", *arguments], cwd=folder, check=True)

        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
        (Path(folder) / "README.md").write_text(space_readme(), encoding="utf-8")
        git("init", "--quiet", "--initial-branch", "main")
        git("add", "--all")
        git("commit", "--quiet", "--message", "stylecore's demo")
        git("push", "--force", f"{HOST}/{space}", "main")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].count("/") != 1:
        sys.exit("Name the Space: python -m tools.push_space you/stylecore")
    main(sys.argv[1])
