"""A sweep from Python, and its trials as a data frame.

python examples/sweep.py search_spaces/demo.yaml storage
"""

import sys

import orchestrator

file, storage, *overrides = sys.argv[1:]
sweep = orchestrator.SweepConfig.load(file, overrides)
outcome = orchestrator.run_sweep(sweep, orchestrator.SweepOptions(storage=storage))
frame = outcome.to_frame()
print(frame.drop(columns=["configuration", "cell"]).to_string(index=False))
print(frame.groupby("phase")["test_f1"].agg(["mean", "std"]))
