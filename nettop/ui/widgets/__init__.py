"""Widgets of the screens. Each draws lines of text; none depends on a model."""
