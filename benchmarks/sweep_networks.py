"""The networks of the pruning sweep: architectures of pytorchcv, timm and the zoo, with weights as after training."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator

import torch
from torch import nn

from benchmarks import timm_networks
from proprune_cli.modules.outputs import tensors_of
from proprune_cli.nets.models import build_model

INSTALL = "make peers, and build/peers on PYTHONPATH"

_PYTORCHCV = """
alexnet:alexnet@224 zfnet:zfnet@224 nin_cifar:nin_cifar10@32 resnet:resnet18@64 resnet:resnet50@64
resnet_cifar:resnet20_cifar10@32 resneta:resneta18@64 preresnet:preresnet18@64
preresnet_cifar:preresnet20_cifar10@32 resnext:resnext26_32x4d@64 resnext_cifar:resnext20_16x4d_cifar10@32
seresnet_cifar:seresnet20_cifar10@32 sepreresnet:sepreresnet18@64 sepreresnet_cifar:sepreresnet20_cifar10@32
senet:senet28@64 pyramidnet_cifar:pyramidnet110_a48_cifar10@32 diracnetv2:diracnet18v2@64 sharesnet:sharesnet18@64
densenet:densenet121@64 densenet_cifar:densenet40_k12_cifar10@32 condensenet:condensenet74_c4_g4@64
sparsenet:sparsenet121@64 peleenet:peleenet@64 drn:drnc26@64 drn:drnd22@64 dpn:dpn68@224 darknet:darknet_tiny@224
darknet53:darknet53@64 hardnet:hardnet39ds@64 vovnet:vovnet27s@64 selecsls:selecsls42@64 hrnet:hrnet_w18_small_v1@64
dla:dla34@64 dla:dla46c@64 espnetv2:espnetv2_wd2@224 dicenet:dicenet_wd5@224
resdropresnet_cifar:resdropresnet20_cifar10@32 shakedropresnet_cifar:shakedropresnet20_cifar10@32
fractalnet_cifar:fractalnet_cifar10@32 diaresnet:diaresnet18@64 diaresnet_cifar:diaresnet20_cifar10@32
diapreresnet:diapreresnet18@64 bninception:bninception@64 squeezenet:squeezenet_v1_1@224
squeezenet:squeezeresnet_v1_1@224 squeezenext:sqnxt23_w1@64 shufflenet:shufflenet_g1_w1@64
shufflenet:shufflenet_g3_w1@64 shufflenet:shufflenet_g8_w1@64 shufflenetv2:shufflenetv2_wd2@64
shufflenetv2b:shufflenetv2b_wd2@64 menet:menet108_8x1_g3@64 mobilenet:mobilenet_w1@64 fdmobilenet:fdmobilenet_w1@64
mobilenetb:mobilenetb_w1@64 mobilenetv2:mobilenetv2_w1@64 igcv3:igcv3_w1@64 mobilenetv3:mobilenetv3_large_w1@64
proxylessnas:proxylessnas_gpu@64 fbnet:fbnet_cb@64 efficientnet:efficientnet_b0@64
efficientnetedge:efficientnet_edge_small_b@64 mixnet:mixnet_s@64 ghostnet:ghostnet@64 octresnet:octresnet10_ad2@64
resnesta:resnesta18@64 regnet:regnetx002@64 regnet:regnety002@64 xdensenet_cifar:xdensenet40_2_k24_bc_cifar10@32
ror_cifar:ror3_56_cifar10@32 rir_cifar:rir_cifar10@32 shakeshakeresnet_cifar:shakeshakeresnet20_2x16d_cifar10@32
revnet:revnet38@64 vgg:vgg11@224 wrn:wrn50_2@64 resnetd:resnetd50b@64 preresnet:preresnet50@64
seresnet:seresnet50@64 seresnext:seresnext50_32x4d@64 ibnresnet:ibn_resnet50@64 ibnresnext:ibn_resnext50_32x4d@64
ibndensenet:ibn_densenet121@64 airnet:airnet50_1x64d_r2@64 airnext:airnext50_32x4d_r2@64 bamresnet:bam_resnet18@64
cbamresnet:cbam_resnet18@64 resattnet:resattnet56@224 irevnet:irevnet301@64 bagnet:bagnet9@64 fishnet:fishnet99@64
nasnet:nasnet_4a1056@224 xception:xception@299 inceptionv3:inceptionv3@299 inceptionv4:inceptionv4@299
inceptionresnetv1:inceptionresnetv1@299 mnasnet:mnasnet_a1@64 mnasnet:mnasnet_b1@64 spnasnet:spnasnet@64
efficientnet:efficientnet_b0b@64 sknet:sknet50@64 scnet:scnet50@224 wrn1bit_cifar:wrn20_10_1bit_cifar10@32
channelnet:channelnet@224 isqrtcovresnet:isqrtcovresnet18@64 darts:darts@224 fastseresnet:fastseresnet101b@64
tresnet:tresnet_m@64 ibnbresnet:ibnb_resnet50@64 inceptionresnetv2:inceptionresnetv2@299
"""
"""module:function@pixels of pytorchcv 0.0.74, those that take long at the end."""

_MAPS = """
bisenet:bisenet_resnet18_celebamaskhq@128 centernet:centernet_resnet18_voc@128 deeplabv3:deeplabv3_resnetd50b_voc@96
pspnet:pspnet_resnetd50b_voc@96 danet:danet_resnetd50b_cityscapes@96 fcn8sd:fcn8sd_resnetd50b_voc@96
icnet:icnet_resnetd50b_cityscapes@128 cgnet:cgnet_cityscapes@128 contextnet:ctxnet_cityscapes@128
dabnet:dabnet_cityscapes@128 edanet:edanet_cityscapes@128 enet:enet_cityscapes@128 erfnet:erfnet_cityscapes@128
esnet:esnet_cityscapes@128 espcnet:espcnet_cityscapes@128 fastscnn:fastscnn_cityscapes@128
fpenet:fpenet_cityscapes@128 lednet:lednet_cityscapes@128 linknet:linknet_cityscapes@128
lffd:lffd20x5s320v2_widerface@128 sinet:sinet_cityscapes@128 sqnet:sqnet_cityscapes@128 segnet:segnet_cityscapes@128
unet:unet_cityscapes@128 lwopenpose_cmupan:lwopenpose2d_mobilenet_cmupan_coco@128
lwopenpose_cmupan:lwopenpose3d_mobilenet_cmupan_coco@128 ibppose_coco:ibppose_coco@128 prnet:prnet@256
simplepose_coco:simplepose_resnet18_coco@128 simpleposemobile_coco:simplepose_mobile_resnet18_coco@128
alphapose_coco:alphapose_fastseresnet101b_coco@128 msdnet:msdnet22@224 msdnet_cifar10:msdnet22_cifar10@32
"""
"""Networks for segmentation, detection, poses and faces, and those with several outputs."""

_ZOO = """
lenet5@28 resnet8@32 resnet20@32 resnet18@32 resnet34@32 resnet50@32 vgg16@32 mobilenetv1@32 mobilenetv2@32
densenet40@32 densenet121@32 shufflenetv2@32 squeezenet@32 efficientnet-lite0@32 unet@32 segnet@32
"""


def names() -> list[str]:
    """Every network whose package is there; ``zoo:`` and ``timm:`` precede names of the zoo and of timm."""
    found = [f"zoo:{name}" for name in _ZOO.split()]
    if importlib.util.find_spec("timm") is not None:
        found += [f"timm:{name}" for name in timm_networks.NAMES.split()]
    if importlib.util.find_spec("pytorchcv") is not None:
        found += [*_PYTORCHCV.split(), *_MAPS.split()]
    return found


def build(name: str, seed: int = 0, settled: bool = True) -> tuple[nn.Module, int]:
    """Network and size of its images in pixels; weights random, norms as after training."""
    path, _, pixels = name.rpartition("@")
    size = int(pixels)
    torch.manual_seed(seed)
    if path.startswith("zoo:"):
        model = build_model(path[4:], 3, 10, size, gives="anything")
    elif path.startswith("timm:"):
        model = timm_networks.create(path[5:])
    else:
        module, _, function = path.partition(":")
        make = getattr(importlib.import_module(f"pytorchcv.models.{module}"), function)
        more = {"in_size": (size, size)} if name in _MAPS.split() else {}
        if "pose_" in path and "openpose" not in path and "ibppose" not in path:
            more["return_heatmap"] = True  # coordinates are found by code that depends on values
        model = make(pretrained=False, **more)
        for final in _final_pools(model):
            final.final_pool = nn.AdaptiveAvgPool2d(1)  # the published one wants the size of ImageNet's images
    if settled:
        settle(model, size)
    return model.eval(), size


def _final_pools(model: nn.Module) -> Iterator[nn.Module]:
    for module in model.modules():
        if isinstance(getattr(module, "final_pool", None), nn.AvgPool2d):
            yield module


def settle(model: nn.Module, size: int) -> None:
    """Norm statistics and biases as after training; fresh ones would hide mistakes, or let the signal die out."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = None  # statistics of all batches
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.2)
        elif isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.1)
    model.train()
    with torch.no_grad():
        model(torch.randn(4, 3, size, size))
    model.eval()


def liveliness(model: nn.Module, size: int) -> float:
    """How far outputs differ between images, over the largest output: near 0, a comparison would say nothing.

    Of several outputs the least lively counts.
    """
    with torch.no_grad():
        outputs = tensors_of(model(torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(2))))
    return min(float((y - y.mean(0)).abs().max() / y.abs().max()) for y in outputs)
