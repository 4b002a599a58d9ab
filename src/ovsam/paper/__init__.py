"""The paper's tables, made from a folder of reports."""
