"""handful: few-shot predictions from a causal language model on your own machine."""
