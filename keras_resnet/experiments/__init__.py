"""The papers' tables and figures: as data, run, and held against what the papers print."""
