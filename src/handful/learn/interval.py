"""How sure an accuracy is."""

import math

Z_95 = 1.959963984540054


def wilson(num_right: float, num_tried: int, z: float = Z_95) -> tuple[float, float]:
    """The Wilson score interval of a share, by default with 95% confidence (Wilson 1927). (0, 1) for none tried.

    (p + z^2/2n ± z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    """
    if num_tried <= 0:
        return 0.0, 1.0
    share, n = num_right / num_tried, num_tried
    middle = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * reach) / (1 + z * z / n) for sign in (-1, 1))
    return max(0.0, low), min(1.0, high)
