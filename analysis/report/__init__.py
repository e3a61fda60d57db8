"""The report of a study: one page, Markdown, CSV, figures."""
