"""The predict page without a browser: filters on what is already found, the table, safe downloads, models by id."""

import csv
import json
import zipfile
from io import BytesIO
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from engine.datasets.images import save_image
from engine.types import Instances, SemanticMask, Tags, UserError
from engine.workspace import Workspace
from ui.pages.predict import asking, controls, downloads, findings, models, pictures, view
from ui.pages.predict.pictures import drawn, picture, shown_pixels
from ui.pages.predict.result import Filter, Held, Result, Shot, find_objects, held_by, on_disk, prepared
from ui.weights_files import add_weights


@pytest.fixture
def image(tmp_path):
    save_image(tmp_path / "=cmd.png", np.full((48, 64, 3), 120, np.uint8))
    return tmp_path / "=cmd.png"


@pytest.fixture
def result(image):
    labels = Instances([[0, 0, 60, 40], [5, 5, 20, 20], [8, 8, 12, 12]], [0, 1, 1], [0.9, 0.5, 0.1])
    return Result("deimv2_atto", "detect", ("@home", "<b>dog</b>"), 0.45, [Shot(image, image.name, (64, 48), labels)])


class Stub:
    """A predictor that counts its forwards."""

    name, task, classes, threshold = "stub", SimpleNamespace(name="detect", thresholds={}), ("a",), 0.3
    tiled = exclusive = False

    def __init__(self):
        self.seen = 0

    def adjust(self, **given):
        self.task = SimpleNamespace(**{**vars(self.task), "thresholds": given})

    def stream(self, files, batch):
        for file in files:
            self.seen += 1
            torn = UserError("image_damaged", name=file.name, reason="torn")
            yield file, (64, 48), torn if file.suffix == ".torn" else Instances([[1, 1, 2, 2]], [0], [0.7])


def test_one_broken_image_does_not_stop_the_others(tmp_path):
    steps = []
    found = find_objects(Stub(), [tmp_path / "a.png", tmp_path / "b.torn", tmp_path / "c.png"], lambda done, total: steps.append((done, total)))
    assert [shot.name for shot in found.shots] == ["a.png", "c.png"]
    assert found.failures[0][0] == "b.torn"
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert found.threshold == 0.3
    assert [file.name for file in found.files] == ["a.png", "b.torn", "c.png"], "they are looked at again with the others"


def test_filters_act_on_what_is_there_and_best_comes_first(result):
    labels = result.shots[0].labels
    assert len(Filter(0.0)(labels)) == 3
    assert len(Filter(0.45)(labels)) == 2
    assert Filter(0.0, (1,))(labels).classes.tolist() == [1, 1]


def test_the_drawing_fades_with_its_opacity(result):
    shot, seen = result.shots[0], set()
    for opacity in (0.0, 0.5, 1.0):
        seen.add(picture(result, shot, Filter(0.0, None, opacity)))
    assert len(seen) == 3


def test_small_images_are_enlarged_and_large_ones_reduced(tmp_path, image):
    assert max(shown_pixels(image).shape) == 640
    save_image(tmp_path / "large.png", np.zeros((20, 4000, 3), np.uint8))
    assert shown_pixels(tmp_path / "large.png").shape[:2] == (8, 1600)


def test_rows_and_boxes_belong_together_and_names_are_escaped(result):
    markup = view.result_html(result, 0, Filter(0.0), "en")
    assert markup.count("<rect data-i=") == markup.count("<tr data-i=") == 3
    assert "<b>dog" not in markup
    assert "3 shown of 3" in markup


def test_nothing_found_says_what_to_do(result):
    assert "Lower the score" in view.result_html(result, 0, Filter(1.0), "en")


def test_a_broken_image_is_named_with_its_remedy(result):
    result.failures.append(("torn.png", UserError("image_damaged", name="torn.png", reason="cut short")))
    markup = view.result_html(result, 0, Filter(), "en")
    assert "torn.png" in markup
    assert 'role="alert"' in markup


def test_the_json_is_that_of_the_command_line(result, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "up"))
    written = json.loads(downloads.json_file(result, Filter(0.45)).read_text(encoding="utf-8"))
    assert written["images"][0]["instances"][0] == {"class": "@home", "class_id": 0, "score": 0.9, "box": [0.0, 0.0, 60.0, 40.0]}
    assert len(written["images"][0]["instances"]) == 2


