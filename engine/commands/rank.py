"""`rank`: which unlabeled images a model would learn most from."""

from __future__ import annotations

import argparse
import json

from engine import messages
from engine.commands.suggest import add_common, opened, show, stored
from engine.types import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument("--count", type=int, default=20, metavar="N", help=messages.text("cli.help.rank_count"))
    parser.add_argument("--json", action="store_true", help=messages.text("cli.help.json"))


def run(arguments: argparse.Namespace) -> int:
    from engine import label_errors, ranking, suggesting

    if not 1 <= arguments.count <= ranking.MOST_PICKS:
        raise UserError("option_bounds", name="count", value=arguments.count, low=1, high=ranking.MOST_PICKS)
    dataset = stored(arguments.data)
    ids = suggesting.wanted_ids(dataset, "unlabeled", states=("unlabeled", "suggested"))
    predictor, source = opened(arguments)
    suggesting.check(dataset, predictor)
    found = ranking.rank(dataset, predictor, ids, count=arguments.count, known=label_errors.labeled_ids(dataset), source=source, progress=show)
    names = {each.image_id: dataset.row(each.image_id).name for each in found}
    if arguments.json:
        print(json.dumps([{"image": each.image_id, "name": names[each.image_id], "uncertainty": each.uncertainty, "reason": each.reason}
                          for each in found], ensure_ascii=False))
        return 0
    for each in found:
        print(f"{each.image_id:>8}  {each.uncertainty:.4f}  {messages.text(f'rank.{each.reason}'):<28}  {names[each.image_id]}")
    return 0
