"""Small samples of every annotation format, as the tools of others wrote them."""

import pytest

from engine.datasets import source
from engine.datasets.collection import collect
from engine.types import Instances, SemanticMask, Tags, UserError

# folder: (format, task, images, objects / positive tags / masks)
READ = {
    "datumaro_yolo_dataset/yolo": ("yolo", "detect", 1, 2),
    "datumaro_yolo_dataset/yolov8_detection": ("yolo", "detect", 1, 2),
    "datumaro_yolo_dataset/yolov8_detection_with_list_of_imgs": ("yolo", "detect", 1, 2),
    "datumaro_yolo_dataset/yolov8_detection_with_list_of_names": ("yolo", "detect", 1, 2),
    "datumaro_yolo_dataset/yolov8_detection_with_subset_txt": ("yolo", "detect", 1, 2),
    "datumaro_yolo_dataset/yolov8_oriented_boxes": ("yolo", "detect", 1, 2),
    "datumaro_yolo_dataset/yolov8_pose": ("yolo", "detect", 1, 1),
    "datumaro_yolo_dataset/yolov8_pose_two_values_per_point": ("yolo", "detect", 1, 1),
    "datumaro_yolo_dataset/yolov8_segmentation": ("yolo", "instance", 1, 2),
    "datumaro_yolo_dataset/yolov8_classification": ("class_folders", "classify", 3, 3),
    "datumaro_coco_dataset/coco_instances": ("coco", "instance", None, None),
    "datumaro_coco_dataset/coco_person_keypoints": ("coco", None, None, None),
    "datumaro_coco_dataset/coco_panoptic": ("coco", "instance", None, None),
    "datumaro_coco_dataset/coco_stuff": ("coco", "instance", None, None),
    "datumaro_coco_dataset/coco_captions": ("coco", None, None, 0),
    "datumaro_coco_dataset/coco_image_info": ("coco", None, None, 0),
    "datumaro_coco_dataset/coco_labels": ("coco", "classify", None, None),
    "datumaro_coco_dataset/coco": ("coco", "instance", None, None),
    "datumaro_cvat_dataset/for_images": ("cvat", None, None, None),
    "datumaro_cvat_dataset/for_video": ("cvat", None, None, None),
    "datumaro_labelme_dataset": ("labelme_xml", "instance", 1, None),
    "datumaro_voc_dataset/voc_dataset1": ("voc", None, None, None),
    "datumaro_voc_dataset/voc_dataset3": ("voc", None, None, None),
    "datumaro_camvid_dataset": ("mask_png", "semantic", 4, 4),
    "datumaro_vott_json_dataset/dataset": ("vott", None, 3, 0),  # boxes of 20 pixels on images of 5: all outside
    "datumaro_vott_json_dataset/dataset_with_meta_file": ("vott", None, 3, 0),
    "datumaro_kitti_dataset/kitti_detection": ("kitti", "detect", 2, None),
    "datumaro_kitti_dataset/kitti_segmentation": ("kitti", "instance", 2, None),
    "datumaro_open_images_dataset/v5": ("open_images", None, None, 0),  # lists images, labels none
    "datumaro_open_images_dataset/v6": ("open_images", None, None, None),
    "derived_labelme_json": ("labelme", "instance", 3, None),
    "derived_coco_rle_iscrowd": ("coco", "instance", 3, None),
    "derived_yolo_seg": ("yolo", "instance", 3, None),
    "derived_chinese_names/yolo": ("yolo", "detect", None, None),
}
REFUSED = {
    "datumaro_kitti_dataset/kitti_raw": "3D",
    "derived_chinese_names": "several",
}
WITHOUT_IMAGES = {"cvat_coco_json_only": "coco", "derived_chinese_names/voc": "voc", "datumaro_voc_dataset/voc_dataset2": "voc"}


def amount(labels):
    if isinstance(labels, Instances):
        return len(labels)
    return int((labels.values > 0.5).sum()) if isinstance(labels, Tags) else int(isinstance(labels, SemanticMask))


@pytest.fixture
def folder(reference):
    return reference / "data" / "formats" / "annotations"


@pytest.mark.parametrize("name", READ)
def test_the_sample_is_recognised_and_read(folder, name):
    format_name, task, images, objects = READ[name]
    chosen, _ = source.recognise(source.unwrapped(folder / name))
    assert chosen.name == format_name
    found = collect(chosen.read(source.unwrapped(folder / name)), chosen.name)
    assert [problem.message() for problem in found.problems if problem.severity == "error" and problem.code != "object_outside"] == []
    assert task in (None, found.task)
    assert len(found.samples) == images or (images is None and found.samples)
    total = sum(amount(sample.labels) for sample in found.samples)
    assert total == objects or (objects is None and total > 0)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_the_reason(folder, name):
    with pytest.raises(UserError) as caught:
        chosen, _ = source.recognise(folder / name)
        collect(chosen.read(folder / name))
    assert REFUSED[name].casefold() in str(caught.value).casefold()


@pytest.mark.parametrize("name", WITHOUT_IMAGES)
def test_labels_without_their_images_name_what_is_missing(folder, name):
    chosen, _ = source.recognise(folder / name)
    assert chosen.name == WITHOUT_IMAGES[name]
    found = collect(chosen.read(folder / name))
    assert found.samples == []
    assert {problem.code for problem in found.problems} & {"image_missing", "voc_image_missing", "label_without_image"}
