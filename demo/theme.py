"""How the page looks: theme, CSS, and what several tabs have in common. Nothing of it comes from another host."""

from typing import Any

import gradio as gr

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
    block_label_text_color="*neutral_500",
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
)

CSS = """
.gradio-container { max-width: 1280px !important; margin: 0 auto !important; }
#title h1 { font-size: 1.7rem; letter-spacing: -0.02em; margin: 0; }
#title p { color: var(--body-text-color-subdued); margin-top: 0.15rem; }
#notice { border-left: 3px solid #d97706; padding: 2px 12px; }
#credits p { color: var(--body-text-color-subdued); font-size: 0.8rem; }

/* Example pictures as small square tiles, the same in every row. */
.tiles .gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(40px, 1fr)); gap: 6px; }
.tiles .gallery-item, .tiles .gallery-item .container { width: 100%; height: auto; aspect-ratio: 1; }
.tiles .gallery-item img { width: 100%; height: 100%; object-fit: cover; }

/* What is to come is said where it will be. */
#live .empty { flex-direction: column; gap: 10px; }
#live .empty::after { content: "Your picture appears here, and you can watch it grow."; font-size: 0.9rem; }

/* Small results are shown large. */
#live img { width: 100%; height: 100%; object-fit: contain; }

/* The sheet's pictures keep their shape, and stand on their captions. */
#sheet .gallery-container, #sheet .grid-wrap { height: auto; min-height: 160px; }
#sheet .grid-container { grid-template-rows: none; grid-auto-rows: auto; }
#sheet .thumbnail-lg { aspect-ratio: auto; display: flex; flex-direction: column; height: 100%; }
#sheet .thumbnail-lg > img { height: auto; }
#sheet .caption-label {
    position: static; width: 100%; max-width: none; border: 0; background: none; padding: 6px 4px; text-align: left;
    white-space: normal; font-variant-numeric: tabular-nums;
}

.progress { height: 6px; border-radius: 3px; background: var(--border-color-primary); overflow: hidden; }
.progress div { height: 100%; background: var(--color-accent); transition: width 0.3s; }
.status p { margin: 6px 2px 0; color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
.status.failed p { border-left: 3px solid #d97706; padding-left: 10px; color: var(--body-text-color); }
footer .divider:last-child { display: none; }

@media (min-width: 900px) {
    #inputs { position: sticky; top: 12px; align-self: flex-start; }
}
@media (max-width: 640px) {
    #sheet .grid-container { grid-template-columns: 1fr 1fr; }
    .tab-container button { padding-inline: 9px; }
    .table { width: calc(100vw - 64px); overflow-x: auto; }
    #live { height: auto !important; min-height: 200px; }
    #live .image-container, #live .image-frame { width: 100%; }
    #live img { height: auto; max-height: 60vh; }
    #style-weight .wrap { gap: 4px; }
    #style-weight label { padding: 6px 7px; }
}

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
.curve .style { stroke: #6366f1; color: #6366f1; }
.curve .content { stroke: #d97706; color: #d97706; }
"""


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
