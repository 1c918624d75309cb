"""Pictures to start from, all found on this machine: bundled photos, and the styles that the project draws."""

from __future__ import annotations

from pathlib import Path

from stylecore.photos import photo_path

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
STYLES_FOLDER = Path(__file__).parent.parent / "examples" / "styles"
CREDITS = (
    "Example photos from scikit-image: Chelsea by Stéfan van der Walt (CC0), astronaut by NASA (public domain), "
    "coffee by Rachel Michetti (CC0), rocket by SpaceX (CC0). The example styles are drawn by this project."
)


def photo_files() -> list[Path]:
    """Photos that come with scikit-image."""
    return [photo_path(name) for name in PHOTOS]


def style_files() -> list[Path]:
    """The drawn styles."""
    return sorted(STYLES_FOLDER.glob("*.jpg"))
