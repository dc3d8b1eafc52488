"""Prints the figures that the tests of PSNR and SSIM expect. Needs: pip install scikit-image (made with
0.26)."""

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


def pair(width, height):
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    value = (x * 7 + y * 3 + c * 41 + (x // 5 + y // 4) % 2 * 60) % 223 + 16
    noise = (x * 7919 + y * 104729 + c * 1299709) % 31
    return np.clip(value + noise - 15, 0, 255).astype(np.uint8), value.astype(np.uint8)


def luma(image):
    """MATLAB's rgb2ycbcr in double precision."""
    return 16 + image.astype(np.float64) @ [65.481, 128.553, 24.966] / 255


def ssim(a, b):
    """Wang et al. 2004; scikit-image leaves out the border where the window does not fit."""
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return structural_similarity(a.astype(np.float64), b.astype(np.float64), **options)


def figures(width, height, shave):
    noisy, clean = pair(width, height)
    inner = np.s_[shave : height - shave, shave : width - shave]
    noisy, clean = noisy[inner], clean[inner]
    return [
        peak_signal_noise_ratio(clean, noisy, data_range=255),
        peak_signal_noise_ratio(luma(clean), luma(noisy), data_range=255),
        np.mean([ssim(noisy[..., c], clean[..., c]) for c in range(3)]),
        ssim(luma(noisy), luma(clean)),
    ]


for case in [(37, 29, 0), (37, 29, 2), (64, 11, 0)]:
    print("[" + ", ".join(f"{figure:.9f}" for figure in figures(*case)) + "],")
