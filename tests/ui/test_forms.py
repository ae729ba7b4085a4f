"""The form: TrainConfig fields to components and back."""

import dataclasses

import gradio as gr
import pytest

from engine import messages
from engine.config import TrainConfig
from engine.models import models
from engine.models.unet import ARCHITECTURES
from engine.types import UserError
from ui import forms

NAMES = [each.name for each in forms.fields()]


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(TrainConfig)])
@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_every_option_has_a_label_and_a_help_in_every_language(name, language):
    for key in (f"option.{name}", f"option.{name}.help"):
        assert key in messages.catalogue(language), key


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_every_choice_and_group_has_a_text(language):
    texts = messages.catalogue(language)
    own = [field for spec in models.entries().values() for field in forms.model_fields(spec)]
    assert not [f"option.choice.{choice}" for field in own for choice in field.choices if f"option.choice.{choice}" not in texts]
    assert not [key for field in own for key in (f"option.{field.name}", f"option.{field.name}.help") if key not in texts]
    assert not [f"option.choice.{choice}" for field in forms.fields() for choice in field.choices if f"option.choice.{choice}" not in texts]
    assert not [f"option_group.{group}" for group in forms.advanced_groups() if f"option_group.{group}" not in texts]


def test_every_option_is_in_the_form_once_but_for_those_chosen_elsewhere():
    shown = [field.name for field in forms.plain_fields() if field.name != "model"]
    shown += [field.name for group in forms.advanced_groups().values() for field in group]
    assert sorted(shown) == sorted(name for name in (each.name for each in dataclasses.fields(TrainConfig)) if name not in forms.HIDDEN)


@pytest.mark.parametrize("name", NAMES)
def test_a_default_goes_through_its_component_and_back(name):
    field = next(each for each in forms.fields() if each.name == name)
    shown = forms.component(field).value
    assert getattr(forms.to_config({name: shown}), name) == field.default


def test_a_fraction_is_shown_short_and_keeps_its_value_until_somebody_changes_it():
    field = next(each for each in forms.fields() if each.name == "exponent")
    own = {"data": "x", "model": "unet"}
    assert forms.component(field).value == "1.333"
    assert forms.to_config({"loss": "focal_tversky", "exponent": "1.333"}, **own).exponent == 4 / 3
    assert forms.to_config({"loss": "focal_tversky", "exponent": "3/2"}, **own).exponent == 1.5
    assert forms.to_values(TrainConfig(exponent=1.23456))["exponent"] == "1.23456"
    assert forms.restored({"exponent": "4:3"})["exponent"] == "1.333"


def test_an_open_number_is_shown_empty_and_means_derived():
    values = forms.to_values(TrainConfig())
    assert values["batch"] == values["lr"] == values["weight_decay"] == values["workers"] == ""
    assert values["seed"] == 0
    assert forms.to_config(values) == TrainConfig()


def test_values_survive_the_way_to_the_form_and_back():
    config = TrainConfig(epochs=12, lr=0.00016, batch=3, image_size=96, weight_decay=0.0, seed=7, augment="flip", warmup=0.1)
    assert forms.to_config(forms.to_values(config)) == config


@pytest.mark.parametrize(("name", "value", "words"), [
    ("batch", "-3", ("-3", "1024")), ("lr", "5", ("5", "1")), ("image_size", "100", ("100", "96", "128")), ("epochs", "many", ("many",)),
    ("augment", "wild", ("wild", "standard")), ("seed", 1.5, ("1.5",)),
])
def test_a_bad_value_is_named_with_its_bound_and_a_remedy(name, value, words):
    with pytest.raises(UserError) as caught:
        forms.to_config({name: value})
    told = f"{caught.value.message('en')} {caught.value.remedy('en')}"
    assert all(word in told for word in words), told
    assert caught.value.remedy("en") != f"error.{caught.value.key}.remedy"


def test_a_draft_keeps_what_this_version_accepts_and_forgets_the_rest():
    draft = {"batch": "8", "lr": "fast", "gone": 1, "seed": 5, "image_size": "33", "weights": "none"}
    assert forms.restored(draft) == {"batch": "8", "seed": 5, "weights": "none"}
    assert forms.restored(None) == forms.restored([1]) == {}


def test_only_numbers_that_cannot_be_left_open_are_number_boxes():
    kinds = {field.name: type(forms.component(field)) for field in forms.fields()}
    assert kinds["lr"] is gr.Textbox
    assert kinds["warmup"] is gr.Number
    assert kinds["device"] is gr.Dropdown


@pytest.mark.parametrize(("value", "text"), [(0.0005, "0.0005"), (12.0, "12"), (8, "8"), ("auto", "auto"), (0.00001, "1.00e-05"), (0.707, "0.707")])
def test_figures_are_written_as_people_write_them(value, text):
    assert forms.figure(value) == text


def test_the_difference_of_configs_names_only_what_differs():
    assert forms.difference([TrainConfig(lr=0.1), TrainConfig(lr=0.2)]) == {"lr": [0.1, 0.2]}
    assert forms.difference([TrainConfig(), TrainConfig(epochs_plan={"0": 3})]) == {}
    assert forms.difference([]) == {}


# ---- what belongs to a task, and to a model

