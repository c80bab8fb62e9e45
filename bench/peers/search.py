"""SciPy's optimizers on the problems of scheduler/search/searchtest, for bench/optima.

python3 search.py PROBLEM SEEDS EVALUATIONS prints {"optimizer": [best value for each seed]}.
Every optimizer is stopped after that many evaluations. What it is told is the value at the end of a training; for the table of
digits the best loss on the way counts as found, as it does for ours.
"""
import csv
import json
import math
import pathlib
import sys

import numpy as np
from scipy.optimize import differential_evolution, dual_annealing

ROOT = pathlib.Path(__file__).resolve().parents[2]


def branin(x):
    b, c = 5.1 / (4 * math.pi**2), 5 / math.pi
    return (x[1] - b * x[0] ** 2 + c * x[0] - 6) ** 2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x[0]) + 10


def hartmann6(x):
    alpha = np.array([1, 1.2, 3, 3.2])
    a = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]])
    p = 1e-4 * np.array([[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
                         [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]])
    return -float(alpha @ np.exp(-(a * (x - p) ** 2).sum(axis=1)))


def ackley5(x):
    return float(-20 * np.exp(-0.2 * np.sqrt((x**2).mean())) - np.exp(np.cos(2 * np.pi * x).mean()) + 20 + np.e)


def digits():
    """Places on the axes from 0 to 1; learning rates and decays are even on a logarithmic scale."""
    table, axes = {}, [set(), set(), set(), set()]
    with open(ROOT / "scheduler/search/searchtest/testdata/curves.csv") as file:
        for line in csv.reader(file):
            point = tuple(float(v) for v in line[:4])
            table[point] = [float(v) for v in line[4:]]
            for axis, v in zip(axes, point):
                axis.add(v)
    axes = [sorted(axis) for axis in axes]

    def curve(x):
        # The first two go from end to end, as a log domain does; the others are cells of equal width.
        at = [round(x[0] * (len(axes[0]) - 1)), round(x[1] * (len(axes[1]) - 1))]
        at += [min(int(x[i] * len(axes[i])), len(axes[i]) - 1) for i in (2, 3)]
        return table[tuple(axis[i] for axis, i in zip(axes, at))]

    return curve


class Spent(Exception):
    pass


def main():
    problem, seeds, evaluations = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    bounds = {"branin": [(-5, 10), (0, 15)], "hartmann6": [(0, 1)] * 6, "ackley5": [(-20, 40)] * 5, "digits": [(0, 1)] * 4}[problem]
    curve = digits() if problem == "digits" else None
    found = {"differential_evolution": [], "dual_annealing": []}
    for seed in range(1, seeds + 1):
        for name, minimize in (
            ("differential_evolution", lambda f: differential_evolution(f, bounds, seed=seed, popsize=5, polish=False, maxiter=10**6, tol=0)),
            ("dual_annealing", lambda f: dual_annealing(f, bounds, seed=seed, maxiter=10**6)),
        ):
            best, spent = math.inf, 0

            def objective(x):
                nonlocal best, spent
                if spent == evaluations:
                    raise Spent
                spent += 1
                if curve:
                    values = curve(x)
                    best = min([best] + [v for v in values if not math.isnan(v)])
                    return values[-1] if not math.isnan(values[-1]) else 1e9
                value = {"branin": branin, "hartmann6": hartmann6, "ackley5": ackley5}[problem](x)
                best = min(best, value)
                return value

            try:
                minimize(objective)
            except Spent:
                pass
            found[name].append(best)
    json.dump(found, sys.stdout)


main()
