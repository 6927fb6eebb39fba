"""Fine-tunes a pretrained network to classify pictures by the folder that they come from: two folders, or more.

    photos/cats/*.jpg
    photos/dogs/*.jpg

    python examples/two_folders.py photos
    keras-resnet predict two_folders.keras picture.jpg --explain why

A fifth of the pictures is held out to measure the accuracy. KERAS_BACKEND chooses TensorFlow, JAX or Torch.
"""

import argparse
import warnings

import keras

import keras_resnet
from keras_resnet import saving
from keras_resnet.models.catalog import find

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", help="folder with one folder of pictures per class")
parser.add_argument("--model", default="resnet18", help="name of the network [resnet18]")
parser.add_argument("--weights", default="imagenet", help="imagenet, hf://OWNER/NAME or a file [imagenet]")
parser.add_argument("--size", type=int, default=224, help="side of the pictures in pixels [224]")
parser.add_argument("--epochs", type=int, default=5, help="epochs of each of the two steps [5]")
parser.add_argument("--out", default="two_folders.keras", help="file to write [two_folders.keras]")
options = parser.parse_args()
if not options.out.endswith(".keras"):  # refused before the training, not after it
    parser.error(f"--out must end in .keras. Received: {options.out}")

warnings.filterwarnings("ignore", "Your input ran out of data")  # Keras counts the batches in the first epoch
warnings.filterwarnings("ignore", "`shuffle=True` was passed")  # the data set is shuffled
training, validation = keras.utils.image_dataset_from_directory(
    options.folder,
    image_size=(options.size, options.size),
    crop_to_aspect_ratio=True,
    validation_split=0.2,
    subset="both",
    seed=0,
    format="grain",
)
names = training.class_names
keras.utils.set_random_seed(0)  # so that a second run gives the same network

# The network takes raw pictures: the normalisation that its weights need comes with them, as a layer.
picture = keras.Input((options.size, options.size, 3))
model = find(options.model)(
    weights=options.weights,
    classes=len(names),
    input_tensor=keras.layers.RandomFlip("horizontal")(picture),
)

# First, train only the new dense layer. All other layers are frozen, including batch norm's statistics.
keras_resnet.freeze(model)
model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(training, validation_data=validation, epochs=options.epochs)

# Then train the entire network with a smaller learning rate.
keras_resnet.unfreeze(model)
model.compile(keras.optimizers.SGD(0.002, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(training, validation_data=validation, epochs=options.epochs)

_, accuracy = model.evaluate(validation, verbose=0)
saving.save(model, options.out, {"class_names": names})
print(f"{100 * accuracy:.1f} % of the held-out pictures are classified correctly as {', '.join(names)}; {options.out}")
