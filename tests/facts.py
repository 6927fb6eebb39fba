"""Numbers of the papers, torchvision and keras.applications that the package must reproduce.

He et al. 2015 is arXiv 1512.03385, He et al. 2016 is arXiv 1603.05027. Trainable parameters count batch norm's scale
and offset and not its moving statistics; multiply-adds count convolutions and the dense layer.
"""

# By depth: (network, option) -> trainable parameters, CIFAR-10, basic units.
CIFAR_PARAMETERS = {
    20: {"v1_A": 269722, "v1_B": 272474, "v1_C": 283962, "v2_A": 269722, "v2_B": 272282},
    32: {"v1_A": 464154, "v1_B": 466906, "v1_C": 489594, "v2_A": 464154, "v2_B": 466714},
    44: {"v1_A": 658586, "v1_B": 661338, "v1_C": 695226, "v2_A": 658586, "v2_B": 661146},
    56: {"v1_A": 853018, "v1_B": 855770, "v1_C": 900858, "v2_A": 853018, "v2_B": 855578},
    110: {"v1_A": 1727962, "v1_B": 1730714, "v1_C": 1826202, "v2_A": 1727962, "v2_B": 1730522},
    1202: {"v1_A": 19421274, "v1_B": 19424026, "v1_C": 20538714, "v2_A": 19421274, "v2_B": 19423834},
}
# Bottleneck units, projections where the dimension grows.
CIFAR_BOTTLENECK_PARAMETERS = {164: {"v1": 1704154, "v2": 1703258}, 1001: {"v1": 10328602, "v2": 10327706}}
CIFAR100_ADDS = {"basic": 5850, "bottleneck": 23130}
CIFAR_MACS_A = {20: 40.55, 32: 68.86, 44: 97.17, 56: 125.49, 110: 252.89, 1202: 2829.24}  # millions

IMAGENET_UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
IMAGENET_PARAMETERS = {
    18: {"v1_A": 11515688, "v1_B": 11689512, "v1_C": 12043816, "v2_B": 11687720},
    34: {"v1_A": 21623848, "v1_B": 21797672, "v1_C": 22716840, "v2_B": 21795880},
    50: {"v1_A": 22780456, "v1_B": 25557032, "v1_C": 40128552, "v2_B": 25549352},
    101: {"v1_A": 41772584, "v1_B": 44549160, "v1_C": 76981288, "v2_B": 44541480},
    152: {"v1_A": 57416232, "v1_B": 60192808, "v1_C": 107335720, "v2_B": 60185128},
    200: {"v1_B": 64673832, "v2_B": 64666152},
}
# Billions, option B; the stride in the first 1x1 convolution of a bottleneck unit, or in its 3x3.
IMAGENET_MACS_1X1 = {18: 1.814, 34: 3.664, 50: 3.858, 101: 7.570, 152: 11.282, 200: 14.776}
IMAGENET_MACS_3X3 = {18: 1.814, 34: 3.664, 50: 4.089, 101: 7.801, 152: 11.514, 200: 15.007}
RESNET34_A_MACS = 3.644
PAPER_FLOPS = {"18": "1.8e9", "34": "3.6e9", "50": "3.8e9", "101": "7.6e9", "152": "11.3e9"}
PAPER_PARAMETERS = {20: "0.27M", 32: "0.46M", 44: "0.66M", 56: "0.85M", 110: "1.7M", 1202: "19.4M"}
OPTION_C_ADDS_TO_RESNET34 = 13  # projections (2015, section 4.1, footnote)

# He et al. 2016, figure 4, for a unit of two convolutions; "+" is the addition.
ORDERS = {
    "original": "conv bn relu conv bn + relu",
    "bn_after_addition": "conv bn relu conv + bn relu",
    "relu_before_addition": "conv bn relu conv bn relu +",
    "relu_only_preactivation": "relu conv bn relu conv bn +",
    "full_preactivation": "bn relu conv bn relu conv +",
}

# keras.applications, moving statistics and convolution biases counted.
KERAS_APPLICATIONS_TOTALS = {
    "ResNet50": 25636712,
    "ResNet101": 44707176,
    "ResNet152": 60419944,
    "ResNet50V2": 25613800,
    "ResNet101V2": 44675560,
    "ResNet152V2": 60380648,
}
