"""A Siamese training run on pictures as data: everything that decides it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from app.core.params import Matching, Params, PictureParams, VectorMatching, write_preparation

SourceKind = Literal["stripes", "folder", "idx", "olivetti"]
Split = Literal["subject", "picture", "given"]
LossKind = Literal[
    "contrastive",
    "binary_crossentropy_distance",
    "binary_crossentropy_absolute",
    "binary_crossentropy_difference",
    "triplet",
    "supervised_contrastive",
    "additive_margin_softmax",
    "batch_contrastive",
]
PAIR_LOSSES: frozenset[LossKind] = frozenset(
    {
        "contrastive",
        "binary_crossentropy_distance",
        "binary_crossentropy_absolute",
        "binary_crossentropy_difference",
    }
)
PairingKind = Literal["balanced", "each_twice", "each_once", "first_third_equal", "classes"]


@dataclass(frozen=True, slots=True)
class DataParams(Params):
    """Where the pictures come from and how they are split.

    Attributes:
        kind: "stripes" draws them, the others read what lies at ``path`` below WHORL_DATASETS.
        pattern: for file names, see ``evaluation.dataset.parse_names``.
        split: "subject" parts identities; "picture" parts pictures of the same identities, as some
            originals do; "given" takes the data set's own training and test parts.
        shares: of training, validation (threshold, calibration) and test.
        scans: pictures a class of drawn data.
        mixed_conditions: whether genuine pairs must be of two conditions, as altered against real.
    """

    kind: SourceKind
    path: str = ""
    pattern: str | None = None
    split: Split = "subject"
    shares: tuple[float, float, float] = (0.625, 0.125, 0.25)
    scans: int = 15
    mixed_conditions: bool = False


@dataclass(frozen=True, slots=True)
class LossParams(Params):
    """What is minimised.

    Attributes:
        kind: see ``learning.embedding_losses``.
        margin: of the distance (contrastive, triplet) or of the score.
        scale: of scores before a softmax.
        clamped: whether the distance is the root of max(sum, epsilon), as in many tutorials: below
            epsilon nothing is learned. Otherwise it is the root of the sum plus epsilon.
        shift_cells: displacement searched by a loss over grids of cells.
        dropped_cells: share of a grid's cells that a batch's scores leave out, each picture its
            own: every part has to tell classes apart by itself.
    """

    kind: LossKind
    margin: float = 1.0
    scale: float = 16.0
    clamped: bool = False
    shift_cells: int = 0
    dropped_cells: float = 0.0


@dataclass(frozen=True, slots=True)
class PairingParams(Params):
    """Which pictures meet.

    Attributes:
        kind: "balanced" draws as many genuine as impostor pairs; "each_twice" gives every picture
            one of each; "each_once" one of either in turn; "first_third_equal" forces the first
            third of the pairs to be genuine and draws the rest blindly, a picture with itself
            included; "classes" fills batches with several pictures of several classes.
        pairs: in an epoch; 0 for what the kind implies.
        fixed: whether the same pairs are shown in every epoch.
        pictures_a_class: of "classes".
        passes: through the pictures in an epoch of "classes"; small sets need more, for what comes
            with every epoch takes longer than their few steps.
        hard_share: of the impostor pairs, taken from the classes that the encoder of the epoch
            before confuses most.
    """

    kind: PairingKind = "balanced"
    pairs: int = 0
    fixed: bool = False
    pictures_a_class: int = 4
    passes: int = 1
    hard_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Augmentation(Params):
    """Random changes of the pictures in training; all zero changes nothing.

    Attributes:
        rotation_deg, shift_share: greatest, each way; the shift as a share of the side.
        scale: least and greatest.
        blur_px: greatest deviation of a Gaussian blur, which is cut off after two pixels.
        flip: whether half of the pictures are mirrored.
        gain, brightness: greatest deviation of contrast (as a factor less 1) and of level.
        noise: deviation of added noise.
        erase_share: greatest side of an erased box as a share of the picture's.
        fill: what lies outside the picture; NaN for the picture's own border.
    """

    rotation_deg: float = 0.0
    shift_share: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    blur_px: float = 0.0
    flip: bool = False
    gain: float = 0.0
    brightness: float = 0.0
    noise: float = 0.0
    erase_share: float = 0.0
    fill: float = 0.0


@dataclass(frozen=True, slots=True)
class FitSchedule(Params):
    """How long and how fast.

    Attributes:
        batch: pairs a batch, or pictures where the pairing is by classes.
        optimizer: "adam", "adamw" or "rmsprop".
        decay: "constant" or "cosine" (with a short warm-up).
        patience: epochs without a lower validation loss after which the fit stops; 0 for never.
    """

    epochs: int
    batch: int
    optimizer: Literal["adam", "adamw", "rmsprop"] = "adam"
    learning_rate: float = 1e-3
    decay: Literal["constant", "cosine"] = "constant"
    weight_decay: float = 0.0
    patience: int = 0
    seed: int = 1


ThresholdRule = Literal["fixed", "validation"]


@dataclass(frozen=True, slots=True)
class Protocol(Params):
    """How the trained model is measured.

    Attributes:
        threshold: "fixed" takes ``fixed_score``, "validation" the one that is most accurate on
            validation pairs.
        pairs: test pairs, half of them genuine; 0 for every possible one.
        one_against_all: whether every test picture is also searched among one of each other class.
        shots: templates a class of the nearest-template accuracy; 0 for none.
        enrolled: pictures of every class that a probe of one-against-all is compared with; the
            best of their scores decides.
        by_condition: whether figures are also given for each condition, gender and hand of a probe
            that the data set tells.
    """

    threshold: ThresholdRule = "validation"
    fixed_score: float = 0.0
    pairs: int = 0
    one_against_all: bool = False
    enrolled: int = 1
    shots: int = 0
    by_condition: bool = False


EUCLIDEAN = VectorMatching("euclidean")


@dataclass(frozen=True, slots=True)
class SiameseRecipe:
    """A Siamese training run on pictures.

    Attributes:
        architecture_params: of ``architecture``; the input's size is the preparation's.
        matching: how templates of the finished model are compared; None for what the loss's
            learned head says.
        transfer: recipe whose encoder's weights are taken where layers fit, "" for none.
        wrong, changed: what is wrong with the well-known attempt, and what this recipe does
            instead.
        reported: what the well-known attempt's author states.
    """

    name: str
    summary: str
    data: DataParams
    preparation: PictureParams
    architecture_params: Mapping[str, Any]
    loss: LossParams
    schedule: FitSchedule
    matching: Matching | None = EUCLIDEAN
    architecture: str = "layer_stack"
    pairing: PairingParams = PairingParams()
    augmentation: Augmentation = Augmentation()
    protocol: Protocol = Protocol()
    transfer: str = ""
    wrong: str = ""
    changed: str = ""
    reported: Mapping[str, float] = field(default_factory=dict)

    def encoder_params(self) -> dict[str, Any]:
        """What the architecture is built with."""
        height_px, width_px = self.preparation.shape_px
        return {"height_px": height_px, "width_px": width_px, **self.architecture_params}

    def to_dict(self) -> dict[str, Any]:
        """For the manifest, and what ``from_dict`` reads."""
        found = asdict(self)
        return found | {
            "preparation": write_preparation(self.preparation),
            "architecture_params": self.encoder_params(),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> SiameseRecipe:
        """Read the dict form, also after a way through JSON; what is left out is the default.

        Raises:
            ValueError: a field is unknown, missing, of the wrong type or out of range, or the
                network would be too large; it says which and what was wanted.
        """
        from app.learning.siamese.recipe_data import read_recipe

        return read_recipe(data)
