"""How the page looks: theme, CSS, and what several tabs have in common. Nothing of it comes from another host."""

from typing import Any

import gradio as gr

from stylecore.report.viewer import VIEWER_CSS

from .components.tiles import tile_uri
from .finished import AT_STOPS
from .stops import STOPS

THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.indigo,
    secondary_hue=gr.themes.colors.indigo,
    neutral_hue=gr.themes.colors.stone,
    radius_size=gr.themes.sizes.radius_lg,
    # Of the fonts that Gradio serves itself, one that is whole: most are cut down to a few characters.
    font=(gr.themes.utils.fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"),
    font_mono=("ui-monospace", "Consolas", "monospace"),
).set(
    body_background_fill="*neutral_50",
    block_border_width="1px",
    block_label_text_color="*neutral_600",
    block_label_text_color_dark="*neutral_300",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_title_text_color="*neutral_800",
    block_title_text_color_dark="*neutral_100",
    block_label_background_fill="*background_fill_primary",
    block_title_text_weight="700",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_background_fill_dark="*primary_600",
    button_primary_text_color="white",
    button_cancel_background_fill="*neutral_800",
    button_cancel_background_fill_hover="*neutral_700",
    button_cancel_text_color="white",
    slider_color="*primary_600",
    link_text_color="*primary_700",
    link_text_color_dark="*primary_300",
    link_text_color_visited="*primary_700",
    link_text_color_visited_dark="*primary_300",
    color_accent="*primary_600",
)

