"""Share: one click puts a link onto the clipboard, on a phone into the system's own sheet; it can be taken back."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import gradio as gr

from ..server.messages import message_of
from ..server.queue import AT_ONCE
from . import progress

AGREE = "With my own pictures in it"
# A browser writes to the clipboard only within a click, and the link comes later: what is written is a promise of it.
PROMISE = """() => {
    const link = new Promise((resolve, reject) => {
        window.sharedLink = resolve;
        setTimeout(() => reject(new Error("no link")), 15000);
    });
    const text = link.then(address => new Blob([address], {type: "text/plain"}));
    try {
        window.isCopied = navigator.clipboard.write([new ClipboardItem({"text/plain": text})])
            .catch(async () => navigator.clipboard.writeText(await link))
            .then(() => true, () => false);
    } catch {
        window.isCopied = Promise.resolve(false);  // over plain HTTP there is no clipboard
        link.catch(() => {});
    }
}"""
SHOW = """
const show = () => {
    const box = element.querySelector("[data-path]:not([data-ready])");
    if (!box) return;
    box.dataset.ready = "yes";
    const {path, key, title} = box.dataset;
    const address = location.origin + location.pathname.replace(/\\/+$/, "") + "/" + path;
    const [said, send, embed] = ["[role=status]", ".send", ".embed"].map(each => box.querySelector(each));
    box.querySelector("input").value = address;
    box.querySelector("a").href = address;
    const frame = document.createElement("iframe");
    const looks = {src: address, width: "100%", height: "560", style: "border: 0", loading: "lazy", title};
    Object.entries(looks).forEach(([name, value]) => frame.setAttribute(name, value));
    if (embed) embed.value = frame.outerHTML;
    try {
        const kept = JSON.parse(localStorage.getItem("stylecore-shared") ?? "{}");
        localStorage.setItem("stylecore-shared", JSON.stringify({...kept, [path]: key}));
    } catch {}
    window.sharedLink?.(address);
    window.isCopied?.then(is => { said.textContent = is ? "Copied: paste it anywhere." : "Copy it:"; });
    const sheet = () => navigator.share({title, url: address}).catch(() => {});
    send.hidden = !navigator.share;
    send.onclick = sheet;
    if (navigator.share && navigator.userActivation?.isActive && matchMedia("(pointer: coarse)").matches) sheet();
    box.querySelector("input").onfocus = event => event.target.select();
    box.querySelector(".back").onclick = async event => {
        const answer = await fetch(address, {method: "DELETE", headers: {"X-Key": key}});
        said.textContent = (await answer.json()).detail;
        if (answer.ok) [...box.querySelectorAll("input, textarea, a, button")].forEach(each => { each.hidden = true; });
    };
};
new MutationObserver(show).observe(element, {childList: true, subtree: true});
show();
"""

Share = Callable[..., tuple[str, str, str, str]]  # stores something; returns its kind, token, key and title


class SharePanel:
    """The button, what the sharer agrees to, and the link; made inside a `gr.Blocks`."""

    def __init__(self, days: float) -> None:
        self.days = days
        self.button = gr.Button("Share", size="md", interactive=False, min_width=250)
        self.agree = gr.Checkbox(False, label=AGREE, visible=False, min_width=250)
        self.link = gr.HTML("", js_on_load=SHOW, elem_classes="link", render=False)  # put below by the tab

    @property
    def outputs(self) -> list[Any]:
        """All that its methods change."""
        return [self.button, self.agree, self.link]

    def shares(self, share: Share, inputs: list[Any], status: Any, name: str) -> None:
        """Wire `share(*inputs, agreed, request)` to the button; `name` is what scripts call it by."""

        def shared(request: gr.Request, *values: Any) -> dict[Any, Any]:
            try:
                kind, token, key, title = share(*values, request)
            except Exception as error:
                return {status: progress.failure(message_of(error))}
            return {self.link: self._html(f"{kind}/{token}", key, title, can_be_embedded=kind == "c")}

        self.button.click(None, None, None, js=PROMISE, **AT_ONCE)
        told = [self.link, status]
        self.button.click(shared, [*inputs, self.agree], told, preprocess=False, api_name=name, **AT_ONCE)

    def offer(self, has_own_pictures: bool) -> dict[Any, Any]:
        """There is something to share."""
        agree = gr.Checkbox(False, visible=has_own_pictures)
        return {self.button: gr.Button(interactive=True), self.agree: agree, self.link: ""}

    def nothing(self) -> dict[Any, Any]:
        """There is nothing to share."""
        return {self.button: gr.Button(interactive=False), self.agree: gr.Checkbox(visible=False), self.link: ""}

    def _html(self, path: str, key: str, title: str, can_be_embedded: bool) -> str:
        named = f"data-path='{path}' data-key='{key}' data-title='{html.escape(title)}'"
        embed = "<label>To embed it<textarea class='embed' readonly rows='2'></textarea></label>" * can_be_embedded
        return (
            f"<div {named}><p role='status'></p><input readonly aria-label='Link'>"
            "<div class='acts'><a target='_blank' rel='noopener'>Open</a><button type='button' class='send' hidden>Send"
            f"</button><button type='button' class='back'>Take it back</button></div>{embed}"
            f"<p>Whoever has it sees this, for {self.days:g} days or until you take it back.</p></div>"
        )
