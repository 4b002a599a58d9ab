"""What writes the data that ovsam ships or learns from; nothing here is needed to use ovsam."""
