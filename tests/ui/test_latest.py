"""Gradio repeats an event with all its listeners when one of them was busy: a listener that wants the newest event must be the only one."""

from collections import defaultdict

from ui import build


def test_who_waits_for_the_newest_event_is_alone_with_it(tmp_path):
    blocks, listeners = build(tmp_path / "workspace"), defaultdict(list)
    for each in (found for found in blocks.fns.values() if found.fn is not None):  # what the browser does by itself is never busy
        for target in each.targets:
            listeners[target].append(each)
    shared = [(getattr(blocks.blocks.get(target), "elem_id", None), event, [each.name for each in found])
              for (target, event), found in listeners.items()
              if target is not None and len(found) > 1 and any(each.trigger_mode == "always_last" for each in found)]
    assert not shared
