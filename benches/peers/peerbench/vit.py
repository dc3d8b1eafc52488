"""The vision transformers that are timed: shapes, random weights, an image, and the forward pass in NumPy as
the judge."""

from dataclasses import dataclass

import numpy as np

CLASSES = 1000
NORM_EPS = 1e-6
PIXEL_MEAN, PIXEL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Shape:
    """Sides of image and patch in pixels, width of a token, number of blocks, heads, width of the hidden
    layer."""

    image: int
    patch: int
    dim: int
    depth: int
    heads: int
    hidden: int

    @property
    def tokens(self):
        """Patches and the class token."""
        return (self.image // self.patch) ** 2 + 1

    @property
    def head_dim(self):
        return self.dim // self.heads


MODELS = {
    "mini": Shape(32, 4, 96, 6, 3, 192),
    "tiny": Shape(224, 16, 192, 12, 3, 768),
    "small": Shape(224, 16, 384, 12, 6, 1536),
    "base": Shape(224, 16, 768, 12, 12, 3072),
    "large": Shape(224, 16, 1024, 24, 16, 4096),
    "huge": Shape(224, 14, 1280, 32, 16, 5120),
}


def weights(shape):
    """Random float weights by timm's names. Time does not depend on their values; the sizes keep the residual
    stream's rows alike, so that quantization with one scale per tensor is not at a loss."""
    generator = np.random.default_rng(0)
    dim, hidden = shape.dim, shape.hidden

    def normal(size, deviation):
        values = generator.standard_normal(size, dtype=np.float32)
        values *= deviation
        return values

    def layer(name, *size):
        """Weights (outputs, inputs…) and biases."""
        return {
            f"{name}.weight": normal(size, 0.5 / np.prod(size[1:]) ** 0.5),
            f"{name}.bias": normal(size[0], 0.1),
        }

    def norm(name):
        return {f"{name}.weight": 1 + normal(dim, 0.1), f"{name}.bias": normal(dim, 0.1)}

    tensors = {"cls_token": normal((1, 1, dim), 0.5), "pos_embed": normal((1, shape.tokens, dim), 0.5)}
    tensors |= layer("patch_embed.proj", dim, 3, shape.patch, shape.patch)
    for block in range(shape.depth):
        name = f"blocks.{block}"
        tensors |= (
            norm(f"{name}.norm1")
            | layer(f"{name}.attn.qkv", 3 * dim, dim)
            | layer(f"{name}.attn.proj", dim, dim)
        )
        tensors |= (
            norm(f"{name}.norm2")
            | layer(f"{name}.mlp.fc1", hidden, dim)
            | layer(f"{name}.mlp.fc2", dim, hidden)
        )
    return tensors | norm("norm") | layer("head", CLASSES, dim)


def pixels(shape, seed=1):
    """An 8-bit image (height, width, channel): a coloured wave with noise, so that patches differ and have a
    mean."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0 : shape.image, 0 : shape.image] / shape.image
    waves = [
        np.sin(2 * np.pi * (f * rows + g * columns) + h) for f, g, h in generator.uniform(0.3, 3, (3, 3))
    ]
    values = (
        128 + 80 * np.stack(waves, axis=-1) + 20 * generator.standard_normal((shape.image, shape.image, 3))
    )
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def normalised(image):
    """Pixels as a float model reads them: (1, channel, height, width)."""
    values = (image.astype(np.float32) / 255 - np.array(PIXEL_MEAN, np.float32)) / np.array(
        PIXEL_STD, np.float32
    )
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def forward(shape, tensors, image):
    """Logits of a normalised image, in f32 by NumPy: what every engine's output is compared with."""
    from scipy.special import erf, softmax

    def linear(x, name):
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(NORM_EPS))
        return centred / deviation * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def gelu(x):
        return x * (1 + erf(x / np.float32(2**0.5))) / 2

    side, patch, dim, heads = shape.image // shape.patch, shape.patch, shape.dim, shape.heads
    patches = (
        image
        .reshape(3, side, patch, side, patch)
        .transpose(1, 3, 0, 2, 4)
        .reshape(side * side, 3 * patch * patch)
    )
    embedded = (
        patches @ tensors["patch_embed.proj.weight"].reshape(dim, -1).T + tensors["patch_embed.proj.bias"]
    )
    x = np.concatenate([tensors["cls_token"][0], embedded]) + tensors["pos_embed"][0]
    for block in range(shape.depth):
        name = f"blocks.{block}"
        qkv = linear(norm(x, f"{name}.norm1"), f"{name}.attn.qkv")
        q, k, v = qkv.reshape(-1, 3, heads, shape.head_dim).transpose(1, 2, 0, 3)
        scores = q @ k.transpose(0, 2, 1) * np.float32(shape.head_dim**-0.5)
        attended = (softmax(scores, axis=-1) @ v).transpose(1, 0, 2).reshape(-1, dim)
        x = x + linear(attended, f"{name}.attn.proj")
        x = x + linear(gelu(linear(norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")), f"{name}.mlp.fc2")
    return linear(norm(x[:1], "norm"), "head")[0]
