"""How official DEIMv2 checkpoints map onto this network: the names agree, only sizes and recomputed tables differ."""

from engine.models.network import LoadMap

LOAD_MAP = LoadMap(
    recomputed=(r"decoder\.anchors", r"decoder\.valid_mask"),
    per_class=(r"decoder\.enc_score_head\..*", r"decoder\.dec_score_head\..*", r"decoder\.denoising_class_embed\.weight"),
    class_bias="decoder.enc_score_head.bias",
)
