"""Work on many photos: one by one, resumable, over processes."""
