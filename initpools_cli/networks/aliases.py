"""Short names of well-known pretrained networks, with the facts that decide between them."""

from __future__ import annotations

from dataclasses import dataclass

from initpools_cli.networks import efficientnet_lite

_IN1K = "ImageNet-1k with labels"
_IN1K_ALONE = "ImageNet-1k without labels"
_IN21K = "ImageNet-21k with labels"
_LVD142M = "142 million images without labels (LVD-142M)"
_LVD1689M = "1.7 billion images without labels (LVD-1689M)"
_WIT = "400 million images with captions (WIT)"
_LAION = "2 billion images with captions (LAION-2B)"
_WEBLI = "10 billion images with captions (WebLI)"

_APACHE, _BSD, _NONCOMMERCIAL, _DINOV3 = "apache-2.0", "bsd-3-clause", "cc-by-nc-4.0", "dinov3-license"


@dataclass(frozen=True)
class Alias:
    """A short name of a network, and facts about its weights.

    Attributes
    ----------
    name : str
        The short name.
    network : str
        The name in its library; of timm's networks with the tag of the weights.
    parameters : float
        Millions, without a classification layer.
    width : int
        Number of features.
    size : int
        Side of the input, pixels.
    license : str
        License of the weights.
    data : str
        What the weights were trained on.
    library : str
        "timm", "torchvision", or the pip package of the weights.
    """

    name: str
    network: str
    parameters: float
    width: int
    size: int
    license: str
    data: str
    library: str = "timm"


_LITE = efficientnet_lite.DEFAULT

