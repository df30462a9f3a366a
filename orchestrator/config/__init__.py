"""What the files of a sweep may say: dimensions, protocol, resources, and names for people."""
