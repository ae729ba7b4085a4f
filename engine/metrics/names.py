"""Which metrics stand for a task where there is room for a few only, the most telling first. Importing this loads nothing."""

SHOWN = {
    "detect": ("AP50", "AP", "AP75"),
    "semantic": ("dice", "iou", "dice_global"),
    "classify": ("auroc", "average_precision", "f1"),
}


def shown(task: str) -> tuple[str, ...]:
    return SHOWN.get(task, ())


def headline(task: str) -> str:
    """The one figure by which runs of a task are compared."""
    return next(iter(shown(task)), "")
