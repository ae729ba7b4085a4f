"""Image-level labels in tables: separators, encodings, roles of columns, and rows that contradict each other."""

import numpy as np
import pandas as pd
import pytest

from engine.datasets.collection import collect
from engine.datasets.formats import label_csv
from engine.types import UNCERTAIN, UserError


@pytest.fixture
def table(tmp_path, picture):
    """A folder with images x0.png ... and the table `text`."""
    def make(text, count=4, name="labels.csv", encoding="utf-8", folder="images"):
        root = tmp_path / "set"
        for k in range(count):
            picture(root / folder / f"x{k}.png", seed=k)
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return root
    return make


def read(root):
    assert label_csv.detects(root) is not None
    return collect(label_csv.read(root), "label_csv")


def tags(collection):
    return {sample.name.rpartition("/")[2]: None if sample.labels is None else sample.labels.values.tolist() for sample in collection.samples}


def codes(collection):
    return [problem.code for problem in collection.problems]


# ---- one column of labels

@pytest.mark.parametrize("text", [
    "image,labels\nx0.png,b|a\nx1.png,No Finding\nx2.png,b\nx3.png,a\n",
    "\ufeffImage Index;Finding Labels\nx0.png;a|b\nx1.png;No Finding\nx2.png;b\nx3.png;a\n",
    "filename\tclass\nx0.png\ta;b\nx1.png\tnone\nx2.png\tb\nx3.png\ta\n",
    'file,tags\r\n"x0.png","a, b"\r\nx1.png,\r\nx2.png,b\r\nx3.png,a\r\n',
    "path,category\nimages/x0.png,a|b\nimages/x1.png,Normal\nimages/x2.png,b\nimages/x3.png,a\n",
    "image_id,label\nx0,a\nx0,b\nx1,\nx2,b\nx3,a\n",
    "sep=;\nimage;labels\nx0.png;a|b\nx1.png;\nx2.png;b\nx3.png;a\n",
    "image,labels\nx0.png,\"['a', 'b']\"\nx1.png,[]\nx2.png,['b']\nx3.png,['a']\n",
    "x0.png,a|b\nx1.png,none\nx2.png,b\nx3.png,a\n",
    "image,labels\n/home/me/data/x0.png,a|b\nC:\\data\\x1.png,No Finding\nhttp://host/x2.png,b\n../../x3.png,a\n",
    "id,species\nx0,a|b\nx1,No Finding\nx2,b\nx3,a\n"])
def test_every_notation_of_several_labels_means_the_same(table, text):
    found = read(table(text))
    assert found.classes == ("a", "b")
    assert found.task == "classify"
    assert tags(found) == {"x0.png": [1, 1], "x1.png": [0, 0], "x2.png": [0, 1], "x3.png": [1, 0]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "gb18030"])
def test_every_encoding_is_understood(table, encoding):
    found = read(table("图像,标签\nx0.png,手术剪|钳子\nx1.png,钳子\n", count=2, encoding=encoding))
    assert set(found.classes) == {"手术剪", "钳子"}
    assert sum(tags(found)["x0.png"]) == 2


def test_a_comma_may_belong_to_a_name(table):
    found = read(table('image,label\nx0.png,"carcinoma, ductal"\nx1.png,"carcinoma, lobular"\nx2.png,"carcinoma, ductal"\n', count=3))
    assert found.classes == ("carcinoma, ductal", "carcinoma, lobular")


def test_few_words_in_many_combinations_are_labels_parted_by_blanks(table):
    texts = ["haze", "clear", "haze road", "clear road", "haze water", "clear water", "haze road water", "clear road water"]
    found = read(table("image,tags\n" + "".join(f"x{k}.png,{text}\n" for k, text in enumerate(texts)), count=8))
    assert found.classes == ("clear", "haze", "road", "water")
    assert read(table("image,label\nx0.png,golden retriever\nx1.png,retriever\n")).classes == ("golden retriever", "retriever")


def test_normal_is_a_class_where_every_image_has_one(table):
    found = read(table("image,label\nx0.png,normal\nx1.png,sick\nx2.png,normal\nx3.png,sick\n"))
    assert found.classes == ("normal", "sick")
    assert all(sum(values) == 1 for values in tags(found).values())


def test_numbers_are_classes_in_their_order(table):
    found = read(table("id,label,age\nx0,10,5\nx1,2,6\nx2,0,7\nx3,10,8\n"))
    assert found.classes == ("0", "2", "10")
    assert codes(found) == ["table_columns_ignored"]
    assert found.problems[0].values["names"] == "age"