#: The short names, in the order in which they are listed.
ALIASES = (
    Alias(_LITE, _LITE, 3.4, 1280, 224, _APACHE, efficientnet_lite.TRAINED_ON, efficientnet_lite.PACKAGE),
    Alias("dinov2-small", "vit_small_patch14_dinov2.lvd142m", 22.1, 384, 518, _APACHE, _LVD142M),
    Alias("dinov2-base", "vit_base_patch14_dinov2.lvd142m", 86.6, 768, 518, _APACHE, _LVD142M),
    Alias("dinov2-large", "vit_large_patch14_dinov2.lvd142m", 304.4, 1024, 518, _APACHE, _LVD142M),
    Alias("dinov2-giant", "vit_giant_patch14_dinov2.lvd142m", 1136.5, 1536, 518, _APACHE, _LVD142M),
    Alias("dinov2-reg-small", "vit_small_patch14_reg4_dinov2.lvd142m", 22.1, 384, 518, _APACHE, _LVD142M),
    Alias("dinov2-reg-base", "vit_base_patch14_reg4_dinov2.lvd142m", 86.6, 768, 518, _APACHE, _LVD142M),
    Alias("dinov2-reg-large", "vit_large_patch14_reg4_dinov2.lvd142m", 304.4, 1024, 518, _APACHE, _LVD142M),
    Alias("dinov2-reg-giant", "vit_giant_patch14_reg4_dinov2.lvd142m", 1136.5, 1536, 518, _APACHE, _LVD142M),
    Alias("dinov3-small", "vit_small_patch16_dinov3.lvd1689m", 21.6, 384, 256, _DINOV3, _LVD1689M),
    Alias("dinov3-small-plus", "vit_small_plus_patch16_dinov3.lvd1689m", 28.7, 384, 256, _DINOV3, _LVD1689M),
    Alias("dinov3-base", "vit_base_patch16_dinov3.lvd1689m", 85.6, 768, 256, _DINOV3, _LVD1689M),
    Alias("dinov3-large", "vit_large_patch16_dinov3.lvd1689m", 303.1, 1024, 256, _DINOV3, _LVD1689M),
    Alias("dinov3-huge-plus", "vit_huge_plus_patch16_dinov3.lvd1689m", 840.5, 1280, 256, _DINOV3, _LVD1689M),
    Alias("dinov3-convnext-tiny", "convnext_tiny.dinov3_lvd1689m", 27.8, 768, 224, _DINOV3, _LVD1689M),
    Alias("dinov3-convnext-small", "convnext_small.dinov3_lvd1689m", 49.5, 768, 224, _DINOV3, _LVD1689M),
    Alias("dinov3-convnext-base", "convnext_base.dinov3_lvd1689m", 87.6, 1024, 224, _DINOV3, _LVD1689M),
    Alias("dinov3-convnext-large", "convnext_large.dinov3_lvd1689m", 196.2, 1536, 224, _DINOV3, _LVD1689M),
    Alias("clip-base", "vit_base_patch32_clip_quickgelu_224.openai", 87.5, 768, 224, _APACHE, _WIT),
    Alias("clip-base-16", "vit_base_patch16_clip_quickgelu_224.openai", 85.8, 768, 224, _APACHE, _WIT),
    Alias("clip-large", "vit_large_patch14_clip_quickgelu_224.openai", 303.2, 1024, 224, _APACHE, _WIT),
    Alias("clip-large-336", "vit_large_patch14_clip_quickgelu_336.openai", 303.5, 1024, 336, _APACHE, _WIT),
    Alias("openclip-base", "vit_base_patch32_clip_224.laion2b", 87.5, 768, 224, _APACHE, _LAION),
    Alias("openclip-large", "vit_large_patch14_clip_224.laion2b", 303.2, 1024, 224, _APACHE, _LAION),
    Alias("openclip-huge", "vit_huge_patch14_clip_224.laion2b", 630.8, 1280, 224, _APACHE, _LAION),
    Alias("siglip-base", "vit_base_patch16_siglip_224.webli", 92.9, 768, 224, _APACHE, _WEBLI),
    Alias("siglip-large", "vit_large_patch16_siglip_256.webli", 316.0, 1024, 256, _APACHE, _WEBLI),
    Alias("siglip-so400m", "vit_so400m_patch14_siglip_224.webli", 427.7, 1152, 224, _APACHE, _WEBLI),
    Alias("siglip2-base", "vit_base_patch16_siglip_224.v2_webli", 92.9, 768, 224, _APACHE, _WEBLI),
    Alias("siglip2-large", "vit_large_patch16_siglip_256.v2_webli", 316.0, 1024, 256, _APACHE, _WEBLI),
    Alias("siglip2-so400m", "vit_so400m_patch14_siglip_224.v2_webli", 427.7, 1152, 224, _APACHE, _WEBLI),
    Alias("mae-base", "vit_base_patch16_224.mae", 85.8, 768, 224, _NONCOMMERCIAL, _IN1K_ALONE),
    Alias("mae-large", "vit_large_patch16_224.mae", 303.3, 1024, 224, _NONCOMMERCIAL, _IN1K_ALONE),
    Alias("mae-huge", "vit_huge_patch14_224.mae", 630.8, 1280, 224, _NONCOMMERCIAL, _IN1K_ALONE),
    Alias("dino-small", "vit_small_patch16_224.dino", 21.7, 384, 224, _APACHE, _IN1K_ALONE),
    Alias("dino-base", "vit_base_patch16_224.dino", 85.8, 768, 224, _APACHE, _IN1K_ALONE),
    Alias("convnext-tiny", "convnext_tiny.fb_in1k", 27.8, 768, 224, _APACHE, _IN1K),
    Alias("convnext-small", "convnext_small.fb_in1k", 49.5, 768, 224, _APACHE, _IN1K),
    Alias("convnext-base", "convnext_base.fb_in1k", 87.6, 1024, 224, _APACHE, _IN1K),
    Alias("convnext-large", "convnext_large.fb_in1k", 196.2, 1536, 224, _APACHE, _IN1K),
    Alias("vit-tiny", "vit_tiny_patch16_224.augreg_in21k", 5.5, 192, 224, _APACHE, _IN21K),
    Alias("vit-small", "vit_small_patch16_224.augreg_in21k", 21.7, 384, 224, _APACHE, _IN21K),
    Alias("vit-base", "vit_base_patch16_224.augreg_in21k", 85.8, 768, 224, _APACHE, _IN21K),
    Alias("vit-large", "vit_large_patch16_224.augreg_in21k", 303.3, 1024, 224, _APACHE, _IN21K),
    Alias("resnet18", "resnet18", 11.2, 512, 224, _BSD, _IN1K, "torchvision"),
    Alias("resnet50", "resnet50", 23.5, 2048, 224, _BSD, _IN1K, "torchvision"),
    Alias("resnet101", "resnet101", 42.5, 2048, 224, _BSD, _IN1K, "torchvision"),
)

