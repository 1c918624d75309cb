"""Root mean square of the bundled encoder's features on the fitting photos: the scales in `presets.TUTORIAL_SCALES`.

python -m tools.measure_feature_scales
"""

from stylecore.encoders import load_encoder
from stylecore.images import fit_image
from stylecore.presets import TUTORIAL_SCALES
from stylecore.sample_images import FITTING, load_photo

SIZE_PX = 256


def main() -> None:
    encoder = load_encoder("vgg16")
    squares = dict.fromkeys(TUTORIAL_SCALES, 0.0)
    for name in FITTING:
        photo = load_photo(name)
        features = encoder(fit_image(photo, SIZE_PX), TUTORIAL_SCALES)
        for layer, value in features.items():
            squares[layer] += float(value.square().mean()) / len(FITTING)
    for layer, square in squares.items():
        print(f"{layer}: {square**0.5:.1f} (in use: {TUTORIAL_SCALES[layer]})")


if __name__ == "__main__":
    main()
