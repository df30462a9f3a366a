"""Bridging contexts made by multimodal models: generators, their records, and a resumable run."""
