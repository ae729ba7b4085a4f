"""Backbones told apart by their tensors: (how many, how many numbers in them), counters of batch norms left out.

A test builds them and counts again. Two timm models of the same architecture share a line: their checkpoints fit both.
"""

FINGERPRINTS: dict[tuple[int, int], str] = {
    (100, 11186112): "resnet18", (180, 21301696): "resnet34", (265, 23561152): "resnet50", (520, 42605504): "resnet101",
    (178, 27818592): "convnext_tiny", (340, 49453152): "convnext_small", (340, 87564416): "convnext_base", (340, 196227264): "convnext_large",
    (169, 27517818): "swin_tiny", (325, 48835722): "swin_small", (325, 86741176): "swin_base", (665, 19998560): "efficientnetv2_s",
    (956, 52489908): "efficientnetv2_m", (1324, 116922528): "efficientnetv2_l", (412, 6954816): "vim_tiny", (412, 25411200): "vim_small",
    (412, 96828672): "vim_base", (160, 21586176): "vit_small_patch16_dinov3", (172, 22055424): "vit_small_patch14_dinov2",
    (145, 13977024): "resnet26", (155, 13996384): "resnet26d", (190, 21321056): "resnet34d", (275, 23580512): "resnet50d",
    (329, 26092144): "seresnet50", (265, 23048128): "resnext50_32x4d", (265, 66902464): "wide_resnet50_2", (124, 3373880): "convnext_atto",
    (124, 4832016): "convnext_femto", (124, 8531648): "convnext_pico", (142, 14951280): "convnext_nano", (340, 348143872): "convnext_xlarge",
    (136, 3386760): "convnextv2_atto", (136, 4847472): "convnextv2_femto", (136, 8552256): "convnextv2_pico", (156, 14981520): "convnextv2_nano",
    (196, 27864960): "convnextv2_tiny", (376, 87690752): "convnextv2_base", (325, 86876536): "swin_base_patch4_window12_384",
    (325, 194992404): "swin_large_patch4_window7_224", (217, 27576618): "swinv2_tiny_window8_256", (421, 48957882): "swinv2_small_window8_256",
    (421, 86891768): "swinv2_base_window8_256", (646, 12526324): "efficientnetv2_rw_t", (675, 21814552): "efficientnetv2_rw_s",
    (1028, 50676210): "efficientnetv2_rw_m", (354, 5668432): "tf_efficientnetv2_b0", (436, 6680244): "tf_efficientnetv2_b1",
    (455, 8470878): "tf_efficientnetv2_b2", (531, 12568126): "tf_efficientnetv2_b3", (304, 3634844): "efficientnet_b0",
    (432, 6160512): "efficientnet_b1", (432, 7267314): "efficientnet_b2", (489, 10187560): "efficientnet_b3", (603, 16863832): "efficientnet_b4",
    (255, 1843264): "mobilenetv2_100", (206, 278784): "mobilenetv3_small_050", (206, 583160): "mobilenetv3_small_075",
    (206, 939120): "mobilenetv3_small_100", (262, 2996352): "mobilenetv3_large_100", (604, 7037504): "densenet121", (844, 12642880): "densenet169",
    (1004, 18321984): "densenet201", (272, 2814844): "regnety_002", (329, 3930296): "regnety_004", (291, 5524056): "regnety_008",
    (538, 10366102): "regnety_016", (424, 17989498): "regnety_032", (520, 30187464): "maxvit_tiny_tf_224", (148, 5524032): "vit_tiny_patch16_224",
    (148, 21664896): "vit_small_patch16_224", (148, 85797120): "vit_base_patch16_224", (160, 85639680): "vit_base_patch16_dinov3",
    (172, 86578176): "vit_base_patch14_dinov2", (173, 22056576): "vit_small_patch14_reg4_dinov2", (173, 86580480): "vit_base_patch14_reg4_dinov2",
    (184, 28682496): "vit_small_plus_patch16_dinov3", (316, 303077376): "vit_large_patch16_dinov3", (48, 9231488): "vgg11_bn",
    (78, 14731584): "vgg16_bn", (164, 22904928): "mambaout_tiny", (164, 5815728): "mambaout_femto", (240, 2998304): "tf_efficientnet_lite0",
    (376, 3196128): "fastvit_t8", (570, 4760704): "repvit_m1", (176, 3409760): "pvt_v2_b0", (176, 13496000): "pvt_v2_b1",
    (332, 24849856): "pvt_v2_b2", (335, 959476): "ghostnet_100", (1605, 10991716): "hrnet_w18", (210, 5281224): "edgenext_small",
    (156, 1157880): "edgenext_xx_small", (128, 11401152): "poolformer_s12", (265, 5080980): "tiny_vit_5m_224", (161, 685920): "efficientvit_b0",
    (227, 4654272): "efficientvit_b1", (405, 30774592): "nextvit_small", (222, 26676610): "coatnet_0_rw_224",
    (195, 85760448): "beit_base_patch16_224", (160, 5501760): "eva02_tiny_patch14_224", (198, 23236912): "caformer_s18",
    (234, 23669704): "convformer_s18",
}
