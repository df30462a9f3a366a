"""What the driver decides, without Ray: next cell, stop, reuse, keep, and what the runs say."""
