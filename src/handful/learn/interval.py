"""How sure an accuracy is."""

import math

from handful.errors import InvalidParameterError

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


def clopper_pearson_low(num_right: int, num_tried: int, alpha: float = 0.05) -> float:
    """The exact lower bound of a share that holds with probability 1 - alpha (Clopper and Pearson 1934); 0 for none.

    The p at which as many or more right answers have the probability alpha: sum_{i >= k} C(n, i) p^i (1-p)^(n-i).
    """
    if not 0 < alpha < 1:
        raise InvalidParameterError("alpha", f"must be more than 0 and less than 1, not {alpha!r}.")
    if num_right <= 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):  # as far as float64 tells numbers apart
        middle = (low + high) / 2
        if _tail(num_right, num_tried, middle) > alpha:
            high = middle
        else:
            low = middle
    return low


def _tail(num_right: int, num_tried: int, p: float) -> float:
    """The probability of `num_right` or more right answers of `num_tried`, each right with probability p in (0, 1)."""
    n = num_tried
    logs = (
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(num_right, n + 1)
    )
    return math.fsum(math.exp(one) for one in logs)
