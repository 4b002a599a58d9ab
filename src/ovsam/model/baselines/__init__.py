"""The paper's baselines: what they have in place of the model's own parts."""