def test_no_cell_of_the_csv_is_a_formula(result, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "up"))
    with downloads.csv_file(result, Filter(0.0)).open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["file"] == "'=cmd.png"
    assert rows[0]["class"] == "'@home"
    assert not [cell for row in rows for cell in row.values() if cell.startswith(downloads.FORMULA)]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_formula_is_made_harmless(text):
    assert downloads.harmless(text) == f"'{text}"
    assert downloads.harmless(f"x{text}") == f"x{text}"


def test_models_are_found_by_id_and_never_by_path(tmp_path):
    workspace = Workspace(tmp_path)
    (workspace.weights / "a.pt").write_bytes(b"x")
    assert models.file_of(workspace, "weights/a.pt") == models.file_of(workspace, "a.pt") == workspace.weights / "a.pt"
    for bad in ("/etc/passwd", "../a.pt", "", None):
        with pytest.raises(UserError):
            models.file_of(workspace, bad)


def test_a_weights_file_is_kept_under_a_harmless_name(tmp_path):
    workspace = Workspace(tmp_path / "w")
    source = tmp_path / "My best & 权重.PTH"
    source.write_bytes(b"abc")
    assert add_weights(workspace, str(source), models.SUFFIXES) == "weights/My-best-权重.pth"
    assert add_weights(workspace, str(source), models.SUFFIXES) == "weights/My-best-权重-2.pth"
    (tmp_path / "evil.exe").write_bytes(b"x")
    with pytest.raises(UserError):
        add_weights(workspace, str(tmp_path / "evil.exe"), models.SUFFIXES)


def test_an_exported_model_is_offered_for_predictions_and_never_to_train_from(tmp_path):
    from ui.pages.train.data import weights_files

    workspace = Workspace(tmp_path / "w")
    (tmp_path / "cells.onnx").write_bytes(b"x")
    assert add_weights(workspace, str(tmp_path / "cells.onnx"), models.SUFFIXES) == "weights/cells.onnx"
    assert models.choices(workspace) == [("cells.onnx", "weights/cells.onnx")] and not weights_files(workspace)
    assert models.file_of(workspace, "cells.onnx").read_bytes() == b"x" and not models.needs_name("weights/cells.onnx")


def test_only_the_last_two_models_stay_loaded(tmp_path, monkeypatch):
    import engine.predict

    loads = []
    monkeypatch.setattr(engine.predict, "load", lambda file, model, options: loads.append(file.name) or file.name)
    cache = models.Predictors()
    for name in ("a", "b", "a", "c", "b", "a"):
        assert cache(tmp_path / name) == name
    assert loads == ["a", "b", "c", "b", "a"]


def test_the_headers_run_is_the_first_choice():
    found = [("x", "runs/x"), ("y", "runs/y")]
    assert models.pick(found, "y") == "runs/y"
    assert models.pick(found, "y", "runs/x") == "runs/x"
    assert models.pick(found, "gone", "gone") == "runs/x"
    assert models.pick([], "y") is None


# ---- masks


def mask_of(*layers, exclusive=False):
    """A prediction whose probabilities are given, [C,H,W]."""
    chances = np.array(layers, np.float16)
    if exclusive:
        return SemanticMask(classes=chances.argmax(0).astype(np.uint16), probabilities=chances)
    return SemanticMask(layers=chances >= 0.5, probabilities=chances)


