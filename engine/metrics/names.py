"""Which metrics stand for a task where there is room for a few only, the most telling first. Importing this loads nothing."""

SHOWN = {
    "detect": ("AP50", "AP", "AP75"),
    "instance": ("mask_AP50", "mask_AP", "AP50", "boundary_AP"),
    "semantic": ("dice", "iou", "dice_global"),
    "classify": ("auroc", "average_precision", "f1"),
}
LOSS_FAMILIES = {"mal": "class", "vfl": "class", "focal": "class", "ce": "class", "bbox": "bbox", "giou": "giou", "fgl": "local", "ddf": "local"}


def loss_family(part: str) -> str:
    """The family of a loss term: "loss_mal_aux_1" -> "class"; an unknown one is its own."""
    if part.endswith("_tversky"):
        return "tversky"
    stem = part.removeprefix("loss_").split("_")[0]
    return LOSS_FAMILIES.get(stem, stem)


def shown(task: str) -> tuple[str, ...]:
    return SHOWN.get(task, ())


def headline(task: str) -> str:
    """The one figure by which runs of a task are compared."""
    return next(iter(shown(task)), "")
