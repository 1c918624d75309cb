"""What a page says of itself to those who only read its head: browsers' tabs, search engines, previews of links."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from .cards import HEIGHT_PX, WIDTH_PX

META = re.compile(rb"<meta\s+(?:property=\"og:|name=\"twitter:)[^>]*>\s*")
END = re.compile(rb"</head>|<script>window\.gradio_config", re.IGNORECASE)


@dataclass(frozen=True)
class Head:
    """Words and a picture for a preview, `cards` of size; addresses are absolute."""

    title: str
    description: str
    address: str
    picture: str

    def tags(self) -> str:
        """As Open Graph, Twitter and browsers have them."""
        named = {"description": self.description, "twitter:card": "summary_large_image"}
        named |= {"twitter:title": self.title, "twitter:description": self.description, "twitter:image": self.picture}
        properties = {"title": self.title, "description": self.description, "url": self.address}
        properties |= {"type": "website", "site_name": "stylecore", "image": self.picture, "image:alt": self.title}
        properties |= {"image:width": str(WIDTH_PX), "image:height": str(HEIGHT_PX), "image:type": "image/jpeg"}
        tags = [f"<title>{html.escape(self.title)}</title>"]
        tags += [f'<meta name="{name}" content="{html.escape(text)}">' for name, text in named.items()]
        tags += [f'<meta property="og:{name}" content="{html.escape(text)}">' for name, text in properties.items()]
        return "\n".join(tags)


def with_head(page: bytes, head: Head) -> bytes:
    """Gradio's page with these tags in the place of its own, which come first and would win."""
    end = END.search(page)
    if end is None:
        return page
    own = META.sub(b"", page[: end.start()])
    return own + head.tags().encode() + b"\n" + page[end.start() :]