def test_names_are_preferred_to_numbers(table):
    assert read(table("image,label,label_name\nx0.png,0,cat\nx1.png,1,dog\n", count=2)).classes == ("cat", "dog")


def test_measurements_are_no_classes(table, tmp_path):
    rows = "".join(f"x{k}.png,{k / 7:.3f}\n" for k in range(30))
    assert label_csv.detects(table(f"image,target\n{rows}", count=30)) is None


# ---- one column a class

def test_uncertain_and_blank_are_kept_apart(table):
    found = read(table("path,Edema,Pneumonia\nx0.png,1,0\nx1.png,-1,1\nx2.png,,1\nx3.png,0.0,1.0\n"))
    assert found.classes == ("Edema", "Pneumonia")
    values = tags(found)
    assert values["x0.png"] == [1, 0]
    assert values["x1.png"] == [UNCERTAIN, 1]
    assert np.isnan(values["x2.png"][0])
    assert values["x3.png"] == [0, 1]
    assert {problem.code: problem.values["count"] for problem in found.problems} == {"table_uncertain": 1, "table_blank": 1}


def test_true_and_false_are_understood_and_a_blank_row_is_unlabeled(table):
    found = read(table("image,cat,dog\nx0.png,True,FALSE\nx1.png,,\nx2.png,no,yes\nx3.png,1,nan\n"))
    values = tags(found)
    assert (values["x0.png"], values["x1.png"], values["x2.png"]) == ([1, 0], None, [0, 1])
    assert np.isnan(values["x3.png"][1])
    assert "images_without_labels" in codes(found)