# In the page's head, before anything is drawn: as wide as it will be, and what loads later has its place already.
HEAD = """<style>
.gradio-container { width: 100%; max-width: 1280px !important; margin: 0 auto !important; }
#workspace { min-height: 100vh; align-items: flex-start; }
#inputs { min-height: 700px; }
#stage { min-height: 442px; }
.job-button { min-height: 41px; }
body:not(:has(#workspace)) :is(#credits, footer) { display: none; }
.wrap:has(> .loading) { position: fixed !important; inset: 0 !important; height: 100vh !important; }
@media (max-width: 640px) {
    #inputs { min-height: 950px; }
    #stage { min-height: 62vw; }
}
</style>"""
# A saved picture that is dropped beside the others goes to the button that reads its settings.
DROP = """<script>
addEventListener("dragover", event => event.preventDefault());
addEventListener("drop", event => {
    const files = event.dataTransfer?.files ?? [];
    if (event.defaultPrevented || files.length !== 1 || !/^image\\/(png|jpeg|webp|tiff)$/.test(files[0].type)) return;
    event.preventDefault();
    const input = document.querySelector("#inputs input[type=file][accept*='.tif']");
    if (!input) return;
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event("change", {bubbles: true}));
});
</script>"""
# Start and Stop take turns in one place: who uses the keyboard finds each where the other was.
FOCUS = """<script>
(() => {
    let wasThere = false;
    const look = event => { wasThere = Boolean(event.target.closest?.(".job-button")); };
    addEventListener("focusin", look);
    addEventListener("pointerdown", look);
    new MutationObserver(() => {
        if (!wasThere || document.activeElement !== document.body) return;
        const buttons = [...document.querySelectorAll(".job-button button")];
        buttons.find(each => each.checkVisibility())?.focus({preventScroll: true});
    }).observe(document, {childList: true, subtree: true});
})();
</script>"""
STOP_CSS = "".join(
    f"#detail label:nth-of-type({number})::before {{ background-image: url({tile_uri(AT_STOPS[preset].path)}); }}"
    for number, preset in enumerate(STOPS.values(), start=1)
    if preset in AT_STOPS
)
CSS = (
    """
.dark { --color-accent: var(--primary-400); }
#title h1 { font-size: 1.7rem; letter-spacing: -0.02em; margin: 0; }
#title p { color: var(--body-text-color-subdued); margin-top: 0.15rem; }
.icon-button, .source-selection button, .label-wrap { min-width: 24px; min-height: 24px; }
#notice { border-left: 3px solid #d97706; padding: 2px 12px; }
#credits p { color: var(--body-text-color-subdued); font-size: 0.8rem; }

/* Pictures to click on: square, the same in every row, large enough for a thumb. */
.tiles { display: grid; grid-template-columns: repeat(5, 1fr); gap: 6px; }
.tiles button { padding: 0; border: 0; border-radius: 8px; overflow: hidden; background: none; cursor: pointer; }
.tiles button:hover img { filter: brightness(1.08); }
.tiles button:focus-visible { outline: 3px solid var(--color-accent); outline-offset: 2px; }
.html-container:has(> * > .tiles) { padding: 0 !important; }
.tiles > button { margin: 0 !important; min-width: 24px; min-height: 24px; }
.tiles img { display: block; margin: 0 !important; border-radius: 8px; width: 100%; height: auto; }
.tiles img { aspect-ratio: 1; object-fit: cover; }
#wall .tiles { grid-template-columns: repeat(8, 1fr); gap: 8px; }
.strip .tiles { grid-template-columns: repeat(auto-fill, minmax(64px, 1fr)); max-width: 100%; }

/* Four stops side by side, each with what it makes of one picture. */
#detail .wrap { display: grid; grid-template-columns: repeat(4, 1fr); gap: 8px; }
#detail label { flex-direction: column; gap: 6px; padding: 6px; align-items: center; text-align: center; height: 100%; }
#detail label::before {
    content: ""; width: 100%; aspect-ratio: 1; border-radius: 6px; background-size: cover; background-position: center;
}
#detail label span { margin: 0; font-variant-numeric: tabular-nums; font-size: 0.85rem; line-height: 1.25; }
#detail label input { position: absolute; opacity: 0; }
#detail label.selected { outline: 2px solid var(--color-accent); background: var(--background-fill-primary); }
#detail label.selected span { color: var(--body-text-color); font-weight: 700; }
#detail label:focus-within { outline: 3px solid var(--color-accent); outline-offset: 1px; }

/* The photo under the result shines through it. */
#slider { --blend: 1; }
#slider { min-height: 442px; }
#slider img.fixed { opacity: var(--blend); }

/* What is to come is said where it will be. */
#live .empty { flex-direction: column; gap: 10px; }
#live .empty::after { content: "Your picture appears here, and you can watch it grow."; font-size: 0.9rem; }

/* Small results are shown large. */
#live img { width: 100%; height: 100%; object-fit: contain; }

/* The viewer of a comparison, in this page's colours. */
.comparison, .curves-plot {
    --ink: var(--body-text-color); --grey: var(--body-text-color-subdued); --rule: var(--border-color-primary);
    --card: var(--background-fill-primary); --accent: var(--color-accent);
}
#painted img { height: 90px; width: auto; margin: 0 0 4px; border-radius: 8px; }
#painted p { margin: 0; font-size: 0.85rem; color: var(--body-text-color-subdued); }
#plan p { margin: 0 2px; color: var(--body-text-color-subdued); font-size: 0.9rem; }

.table .scrolled { overflow-x: auto; max-width: 100%; }
.table table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
.table th, .table td {
    padding: 6px 10px; text-align: right; border: solid var(--border-color-primary) !important;
    border-width: 0 0 1px !important;
}
.table th:first-child { text-align: left; }
.table table, .table tr { border: 0 !important; }
.table thead th { color: var(--body-text-color-subdued); font-weight: 400; }

.progress { height: 6px; border-radius: 3px; background: var(--border-color-primary); overflow: hidden; }
.progress div { height: 100%; background: var(--color-accent); transition: width 0.3s; }
.status p { margin: 6px 2px 0; color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
#stale:has(p:empty) { display: none; }
.heading { margin-bottom: calc(-0.5 * var(--layout-gap)); font-size: 0.9rem; overflow: visible !important; }
#stale p { border-left: 3px solid #d97706; padding: 2px 0 2px 10px; margin: 0; }
.status.failed p { border-left: 3px solid #d97706; padding-left: 10px; color: var(--body-text-color); }
footer .divider:last-child { display: none; }

@media (min-width: 900px) {
    #inputs { position: sticky; top: 12px; align-self: flex-start; }
}
@media (max-width: 640px) {
    .tab-container button { padding-inline: 9px; }
    #live { height: auto !important; min-height: 200px; }
    #live .image-container, #live .image-frame { width: 100%; }
    #live img { height: auto; max-height: 60vh; }
    #slider { min-height: 0; aspect-ratio: 3 / 2; }
    .tabitem:has(#status, #compare-status) .job-button {
        position: fixed; z-index: 50; inset: auto 0 0 0; padding: 10px 16px calc(10px + env(safe-area-inset-bottom));
        background: var(--body-background-fill); border-top: 1px solid var(--border-color-primary);
    }
    .gradio-container { padding-bottom: 84px !important; }
    .tiles { grid-template-columns: repeat(3, 1fr); }
    #wall .tiles { grid-template-columns: repeat(4, 1fr); }
    #detail label { padding: 4px; }
    #detail label span { font-size: 0.75rem; min-height: 2.5em; }
}

/* What a click on Share has made. */
.link div[data-path] { display: flex; flex-direction: column; gap: 6px; }
.link p { margin: 0; font-size: 0.85rem; color: var(--body-text-color-subdued); }
.link p[role=status] { color: var(--body-text-color); font-weight: 700; min-height: 1.3em; }
.link :is(input, textarea) {
    width: 100%; padding: 8px 10px; border: 1px solid var(--border-color-primary); border-radius: 8px; font: inherit;
    background: var(--background-fill-primary); color: var(--body-text-color);
}
.link label { font-size: 0.85rem; color: var(--body-text-color-subdued); }
.link textarea { font: 0.8rem ui-monospace, Consolas, monospace; resize: none; }
.link .acts { display: flex; gap: 14px; }
.link .acts { flex-direction: row; }
.link .acts > :is(a, button) {
    min-height: 28px; padding: 2px 0; border: 0; background: none; color: var(--link-text-color); font: inherit;
    text-decoration: underline; cursor: pointer;
}
.link [hidden] { display: none; }

/* Stretched drawings, with labels that are not stretched on top. */
.curves { display: flex; flex-wrap: wrap; }
.curve { position: relative; flex: 1 1 220px; height: 130px; margin: 44px 8px 28px 40px; font-size: 0.75rem; }
.curve svg { position: absolute; width: 100%; height: 100%; overflow: visible; }
.curve > span { position: absolute; color: var(--body-text-color-subdued); white-space: nowrap; line-height: 1; }
.curve sup { color: inherit; }
.curve .y { right: calc(100% + 6px); transform: translateY(-50%); }
.curve .x { top: calc(100% + 6px); }
.curve .x.end { right: 0; }
.curve .key { position: absolute; right: 0; bottom: calc(100% + 10px); display: flex; gap: 1em; font-weight: 700; }
.curve path, .curve line { fill: none; vector-effect: non-scaling-stroke; stroke-width: 2; stroke-linejoin: round; }
.curve line { stroke: var(--border-color-primary); stroke-width: 1; }
.curve { --style: #4f46e5; --content: #b45309; }
.dark .curve { --style: #a5b4fc; --content: #fbbf24; }
.curve .style { stroke: var(--style); color: var(--style); }
.curve .content { stroke: var(--content); color: var(--content); }
"""
    + VIEWER_CSS
    + ".dark .curves-plot { --own: 60%; }"
    + STOP_CSS
)


def picture_slider(label: str, max_height: int, **options: Any) -> gr.ImageSlider:
    """Two pictures with a handle between them, without loss: what differs is the pictures."""
    return gr.ImageSlider(
        label=label,
        type="filepath",
        format="png",
        interactive=False,
        max_height=max_height,
        buttons=["fullscreen"],
        **options,
    )