#: Other names: of families, and what torch.hub, OpenAI's `clip` and the Hugging Face hub call the same networks.
OTHER_NAMES = {
    "dinov2": "dinov2-small",
    "dinov3": "dinov3-small",
    "clip": "clip-base",
    "openclip": "openclip-base",
    "siglip": "siglip-base",
    "siglip2": "siglip2-base",
    "mae": "mae-base",
    "convnext": "convnext-tiny",
    "resnet": "resnet50",
    "dinov2_vits14": "dinov2-small",
    "dinov2_vitb14": "dinov2-base",
    "dinov2_vitl14": "dinov2-large",
    "dinov2_vitg14": "dinov2-giant",
    "dinov2_vits14_reg": "dinov2-reg-small",
    "dinov2_vitb14_reg": "dinov2-reg-base",
    "dinov2_vitl14_reg": "dinov2-reg-large",
    "dinov2_vitg14_reg": "dinov2-reg-giant",
    "dinov3_vits16": "dinov3-small",
    "dinov3_vits16plus": "dinov3-small-plus",
    "dinov3_vitb16": "dinov3-base",
    "dinov3_vitl16": "dinov3-large",
    "dinov3_vith16plus": "dinov3-huge-plus",
    "dinov3_convnext_tiny": "dinov3-convnext-tiny",
    "dinov3_convnext_small": "dinov3-convnext-small",
    "dinov3_convnext_base": "dinov3-convnext-base",
    "dinov3_convnext_large": "dinov3-convnext-large",
    "clip-base-32": "clip-base",
    "dino_vits16": "dino-small",
    "dino_vitb16": "dino-base",
    "facebook/dinov2-small": "dinov2-small",
    "facebook/dinov2-base": "dinov2-base",
    "facebook/dinov2-large": "dinov2-large",
    "facebook/dinov2-giant": "dinov2-giant",
    "facebook/dinov2-with-registers-small": "dinov2-reg-small",
    "facebook/dinov2-with-registers-base": "dinov2-reg-base",
    "facebook/dinov2-with-registers-large": "dinov2-reg-large",
    "facebook/dinov2-with-registers-giant": "dinov2-reg-giant",
    "facebook/dinov3-vits16-pretrain-lvd1689m": "dinov3-small",
    "facebook/dinov3-vits16plus-pretrain-lvd1689m": "dinov3-small-plus",
    "facebook/dinov3-vitb16-pretrain-lvd1689m": "dinov3-base",
    "facebook/dinov3-vitl16-pretrain-lvd1689m": "dinov3-large",
    "facebook/dinov3-vith16plus-pretrain-lvd1689m": "dinov3-huge-plus",
    "facebook/dinov3-convnext-tiny-pretrain-lvd1689m": "dinov3-convnext-tiny",
    "facebook/dinov3-convnext-small-pretrain-lvd1689m": "dinov3-convnext-small",
    "facebook/dinov3-convnext-base-pretrain-lvd1689m": "dinov3-convnext-base",
    "facebook/dinov3-convnext-large-pretrain-lvd1689m": "dinov3-convnext-large",
    "ViT-B/32": "clip-base",
    "openai/clip-vit-base-patch32": "clip-base",
    "ViT-B/16": "clip-base-16",
    "openai/clip-vit-base-patch16": "clip-base-16",
    "ViT-L/14": "clip-large",
    "openai/clip-vit-large-patch14": "clip-large",
    "ViT-L/14@336px": "clip-large-336",
    "openai/clip-vit-large-patch14-336": "clip-large-336",
    "laion/CLIP-ViT-B-32-laion2B-s34B-b79K": "openclip-base",
    "laion/CLIP-ViT-L-14-laion2B-s32B-b82K": "openclip-large",
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": "openclip-huge",
    "google/siglip-base-patch16-224": "siglip-base",
    "google/siglip-large-patch16-256": "siglip-large",
    "google/siglip-so400m-patch14-224": "siglip-so400m",
    "google/siglip2-base-patch16-224": "siglip2-base",
    "google/siglip2-large-patch16-256": "siglip2-large",
    "google/siglip2-so400m-patch14-224": "siglip2-so400m",
    "facebook/vit-mae-base": "mae-base",
    "facebook/vit-mae-large": "mae-large",
    "facebook/vit-mae-huge": "mae-huge",
    "facebook/dino-vits16": "dino-small",
    "facebook/dino-vitb16": "dino-base",
    "facebook/convnext-tiny-224": "convnext-tiny",
    "facebook/convnext-small-224": "convnext-small",
    "facebook/convnext-base-224": "convnext-base",
    "facebook/convnext-large-224": "convnext-large",
}

_BY_NAME = {alias.name: alias for alias in ALIASES}
_BY_NETWORK = {alias.network: alias for alias in ALIASES}


def alias(name: str) -> Alias | None:
    """Return the entry of a short name, or of another name of it; None if there is none."""
    return _BY_NAME.get(OTHER_NAMES.get(name, name))


def alias_of(network: str) -> Alias | None:
    """Return the entry of a network by its name in its library; None if there is none."""
    return _BY_NETWORK.get(network)


def canonical(name: str) -> str:
    """Return the name in its library of a short name; other names are returned as they are."""
    entry = alias(name)
    return entry.network if entry else name