def test_chexpert_is_read_with_patients_and_splits(tmp_path, picture):
    classes = ["No Finding", "Edema", "Support Devices"]
    for split, patients in (("train", (1, 2)), ("valid", (3,))):
        lines = ["Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(classes)]
        for patient in patients:
            for view in ("view1_frontal", "view2_lateral"):
                path = f"{split}/patient{patient:05d}/study1/{view}.jpg"
                picture(tmp_path / path, seed=patient)
                lines.append(f"CheXpert-v1.0-small/{path},Male,1,Frontal,AP,1.0,-1.0,")
        (tmp_path / f"{split}.csv").write_text("\n".join(lines))
    found = read(tmp_path)
    assert found.classes == tuple(classes)
    assert {(sample.split, sample.group) for sample in found.samples} == {
        ("train", "patient00001"), ("train", "patient00002"), ("valid", "patient00003")}
    assert all(sample.labels.values[1] == UNCERTAIN and np.isnan(sample.labels.values[2]) for sample in found.samples)


def test_a_patient_that_is_not_there_gets_no_other_ones_image(tmp_path, picture):
    picture(tmp_path / "train/patient00001/study1/view3_lateral.jpg")
    lines = [f"CheXpert/train/patient{k:05d}/study1/view3_lateral.jpg,{int(k == 1)}" for k in (2, 1, 777)]
    (tmp_path / "train.csv").write_text("Path,Edema\n" + "\n".join(lines) + "\n")
    found = read(tmp_path)
    assert tags(found) == {"view3_lateral.jpg": [1]}
    assert [problem.where for problem in found.problems if problem.code == "listed_image_missing"] == ["train.csv:2", "train.csv:4"]


def test_a_slip_in_a_long_column_is_named_and_the_class_stays(table):
    rows = "".join(f"x{k}.png,{'O' if k == 7 else k % 2},1\n" for k in range(20))
    found = read(table(f"image,cat,dog\n{rows}", count=20))
    assert found.classes == ("cat", "dog")
    assert [(problem.code, problem.where) for problem in found.problems if problem.severity == "error"] == [("tag_value_unknown", "labels.csv:9")]
    assert np.isnan(tags(found)["x7.png"][0])


# ---- splits and groups

def test_splits_and_groups_have_columns(table):
    found = read(table("image,label,split,patient_id\nx0.png,a,train,p1\nx1.png,b,Val,p1\nx2.png,a,test,p2\nx3.png,b,,\n"))
    assert [(sample.split, sample.group) for sample in found.samples] == [("train", "p1"), ("valid", "p1"), ("test", "p2"), (None, None)]


def test_one_table_a_split_becomes_one_set(tmp_path, picture):
    for split in ("train", "val", "test"):
        for k in range(2):
            picture(tmp_path / "all" / f"{split}{k}.png", seed=k)
        body = "".join(f"{split}{k}.png,{'ab'[k]}\n" for k in range(2)) if split != "test" else "test0.png\ntest1.png\n"
        (tmp_path / f"{split}.csv").write_text(("image,label\n" if split != "test" else "image,\n") + body)
    (tmp_path / "sample_submission.csv").write_text("image,label\ntest0.png,a\n")
    found = read(tmp_path)
    assert {sample.name: sample.split for sample in found.samples if sample.labels is not None} == {
        "all/train0.png": "train", "all/train1.png": "train", "all/val0.png": "valid", "all/val1.png": "valid"}


def test_the_lists_of_nih_give_splits(table):
    root = table("Image Index,Finding Labels,Follow-up #,Patient ID\nx0.png,a|b,0,1\nx1.png,No Finding,1,1\nx2.png,a,0,2\nx3.png,b,0,3\n")
    (root / "train_val_list.txt").write_text("x0.png\nx1.png\ngone.png\n")
    (root / "test_list.txt").write_text("x2.png\nx3.png\n")
    found = read(root)
    assert [(sample.split, sample.group) for sample in found.samples] == [("train", "1"), ("train", "1"), ("test", "2"), ("test", "3")]


# ---- what is wrong

def test_missing_files_and_contradicting_rows_are_named(table):
    found = read(table("path,Edema\nx0.png,1\nx0.png,0\nx1.png,0\nx2.png,1\ngone.png,1\nx3.png,0\n"))
    assert tags(found) == {"x0.png": [1], "x1.png": [0], "x2.png": [1], "x3.png": [0]}
    problems = {problem.code: problem for problem in found.problems}
    assert problems["listed_image_missing"].where == "labels.csv:6"
    assert "gone.png" in problems["listed_image_missing"].message()
    assert problems["table_rows_conflict"].where == "images/x0.png"
    assert "labels.csv:2" in problems["table_rows_conflict"].message()


def test_missing_files_are_counted_after_the_first(table, monkeypatch):
    monkeypatch.setattr("engine.datasets.formats.csv_missing.MAX_NAMED", 3)
    rows = "".join(f"gone{k}.png,a\n" for k in range(10))
    found = read(table(f"image,label\nx0.png,b\n{rows}", count=1))
    assert codes(found) == ["listed_image_missing"] * 3 + ["listed_images_missing"]
    assert found.problems[-1].values == {"count": 7}


def test_equal_rows_are_noted_and_other_labels_added(table):
    found = read(table("image,label\nx0.png,a\nx0.png,a\nx1.png,a\nx1.png,b\nx2.png,b\nx3.png,b\n"))
    assert tags(found)["x1.png"] == [1, 1]
    problems = {problem.code: problem for problem in found.problems}
    assert problems["table_rows_repeated"].values == {"count": 1}
    assert (problems["table_rows_joined"].severity, problems["table_rows_joined"].values["names"]) == ("warning", "images/x1.png")


def test_images_that_no_row_mentions_are_unlabeled_with_one_note(table):
    found = read(table("image,label\nx0.png,a\nx1.png,b\n", count=5))
    assert [sample.labels is None for sample in found.samples] == [False, False, True, True, True]
    assert [(problem.code, problem.values) for problem in found.problems] == [("images_without_labels", {"count": 3})]


def test_masks_beside_the_images_are_no_unlabeled_images(table, picture):
    root = table("image,diagnosis\nx0.png,a\nx1.png,b\n", count=2)
    picture(root / "masks" / "x0.png")
    found = read(root)
    assert [sample.name for sample in found.samples] == ["images/x0.png", "images/x1.png"]
    assert found.problems == []


def test_a_name_that_fits_several_images_is_not_guessed(tmp_path, picture):
    for folder in ("a", "b"):
        picture(tmp_path / folder / "1.png")
    (tmp_path / "labels.csv").write_text("image,label\n1.png,cat\na/1.png,dog\n")
    found = read(tmp_path)
    assert [(problem.code, problem.where) for problem in found.problems] == [
        ("listed_image_ambiguous", "labels.csv:2"), ("images_without_labels", ".")]


def test_rows_of_another_length_are_named(table):
    found = read(table("image,label,split\nx0.png,a,train\nx1.png,b\nx2.png,a, train, more\nx3.png,b,train,\n"))
    assert codes(found) == ["table_row_uneven"] * 2
    assert [problem.where for problem in found.problems] == ["labels.csv:3", "labels.csv:4"]
    assert len(found.samples) == 4


def test_an_unreadable_image_is_named_and_the_rest_is_read(table):
    root = table("image,label\nx0.png,a\nx1.png,b\nx2.png,a\nx3.png,b\n")
    (root / "images" / "x2.png").write_bytes(b"")
    found = read(root)
    assert [(problem.code, problem.where) for problem in found.problems] == [("image_empty", "images/x2.png")]
    assert len(found.samples) == 3


def test_a_quotation_mark_without_end_does_not_swallow_memory(table):
    body = "".join(f"x{k % 4}.png,a\n" for k in range(200_000))
    root = table(f'image,label\nx0.png,a\nx1.png,"{body}')
    with pytest.raises(UserError, match="labels.csv"):
        label_csv.read(root)


@pytest.mark.parametrize("text", [
    "filename,width,height,class,xmin,ymin,xmax,ymax\nx0.png,64,48,cat,1,1,20,20\n", "ImageID,Source,LabelName,Confidence\nx0,verification,/m/01,1\n",
    "image,mask\nx0.png,x1.png\n", "epoch,loss\n1,0.5\n2,0.4\n", "image,width,height\nx0.png,64,48\nx1.png,64,48\n",
    "name,r,g,b\nroad,1,0,0\n", "", "\n\n", "image\nx0.png\n", 'image,label\nx0.png,"[{""x"": 1}]"\n',
    "cat,10,20,40,40,x0.png,64,48\ndog,30,10,9,6,x0.png,64,48\n", "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name\ncat,1,2,4,4,x0.png\n",
    'filename,region_count,region_id,region_shape_attributes\nx0.png,2,0,"{""name"": ""rect""}"\nx0.png,2,1,"{""name"": ""rect""}"\n',
    "id,class,segmentation\nx0,cat,821 40 901 40 981 40\nx0,dog,\nx1,cat,\n", "ImageId,ClassId,EncodedPixels\nx0.png,1,821 40\nx1.png,2,\n",
    "image,label,runs\nx0.png,cat,1 4 65 4 129 4 193 4\nx1.png,dog,3 4 67 4 131 4 195 4\n",
    "image,label\nx0.png,10.25 3.5 8.1 9.75\nx1.png,7.2 3.1 8.8 9.3\n", "image,label\nx0.png,10.27\nx1.png,7.21\n"])
def test_tables_about_something_else_are_left_to_others(table, text):
    assert label_csv.detects(table(text)) is None


def test_many_class_numbers_in_a_cell_are_still_labels(table):
    found = read(table("Id,Target\nx0,16 0\nx1,7 1 2 0\nx2,5\nx3,1\n"))
    assert "16" in " ".join(found.classes)


def test_a_table_of_run_lengths_beside_the_labels_is_left_out_and_named(table):
    root = table("image,label\nx0.png,cat\nx1.png,dog\nx2.png,cat\nx3.png,dog\n")
    (root / "masks.csv").write_text("ImageId,EncodedPixels\nx0.png,821 40 901 40\n")
    found = read(root)
    assert (found.classes, codes(found)) == (("cat", "dog"), ["table_of_runs_left_out"])


def test_a_single_table_may_be_pointed_at(table):
    root = table("image,label\nx0.png,a\nx1.png,b\n")
    (root / "other.csv").write_text("image,label\nx0.png,z\n")
    found = collect(label_csv.read(root / "labels.csv"))
    assert found.classes == ("a", "b")


# ---- real data

def test_chest_x_rays_count_as_pandas_counts_them(reference):
    root = reference / "data" / "multilabel_nih64_csv"
    found = read(root)
    frame = pd.read_csv(root / "labels.csv", usecols=[0, 1, 2, 3], index_col=False)
    known = frame[frame["Image Index"].isin({sample.name.rpartition("/")[2] for sample in found.samples})]
    wanted = known["Finding Labels"].str.get_dummies("|").drop(columns="No Finding").sum()
    assert len(found.samples) == len(known) == 735
    assert len({sample.group for sample in found.samples}) == known["Patient ID"].nunique() == 185
    assert found.counts()["train"]["classes"] == {name: int(wanted[name]) for name in found.classes} == wanted.to_dict()
    assert codes(found) == ["table_columns_ignored"]
