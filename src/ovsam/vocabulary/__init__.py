"""Class names: lists, files, built-in vocabularies, WordNet."""
