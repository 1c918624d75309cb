"""Write docs/api.md's table of the fields that a variant may name, from the config itself.

python -m tools.write_api_docs      # after a field was added or changed; a test holds the table to the config
"""

from collections.abc import Iterator
from pathlib import Path

from demo.server.settings import Settings
from demo.variants import FIELDS
from stylecore import StylizeConfig
from stylecore.config import SETTINGS

DOCUMENT = Path(__file__).parent.parent / "docs" / "api.md"
BEGIN, END = "<!-- fields: python -m tools.write_api_docs -->\n", "<!-- end of fields -->\n"

ENDLESS = 1e9  # a bound above it is there for the numbers' sake alone


def fields_table() -> str:
    """One row for each field: its default, what it can be on this page, and what it is."""
    return "| field | default | can be | what it is |\n| --- | --- | --- | --- |\n" + "".join(_rows())


def _rows() -> Iterator[str]:
    defaults = StylizeConfig().to_dict()
    for name, setting in SETTINGS.items():
        if name not in FIELDS:
            continue
        cells = (f"`{name}`", _plain(defaults[name]), _allowed(name), setting.help)
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"
        if name == "style_weight":
            yield "| `strength` | 100 | 0 to 100 | In its place: from the photo to the painting, even to the eye. |\n"


def _allowed(name: str) -> str:
    setting = SETTINGS[name]
    if setting.low is None:
        return setting.describe().rstrip(",")
    low, high = Settings.model_construct().range(name)  # of a server that nobody has set otherwise
    return f"{low:g} or more" if high > ENDLESS else f"{low:g} to {high:g} {setting.unit}".strip()


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, dict):
        return ":".join(str(part) for part in value.values() if part != "")
    return str(value).lower() if isinstance(value, bool) else str(value)


def replaced(text: str) -> str:
    """The document with the table as it should be."""
    (before, _), (_, after) = text.split(BEGIN), text.split(END)
    return f"{before}{BEGIN}{fields_table()}{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(replaced(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
