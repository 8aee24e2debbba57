"""What MS-SSIM looks at: its scales, its window, and the smallest side that has them. Without TensorFlow.

Wang, Simoncelli & Bovik 2003, "Multiscale structural similarity for image quality assessment", section 3.2.
"""

import numpy as np

# The exponents of the scales, from the finest.
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Pixels a side of the Gaussian window, of standard deviation 1.5; it is the product of two of these, float64.
SIZE = 11
WINDOW = np.exp(-np.square(np.arange(SIZE) - SIZE // 2) / (2 * 1.5**2))
WINDOW /= WINDOW.sum()
# Each scale but the first halves the image, rounding up, and the window takes 11 pixels of the last.
MIN_SIDE = (SIZE - 1) * 2 ** (len(WEIGHTS) - 1) + 1
