"""The papers' tables and figures as data, with the code that runs them and compares the results with the papers."""