@pytest.fixture
def areas(image, tmp_path, monkeypatch):
    """Half of the image is surely tumour, a quarter perhaps; an image without a name of its own comes twice."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "up"))
    chances = np.zeros((48, 64))
    chances[:24], chances[24:36] = 0.9, 0.3
    shots = [Shot(image, "a.png", (64, 48), mask_of(chances), (0.5, 0.2)), Shot(image, "a.jpg", (64, 48), mask_of(chances))]
    return Result("unet", "semantic", ("tumour",), 0.5, shots, thresholds=(0.5,))


def test_a_threshold_changes_the_areas_without_another_look(areas):
    for threshold, pixels in ((0.5, "1,536"), (0.2, "2,304"), (0.95, None)):
        markup = view.result_html(areas, 0, Filter(threshold), "en")
        assert pixels in markup if pixels else "No area passes" in markup


def test_areas_in_square_millimetres_stand_only_where_the_file_says_how_large_a_pixel_is(areas):
    known, unknown = (view.result_html(areas, index, Filter(0.5), "en") for index in (0, 1))
    assert "mm²" in known
    assert "153.6" in known  # 1536 pixels of 0.5 x 0.2 mm
    assert "does not say how large a pixel is" in unknown


def test_a_class_that_is_filtered_out_is_not_drawn(areas):
    shot, plain = areas.shots[0], shown_pixels(areas.shots[0].file)
    assert (drawn(plain, areas, shot, Filter(0.5, None, 0.5)) != plain).any()
    assert (drawn(plain, areas, shot, Filter(0.5, (7,), 0.5)) == plain).all()


def test_contours_leave_the_inside_of_an_area_as_it_is(areas):
    shot, plain = areas.shots[0], shown_pixels(areas.shots[0].file)
    filled, edged = (drawn(plain, areas, shot, Filter(0.5, None, 0.5, contours)) for contours in (False, True))
    assert (filled[100, 300] != plain[100, 300]).any()
    assert (edged[100, 300] == plain[100, 300]).all()
    assert (edged != plain).any()


def test_masks_wait_on_disk_and_are_the_same(areas):
    labels = areas.shots[0].labels
    kept = on_disk(labels)
    assert isinstance(kept.probabilities, np.memmap)
    assert (kept.above(0.2).layers == labels.above(0.2).layers).all()


def test_a_zip_holds_overlays_masks_and_both_tables_under_names_of_their_own(areas):
    with zipfile.ZipFile(downloads.zip_file(areas, Filter(0.5, None, 0.45))) as packed:
        assert sorted(packed.namelist()) == [
            "masks/a.png", "masks/a_2.png", "overlays/a.jpg", "overlays/a_2.jpg", "predictions.csv", "predictions.json"]
        told = json.loads(packed.read("predictions.json"))["images"]
        mask = np.asarray(pictures.Image.open(BytesIO(packed.read("masks/a.png"))))
    assert told[1] == {"file": "a_2.jpg", "width": 64, "height": 48, "mask": "masks/a_2.png", "values": {"0": "background", "1": "tumour"},
                       "areas": [{"class": "tumour", "class_id": 0, "pixels": 1536}]}
    assert told[0]["areas"][0]["mm2"] == 153.6
    assert (mask[:24] == 1).all()
    assert not mask[24:].any()


def test_the_json_of_masks_stands_by_itself(areas):
    told = json.loads(downloads.json_file(areas, Filter(0.5)).read_text(encoding="utf-8"))
    assert told["images"][0]["mask"].startswith("data:image/png;base64,")


def test_the_csv_of_masks_has_a_row_for_each_area(areas):
    rows = rows_of(downloads.csv_file(areas, Filter(0.5)))
    assert [row["pixels"] for row in rows] == ["1536", "1536"]
    assert [row["mm2"] for row in rows] == ["153.6", ""]
    assert float(rows[0]["share"]) == 0.5


# ---- tags


@pytest.fixture
def tagged(image, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "up"))
    labels = Tags([0.3, 0.6, 0.1])
    return Result("timm", "classify", ("nodule", "=mass", "<i>x"), 0.5, [Shot(image, "a.png", (64, 48), labels)], thresholds=(0.2, 0.7, 0.5))


def test_a_class_is_present_by_the_threshold_that_validation_found_for_it(tagged):
    own, one = (view.result_html(tagged, 0, Filter(0.5, own=own), "en") for own in (True, False))
    assert there(own) == ["nodule"]
    assert there(one) == ["=mass"]
    assert own.index("=mass") < own.index("nodule")
    assert "<i>x" not in own


def test_a_single_label_has_one_answer_and_runners_up(tagged):
    tagged.exclusive = True
    markup = view.result_html(tagged, 0, Filter(0.5), "en")
    assert there(markup) == ["=mass"]
    assert "lb-answer" in markup
    assert "lb-limit" not in markup
    assert [tag["present"] for tag in downloads.as_json(tagged, Filter(0.5))["images"][0]["tags"]] == [True, False, False]


def test_the_csv_of_tags_tells_the_threshold_of_each(tagged):
    rows = rows_of(downloads.csv_file(tagged, Filter(0.5)))
    told = [(row["class"], row["threshold"], row["present"]) for row in rows]
    assert told == [("'=mass", "0.7", "0"), ("nodule", "0.2", "1"), ("<i>x", "0.5", "0")]


def test_the_heat_map_belongs_to_the_class_that_was_pressed(tagged, monkeypatch):
    asked = []
    monkeypatch.setattr(pictures, "evidence_of", lambda result, file, class_id: asked.append(class_id) or np.eye(4, dtype=np.float32))
    monkeypatch.setattr(view, "evidence_of", pictures.evidence_of)
    plain = view.result_html(tagged, 0, Filter(0.5), "en")
    heated = view.result_html(tagged, 0, Filter(0.5, explain=1), "en")
    assert set(asked) == {1}
    assert 'aria-pressed="true"' not in plain
    assert "Where the model sees" in heated
    assert plain.split("base64,")[1][:4000] != heated.split("base64,")[1][:4000]


def test_certainty_is_never_rounded_up_to_a_hundred_percent():
    assert findings.percent(0.99971) == ">99.9 %"
    assert findings.percent(0.5) == "50.0 %"


@pytest.mark.parametrize(("task", "shown"), [("detect", "threshold nms tta slices"), (None, "threshold nms tta slices"),
                                             ("semantic", "threshold contours tta tiled"),
                                             ("instance", "threshold contours nms tta every slices"), ("classify", "threshold explain tta")])
def test_each_task_shows_its_own_controls(task, shown):
    assert visible(Held(task)) == [name for name in NAMES if name in ["only", "opacity", *shown.split()]]


def test_thresholds_found_in_validation_are_offered_only_where_there_are_some():
    assert "own" in visible(Held("classify", by_class=True)) and "threshold" not in visible(Held("classify", by_class=True))
    assert not {"own", "threshold"} & set(visible(Held("classify", exclusive=True)))


NAMES = ("threshold", "only", "opacity", "contours", "own", "explain", "nms", "tta", "tiled", "every", "slices")
HELD = Held("detect", ("猫", "狗"), 0.32, 0.7)


def chosen(held, begun=None, key=("runs/a", None)):
    *updates, after = controls.for_model(held, begun or controls.Begun(), key, "en")
    return dict(zip(NAMES, updates, strict=True)), after


def visible(held):
    return [name for name, update in chosen(held)[0].items() if update.visible is not False]


def test_a_model_that_is_chosen_sets_the_sliders_to_what_it_holds():
    updates, begun = chosen(HELD)
    assert [updates[name].value for name in ("threshold", "nms", "only")] == [0.32, 0.7, []]
    assert updates["only"].choices == [("猫", 0), ("狗", 1)] and begun == controls.Begun(("runs/a", None), 0.32, 0.7, 1.0)
    assert not any(isinstance(update, gr.Slider) for update in chosen(HELD, begun)[0].values()), "the same model again changes nothing"


def test_what_the_visitor_set_stays_when_images_have_been_looked_at(result):
    begun, stands = chosen(HELD)[1], Filter(0.1, (1,), 0.5, nms=0.3)
    settled, updates = controls.for_result(result, begun, stands, "en")
    assert settled == stands and not {"value"} & {key for update in updates[:-1] for key in update.constructor_args}


def test_what_a_bare_file_could_not_tell_is_set_once_it_is_loaded(areas):
    areas.threshold = 0.0
    begun = chosen(Held())[1]
    settled, _ = controls.for_result(areas, begun, Filter(begun.threshold, None, begun.opacity, nms=begun.nms), "en")
    assert (settled.threshold, settled.opacity) == (0.0, 0.45)
    assert controls.for_result(areas, begun, Filter(0.2, None, 0.7), "en")[0] == Filter(0.2, None, 0.7)


CONTENT = {"model_name": "deimv2_atto", "options": {"num_classes": 2}, "task": "detect", "classes": ["猫", "狗"],
           "preprocess": {"resize": "stretch", "size": 64, "mean": [0.0] * 3, "std": [1.0] * 3}}


@pytest.mark.parametrize("thresholds", [{"score": 0.32, "nms": 0.7}, {}])
def test_what_a_file_says_of_itself_is_what_the_loaded_model_has(tmp_path, thresholds):
    import torch

    from engine.models import create

    workspace = Workspace(tmp_path)
    torch.save({"model": create("deimv2_atto", 2).state_dict(), **CONTENT, "thresholds": thresholds}, workspace.weights / "a.pt")
    told = models.held(workspace, "weights/a.pt")
    assert told == held_by(models.Predictors()(workspace.weights / "a.pt"))
    assert (told.classes, told.threshold, told.nms) == (("猫", "狗"), thresholds.get("score", 0.45), thresholds.get("nms", 1.0))


@pytest.mark.parametrize("wrong", [{"task": "cook"}, {"classes": 5}, {"thresholds": {"score": "much"}}, {"thresholds": {"nms": 7}}, {"options": []}])
def test_a_file_that_says_nonsense_says_nothing(tmp_path, wrong):
    import torch

    workspace = Workspace(tmp_path)
    torch.save({**CONTENT, "thresholds": {}, **wrong}, workspace.weights / "a.pt")
    assert models.held(workspace, "weights/a.pt") == models.held(workspace, "gone") == Held()
    (workspace.weights / "a.pt").write_bytes(b"x")
    assert models.held(workspace, "weights/a.pt") == Held()


def test_an_architecture_that_was_told_tells_the_task(tmp_path):
    assert models.held(Workspace(tmp_path), "weights/a.pt", "di_maskdino_atto") == Held("instance", nms=0.8)


def test_the_image_on_show_is_found_again_by_its_file(areas, tmp_path):
    assert areas.place(tmp_path / "gone.png") == areas.place(None) == 0
    save_image(tmp_path / "b.png", np.zeros((48, 64, 3), np.uint8))
    areas.shots[1] = Shot(tmp_path / "b.png", "b.png", (64, 48), areas.shots[1].labels)
    first, second = view.strip(areas, areas.place(tmp_path / "b.png"), "en").split("</button>")[:2]
    assert 'aria-pressed="false"' in first and 'aria-pressed="true"' in second


def test_looking_several_times_does_not_change_the_loaded_model():
    loaded = Stub()
    loaded.tta, loaded.tiled = False, False
    assert prepared(loaded, tta=True, tiled=True).tta
    assert not loaded.tta
    assert not loaded.tiled
    assert not loaded.task.thresholds


def test_slices_are_for_objects_and_nonsense_is_told():
    loaded = Stub()
    assert [prepared(loaded, tta=False, tiled=False, slices=said).slices for said in ("off", "auto", "640")] == [0, -1, 640]
    with pytest.raises(UserError):
        prepared(loaded, tta=False, tiled=False, slices="few")
    loaded.task = SimpleNamespace(name="classify")
    assert prepared(loaded, tta=False, tiled=False, slices="auto").slices == 0


def there(markup):
    """Names of the tags that are highlighted."""
    return [part.split("</span>")[0].split("<span>")[1] for part in markup.split("lb-tagrow lb-there")[1:]]


def rows_of(file):
    with file.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


# ---- bare weights files

def test_a_bare_file_is_asked_for_its_architecture_and_a_runs_is_not():
    kind, inside = asking.asked("weights/unet_plusplus_best.pth")
    assert kind.visible and not inside.visible and "unet" in dict(kind.choices).values()
    assert not asking.asked("runs/a")[0].visible


@pytest.mark.parametrize("kind, option, common", [("unet", "encoder", "resnet34"), ("timm", "backbone", "resnet18"),
                                                  ("hybridmednet", "backbone", "swin_tiny")])
def test_the_encoder_or_backbone_can_be_told_where_a_model_has_one(kind, option, common):
    part = asking.inside(kind)
    assert part.visible and common in dict(part.choices)
    assert models.told(kind, " my_net ") == models.Told(kind, ((option, "my_net"),))
    assert models.told(kind, None) == models.Told(kind, ())


def test_nothing_more_is_asked_of_other_models():
    for kind in ("", None, "deimv2_atto", "vim_tiny"):
        assert not asking.inside(kind).visible
        assert models.told(kind, "resnet18") == models.Told(kind or None, ())


def test_another_answer_is_another_way_to_look():
    first, second, third = (asking.Look("weights/a.pth", "timm", inside, False, False, False, slices)
                            for inside, slices in ((None, "off"), ("resnet18", "off"), (None, "auto")))
    assert len({first.way, second.way, third.way}) == 3


def test_a_bare_file_that_was_told_its_backbone_predicts(tmp_path):
    import timm
    import torch

    torch.save(timm.create_model("test_resnet", num_classes=2).state_dict(), tmp_path / "a.pth")
    cache = models.Predictors()
    with pytest.raises(UserError) as caught:
        cache(tmp_path / "a.pth")
    assert "backbone" in caught.value.remedy()
    assert cache(tmp_path / "a.pth", models.told("timm", "test_resnet")).name == "timm"
