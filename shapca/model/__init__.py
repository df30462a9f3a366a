"""The network: encoders, fusion, heads, and their composition."""
