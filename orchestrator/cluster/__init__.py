"""What a sweep needs beyond one machine: its nodes, its data on them, and submission as a job."""
