"""Photos and masks as pixels: read, framed, drawn."""