def field(name, model=""):
    every = [*forms.fields(), *(each for spec in models.entries().values() for each in forms.model_fields(spec))]
    return next(each for each in every if (each.name, each.model) == (name, model))


def test_each_model_has_options_of_its_own_name():
    keys = [each.key for spec in models.entries().values() for each in forms.model_fields(spec)]
    assert len(keys) == len(set(keys))
    assert {"unet.encoder", "timm.backbone", "hybridmednet.backbone"} <= set(keys)
    assert set(ARCHITECTURES) == set(field("architecture", "unet").choices)


@pytest.mark.parametrize(("name", "model", "kind"), [
    ("architecture", "unet", gr.Dropdown), ("encoder", "unet", gr.Dropdown), ("dropout", "timm", gr.Number),
    ("hierarchical", "hybridmednet", gr.Checkbox),
])
def test_an_options_kind_decides_its_part_and_any_encoder_can_be_typed(name, model, kind):
    part = forms.component(field(name, model))
    assert isinstance(part, kind)
    assert getattr(part, "allow_custom_value", False) == (name == "encoder")


@pytest.mark.parametrize(("model", "there", "absent"), [
    ("deimv2_atto", ("augment", "schedule"), ("loss", "sampling", "uncertain", "unet.encoder")),
    ("unet", ("loss", "resize", "unet.encoder"), ("uncertain", "label_smoothing", "fp_weight", "timm.backbone")),
    ("timm", ("loss", "uncertain", "timm.backbone"), ("resize", "fp_weight", "coarse_weight", "hybridmednet.backbone")),
])
def test_options_that_the_task_or_the_model_does_not_read_are_hidden(model, there, absent):
    every = [*forms.fields(), *(each for spec in models.entries().values() for each in forms.model_fields(spec))]
    shown = {each.key for each in every if forms.matters(each, models.get(model), {"loss": "auto", "schedule": "auto"})}
    assert set(there) <= shown
    assert not set(absent) & shown


@pytest.mark.parametrize(("values", "model", "name"), [
    ({"loss": "tversky"}, "unet", "fp_weight"), ({"loss": "focal_tversky"}, "unet", "exponent"), ({"loss": "focal"}, "timm", "focal_gamma"),
    ({"schedule": "plateau"}, "unet", "plateau_patience"), ({"hybridmednet.hierarchical": True}, "hybridmednet", "coarse_classes"),
])
def test_dependent_options_show_with_what_they_depend_on(values, model, name):
    assert forms.matters(field(name), models.get(model), values)
    assert not forms.matters(field(name), models.get(model), {})


def test_losses_are_those_of_the_task_and_together_they_are_all():
    loss = field("loss")
    assert "bce" not in loss.choices_for("semantic")
    assert "dice_bce" not in loss.choices_for("classify")
    assert set(loss.choices_for("semantic")) | set(loss.choices_for("classify")) == set(loss.choices)


def test_a_choice_that_may_stay_is_not_sent_back():
    augment = field("augment")
    assert "value" not in forms.choices_update(augment, "semantic", "tutorial"), "the form may have changed meanwhile"
    assert forms.choices_update(augment, "detect", "tutorial")["value"] == "auto"


def test_a_form_means_the_model_with_its_changed_options_and_drops_what_it_does_not_read():
    values = {"unet.encoder": "resnet18", "unet.mode": "auto", "timm.backbone": "resnet50", "loss": "focal_tversky", "exponent": 2,
              "uncertain": "ones"}
    config = forms.to_config(values, model="unet", data="d")
    assert (config.task, config.options, config.loss, config.exponent) == ("semantic", {"encoder": "resnet18"}, "focal_tversky", 2.0)
    other = forms.to_config(values, model="timm", data="d")
    assert (other.task, other.options, other.loss, other.uncertain) == ("classify", {"backbone": "resnet50"}, "auto", "ones")


def test_a_kind_of_labels_that_is_chosen_is_said_even_where_it_is_the_networks_default():
    assert forms.to_config({"timm.mode": "multilabel"}, model="timm").options == {"mode": "multilabel"}
    assert forms.to_config({"timm.mode": "auto"}, model="timm").options == {}


def test_a_bad_model_option_is_named():
    with pytest.raises(UserError) as caught:
        forms.to_config({"timm.dropout": "2"}, model="timm")
    assert "0.9" in caught.value.message("en")


def test_a_draft_keeps_the_options_of_every_model():
    draft = {"unet.encoder": "tu-convnext_tiny", "timm.dropout": 0.2, "hybridmednet.num_heads": "many", "timm.mode": "auto"}
    assert forms.restored(draft) == {"unet.encoder": "tu-convnext_tiny", "timm.dropout": 0.2, "timm.mode": "auto"}


def test_every_backbone_that_is_suggested_for_outlines_is_there_to_be_built():
    from engine.models.backbones import is_timm_model

    assert [name for name in forms.PYRAMIDS if not is_timm_model(name)] == []
    assert forms.SUGGESTED["di_maskdino", "backbone"] == forms.PYRAMIDS


def test_the_difference_of_configs_names_model_options():
    pair = [TrainConfig(options={"backbone": "a"}), TrainConfig(options={"backbone": "b", "dropout": 0.1})]
    assert forms.difference(pair) == {"backbone": ["a", "b"], "dropout": [None, 0.1]}
