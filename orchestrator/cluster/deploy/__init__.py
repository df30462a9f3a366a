"""Files and scripts for `ray up` and Slurm; nothing imports them."""
