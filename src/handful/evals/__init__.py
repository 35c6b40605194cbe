"""Measuring how right a task is: records first, then figures and tables made from records alone.

It speaks to a `Backend` and to tasks, never to an engine or torch. matplotlib is imported by `plots` only, sacrebleu
and pyarrow where they are first needed; all three are in the extra `handful[evals]`.
"""
