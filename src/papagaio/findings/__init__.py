"""What a result says: the strongest copy, what it is compared with, and what casts doubt on it."""
